package console_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/functions/console"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
)

// FuzzRequest checks that every request gets a page or JSON that repeats the request only as text.
// No header may contain it.
func FuzzRequest(f *testing.F) {
	b := functiontest.New(f, nil)
	b.Begin("c")
	h := console.New(b.Config, b.Reconciler)
	for _, seed := range []struct{ method, path, query, body string }{
		{"GET", "/", "state=failed&age=older-10m&after=x", ""},
		{"GET", "/", "id=c", ""},
		{"GET", "/", "id=%3Cscript%3E&age=%3Cscript%3E", ""},
		{"GET", "/c", "run=1&done=rerun", ""},
		{"GET", "/<script>", "", ""},
		{"POST", "/c", "run=1", "action=<script>"},
		{"POST", "/c", "run=7", "action=cancel&action=rerun"},
		{"GET", "/-/health", "", ""},
		{"GET", "/", "age=newer-99999999d", ""},
		{"GET", "/", "id=a%0d%0aX:%20y", ""},
		{"GET", "//a/../<script>/", "%zz", ""},
	} {
		for _, accept := range []string{"text/html", "application/json"} {
			f.Add(seed.method, seed.path, seed.query, accept, seed.body)
		}
	}
	f.Fuzz(func(t *testing.T, method, path, query, accept, body string) {
		if method != http.MethodPost {
			method = http.MethodGet
		}
		r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost/", strings.NewReader(body))
		r.RemoteAddr, r.URL.Path, r.URL.RawQuery = "127.0.0.1:1", path, query
		r.Header.Set("Accept", accept)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 || w.Code < 200 {
			t.Errorf("%s %q?%q %q: %d %s", method, path, query, body, w.Code, w.Body)
		}
		for name, lines := range w.Header() {
			if strings.ContainsAny(strings.Join(lines, ""), "\r\n\x00") {
				t.Errorf("%q: %q", name, lines)
			}
		}
		if location := w.Header().Get("Location"); location != "" {
			if u, err := url.Parse(location); err != nil || u.IsAbs() || u.Host != "" ||
				!strings.HasPrefix(location, "./") {
				t.Errorf("%q?%q redirects to %q", path, query, location)
			}
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			page := w.Body.String()
			for _, mark := range []string{"<script>", "<img src=x"} {
				if strings.Contains(page, mark) {
					t.Errorf("%s %q?%q: %s", method, path, query, page)
				}
			}
		}
	})
}
