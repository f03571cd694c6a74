package status_test

import (
	"strings"
	"testing"

	openapi "github.com/casewatch/casewatch/functions"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
)

// The files are public: they need no token, and pages of every origin may read them. They are
// served even while the store is down.
func TestFiles(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Store.SetDown(true)
	for name, contentType := range map[string]string{
		"casewatch.js":   "text/javascript; charset=utf-8",
		"casewatch.d.ts": "application/typescript; charset=utf-8",
		"openapi.yaml":   "application/yaml; charset=utf-8",
	} {
		a := b.Do("GET", u+"/-/"+name, "", "Origin: https://any.example")
		h := a.Header
		if a.Status != 200 || a.Body == "" ||
			h.Get("Content-Type") != contentType ||
			h.Get("Cache-Control") != "public, max-age=300" ||
			h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Access-Control-Allow-Origin") != "*" ||
			h.Get("Cross-Origin-Resource-Policy") != "cross-origin" ||
			!strings.HasPrefix(h.Get("ETag"), `"`) {
			t.Errorf("%s: %d %v", name, a.Status, h)
		}
		for _, known := range []string{h.Get("ETag"), strings.TrimSuffix(h.Get("ETag"), `"`) + `-gzip"`} {
			if again := b.Do("GET", u+"/-/"+name, "", "If-None-Match: "+known); again.Status != 304 ||
				again.Body != "" ||
				again.Header.Get("ETag") != h.Get("ETag") {
				t.Errorf("%s: %d %v", name, again.Status, again.Header)
			}
		}
		if head := b.Do("HEAD", u+"/-/"+name, ""); head.Status != 200 || head.Body != "" ||
			head.Header.Get("Content-Length") != h.Get("Content-Length") {
			t.Errorf("%s: %d %v", name, head.Status, head.Header)
		}
		b.Problem(b.Do("POST", u+"/-/"+name, ""), 405)
	}
	if a := b.Do("GET", u+"/-/openapi.yaml", ""); a.Body != string(openapi.YAML) {
		t.Error("the served description is not openapi.YAML")
	}
	for _, path := range []string{
		"/-/", "/-/other.js", "/-/files/casewatch.js", "/-/..%2fstatus.go", "/-/casewatch.js/",
	} {
		b.Problem(b.Do("GET", u+path, ""), 404)
	}
}
