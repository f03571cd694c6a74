package status

import (
	"net/http"
	"slices"

	"github.com/casewatch/casewatch/functions/internal/answer"
)

const (
	eventStream = "text/event-stream"
	jsonType    = "application/json"
)

// takeJSON are the media ranges that JSON is in, the most specific first.
var takeJSON = []string{jsonType, "application/*", "*/*"}

// wantsStream reports whether a request asks for events rather than JSON. It has to name them: a stream is held open, so whoever takes
// anything gets JSON. Of two that are named alike the first counts. RFC 9110, section 12.5.1.
func wantsStream(r *http.Request) bool {
	weights := map[string]float64{} // of those that matter, however many there are
	var first string
	for mediaRange, weight := range answer.Accepted(r) {
		if _, ok := weights[mediaRange]; ok || mediaRange != eventStream && !slices.Contains(takeJSON, mediaRange) {
			continue
		}
		weights[mediaRange] = weight
		if first == "" && (mediaRange == eventStream || mediaRange == jsonType) {
			first = mediaRange
		}
	}
	stream := weights[eventStream]
	for _, mediaRange := range takeJSON { // the most specific counts
		if weight, ok := weights[mediaRange]; ok {
			return stream > weight || stream == weight && weight > 0 && first == eventStream
		}
	}
	return stream > 0
}
