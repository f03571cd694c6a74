package status

import (
	"strconv"
	"strings"
)

const eventStream = "text/event-stream"

// wantsStream reports whether the lines of an Accept header ask for events rather than JSON. They have to name them: a stream is held
// open, so whoever takes anything gets JSON. Of two that are named alike the first counts. RFC 9110, section 12.5.1.
func wantsStream(accept []string) bool {
	const jsonType = "application/json"
	ranges := map[string]float64{}
	var first string
	for _, line := range accept {
		for entry := range strings.SplitSeq(line, ",") {
			mediaRange, params, _ := strings.Cut(entry, ";")
			mediaRange = strings.ToLower(strings.TrimSpace(mediaRange))
			if _, ok := ranges[mediaRange]; ok {
				continue
			}
			ranges[mediaRange] = quality(params)
			if first == "" && (mediaRange == eventStream || mediaRange == jsonType) {
				first = mediaRange
			}
		}
	}
	stream := ranges[eventStream]
	for _, mediaRange := range []string{jsonType, "application/*", "*/*"} { // the most specific counts
		if q, ok := ranges[mediaRange]; ok {
			return stream > q || stream == q && q > 0 && first == eventStream
		}
	}
	return stream > 0
}

// quality reads the weight among the parameters of a media range: 1 if there is none, 0 if it is not one.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
