package status

import (
	"net/http"

	"github.com/casewatch/casewatch/functions/internal/answer"
)

const eventStream = "text/event-stream"

// wantsStream reports whether a request asks for events rather than JSON. It has to name them: a stream is held open, so whoever takes
// anything gets JSON. Of two that are named alike the first counts. RFC 9110, section 12.5.1.
func wantsStream(r *http.Request) bool {
	const jsonType = "application/json"
	weights := map[string]float64{}
	var first string
	for mediaRange, weight := range answer.Accepted(r) {
		if _, ok := weights[mediaRange]; ok {
			continue
		}
		weights[mediaRange] = weight
		if first == "" && (mediaRange == eventStream || mediaRange == jsonType) {
			first = mediaRange
		}
	}
	stream := weights[eventStream]
	for _, mediaRange := range []string{jsonType, "application/*", "*/*"} { // the most specific counts
		if weight, ok := weights[mediaRange]; ok {
			return stream > weight || stream == weight && weight > 0 && first == eventStream
		}
	}
	return stream > 0
}
