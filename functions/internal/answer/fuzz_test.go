package answer_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/functions/internal/answer"
)

// FuzzAccepted: each range is in lower case, without its parameters, and weighs from 0 to 1.
func FuzzAccepted(f *testing.F) {
	for _, accept := range []string{"", "text/html;q=0.5,*/*;q=0", "a/b;q=1e-400", "a/b;q=0x1p-2", "a/b;q=Inf;q=1", ";;;,,,", "A/B;Q = .5"} {
		f.Add(accept, accept)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		n := 0
		for mediaRange, weight := range answer.Accepted(&http.Request{Header: http.Header{"Accept": {first, second}}}) {
			n++
			if !(weight >= 0 && weight <= 1) || mediaRange != strings.ToLower(mediaRange) || strings.ContainsAny(mediaRange, ";,") {
				t.Errorf("%q, %q: %q weighs %v", first, second, mediaRange, weight)
			}
		}
		if want := strings.Count(first+second, ",") + 2; n != want {
			t.Errorf("%q, %q: %d of %d", first, second, n, want)
		}
	})
}

// FuzzRequireJSON: only a body that says that it is JSON, and that nothing was done to it, is taken.
func FuzzRequireJSON(f *testing.F) {
	f.Add("application/json; charset=utf-8", "")
	f.Add("application/json/x", "identity")
	f.Add("application/json;\x00", "gzip")
	f.Fuzz(func(t *testing.T, contentType, encoding string) {
		err := answer.RequireJSON(&http.Request{Header: http.Header{"Content-Type": {contentType}, "Content-Encoding": {encoding}}})
		mediaType, _, _ := strings.Cut(contentType, ";")
		if err == nil && (!strings.EqualFold(strings.TrimSpace(mediaType), "application/json") || encoding != "" && encoding != "identity") {
			t.Errorf("%q, %q is taken", contentType, encoding)
		}
	})
}
