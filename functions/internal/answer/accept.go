package answer

import (
	"iter"
	"net/http"
	"strconv"
	"strings"
)

// Accepted yields what a request accepts, in its order: media ranges in lower case, each with its weight, from 0 (not at all) to 1
// (RFC 9110, section 12.5.1). A weight that is none counts as 0.
func Accepted(r *http.Request) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for _, line := range r.Header.Values("Accept") {
			for entry := range strings.SplitSeq(line, ",") {
				mediaRange, params, _ := strings.Cut(entry, ";")
				if !yield(strings.ToLower(strings.TrimSpace(mediaRange)), weight(params)) {
					return
				}
			}
		}
	}
}

// weight reads the weight among the parameters of a media range: 1 if there is none.
func weight(params string) float64 {
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
