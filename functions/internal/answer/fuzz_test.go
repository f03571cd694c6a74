package answer_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/functions/internal/answer"
)

// FuzzAccepted checks that each range is in lower case, has no parameters, and has a weight from 0
// to 1.
func FuzzAccepted(f *testing.F) {
	for _, accept := range []string{
		"", "text/html;q=0.5,*/*;q=0", "a/b;q=1e-400", "a/b;q=0x1p-2", "a/b;q=Inf;q=1", ";;;,,,",
		"A/B;Q = .5",
	} {
		f.Add(accept, accept)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		n := 0
		for mediaRange, weight := range answer.Accepted(&http.Request{Header: http.Header{"Accept": {first, second}}}) {
			n++
			if !(weight >= 0 && weight <= 1) || mediaRange != strings.ToLower(mediaRange) ||
				strings.ContainsAny(mediaRange, ";,") {
				t.Errorf("%q, %q: %q has the weight %v", first, second, mediaRange, weight)
			}
		}
		if want := strings.Count(first+second, ",") + 2; n != want {
			t.Errorf("%q, %q: got %d ranges, want %d", first, second, n, want)
		}
	})
}

// FuzzRequireJSON checks that only a body that is declared as unencoded JSON is accepted.
func FuzzRequireJSON(f *testing.F) {
	f.Add("application/json; charset=utf-8", "")
	f.Add("application/json/x", "identity")
	f.Add("application/json;\x00", "gzip")
	f.Fuzz(func(t *testing.T, contentType, encoding string) {
		err := answer.RequireJSON(
			&http.Request{Header: http.Header{"Content-Type": {contentType}, "Content-Encoding": {encoding}}},
		)
		mediaType, _, _ := strings.Cut(contentType, ";")
		isJSON := strings.EqualFold(strings.TrimSpace(mediaType), "application/json")
		unencoded := encoding == "" || encoding == "identity"
		if err == nil && (!isJSON || !unencoded) {
			t.Errorf("type %q with encoding %q is accepted", contentType, encoding)
		}
	})
}
