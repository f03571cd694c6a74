package status_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/store"
)

// FuzzRequest checks the responses to requests for a run that has ended, with any address and
// conditions. Each must be the run, 204 or 304, or a problem. A stream must consist of complete
// events.
func FuzzRequest(f *testing.F) {
	b := functiontest.New(f, nil)
	b.Begin("c")
	b.Event("1", `{"case_id":"c","run":1,"status":"succeeded","result":{"a":"\r\n\ndata: x\n\n","b":[1,2]}}`)
	c := b.Case("c", 1)
	if err := b.Store.Update(f.Context(), store.Write{Case: c}); err == nil {
		f.Fatal("the store accepted a write with an old version")
	}
	h := status.New(b.Config, b.Reconciler)
	for _, accept := range []string{"text/event-stream", "application/json"} {
		for _, seed := range []struct{ path, query, tag, seen string }{
			{"/c", "", `W/"1.2"`, "1.2"},
			{"/c", "run=1&wait=20s", "*", ""},
			{"/c", "run=0&wait=-1ns", ", ,W/", "1.x"},
			{"/c", "wait=1e9s", `"1.2", W/"1.2`, "9.9"},
			{"/c", "", `W/"1.2-gzip", "1.2"-gzip`, ""},
			{"/../c", "%zz", "", ""},
			{"//c", "run=1;run=2", "\x00", "\n"},
			{"/-/", "", "", ""},
			{"/-/casewatch.js", "", `"x"`, ""},
		} {
			f.Add(seed.path, seed.query, accept, seed.tag, seed.seen)
		}
	}
	f.Fuzz(func(t *testing.T, path, query, accept, tag, seen string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header = http.Header{
			"Accept":        {accept},
			"If-None-Match": {tag},
			"Last-Event-Id": {seen},
			"X-Api-Key":     {functiontest.Key},
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		contentType := w.Header().Get("Content-Type")
		switch {
		case strings.HasPrefix(path, "/-/"):
			if !slices.Contains([]int{200, 206, 304, 404, 412, 416}, w.Code) {
				t.Errorf("%q: %d", path, w.Code)
			}
		case w.Code == 200 && contentType == "text/event-stream":
			for line := range strings.SplitSeq(w.Body.String(), "\n") {
				name, _, _ := strings.Cut(line, ":")
				if !slices.Contains([]string{"", "retry", "event", "id", "data"}, name) {
					t.Errorf("%q has the line %q", path, line)
				}
			}
		case w.Code == 200 && contentType == "application/json":
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s", w.Body)
			}
		case w.Code == 304 || w.Code == 204:
			if w.Body.Len() != 0 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		case (w.Code == 400 || w.Code == 404) &&
			contentType == "application/problem+json" && json.Valid(w.Body.Bytes()):
		default:
			t.Errorf("%q?%q: %d %s %s", path, query, w.Code, contentType, w.Body)
		}
		for name, lines := range w.Header() {
			if strings.ContainsAny(name+strings.Join(lines, ""), "\r\n\x00") {
				t.Errorf("%q?%q: %q: %q", path, query, name, lines)
			}
		}
	})
}
