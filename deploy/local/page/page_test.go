package page_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/deploy/local/page"
	"github.com/casewatch/casewatch/shared/cases"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func get(method, target string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Header = header
	w := httptest.NewRecorder()
	page.Handler().ServeHTTP(w, r)
	return w
}

func TestServesItsFiles(t *testing.T) {
	for target, contentType := range map[string]string{
		"/":         "text/html; charset=utf-8",
		"/page.css": "text/css; charset=utf-8",
		"/form.js":  "text/javascript; charset=utf-8",
		"/card.js":  "text/javascript; charset=utf-8",
		"/list.js":  "text/javascript; charset=utf-8",
		"/words.js": "text/javascript; charset=utf-8",
		"/icon.svg": "image/svg+xml",
	} {
		w := get(http.MethodGet, target, nil)
		if w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("%s: %d, %d bytes", target, w.Code, w.Body.Len())
		}
		for name, want := range map[string]string{
			"Content-Type":            contentType,
			"Content-Security-Policy": policy,
			"X-Content-Type-Options":  "nosniff",
			"Cache-Control":           "no-cache",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
		etag := w.Header().Get("ETag")
		if again := get(http.MethodGet, target, http.Header{"If-None-Match": {etag}}); etag == "" || again.Code != 304 || again.Body.Len() != 0 {
			t.Errorf("%s again, with ETag %s: %d", target, etag, again.Code)
		}
		if head := get(http.MethodHead, target, nil); head.Code != 200 || head.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d", target, head.Code)
		}
		if post := get(http.MethodPost, target, nil); post.Code != 405 || post.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d %v", target, post.Code, post.Header())
		}
	}
}

func TestServesNothingElse(t *testing.T) {
	for _, target := range []string{"/index.html", "/assets/page.css", "/page.go", "/favicon.ico", "/start", "//", "/../page.go"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if w := get(method, target, nil); w.Code != 404 {
				t.Errorf("%s %s: %d", method, target, w.Code)
			}
		}
	}
}

// TestPageKeepsToItsPolicy finds what the policy would forbid: the browser would say so to nobody.
func TestPageKeepsToItsPolicy(t *testing.T) {
	html := get(http.MethodGet, "/", nil).Body.String()
	for _, forbidden := range []string{`<script>`, `<style`, ` style="`, `javascript:`, `http://`, `https://`} {
		if strings.Contains(html, forbidden) {
			t.Errorf("the page has %s", forbidden)
		}
	}
	if on := regexp.MustCompile(`\son[a-z]+=`).FindString(html); on != "" {
		t.Errorf("the page has an inline handler: %s", on)
	}
	// What it names is served.
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		if m[1] == "console" {
			continue // served beside this handler
		}
		if w := get(http.MethodGet, "/"+m[1], nil); w.Code != 200 {
			t.Errorf("%s: %d", m[1], w.Code)
		}
	}
	// So is what its scripts import, or it is the module, which status serves.
	const module = "/status/-/casewatch.js"
	for _, script := range scripts(t) {
		source := get(http.MethodGet, "/"+script, nil).Body.String()
		for _, m := range regexp.MustCompile(`(?m)^import .* from "([^"]+)";$`).FindAllStringSubmatch(source, -1) {
			if w := get(http.MethodGet, path.Join("/", m[1]), nil); m[1] != module && w.Code != 200 {
				t.Errorf("%s imports %s: %d", script, m[1], w.Code)
			}
		}
		if m := regexp.MustCompile(`innerHTML|insertAdjacentHTML|\beval\(|\.style\b`).FindString(source); m != "" {
			t.Errorf("%s has %s", script, m)
		}
	}
}

// TestEveryControlHasAName finds inputs outside a label.
func TestEveryControlHasAName(t *testing.T) {
	html := get(http.MethodGet, "/", nil).Body.String()
	for _, m := range regexp.MustCompile(`(?s)<label\b.*?</label>`).FindAllString(html, -1) {
		html = strings.Replace(html, m, "", 1)
	}
	if m := regexp.MustCompile(`<(input|select|textarea)\b[^>]*>`).FindString(html); m != "" {
		t.Errorf("no label around %s", m)
	}
}

// scripts are the names of the page's scripts.
func scripts(t *testing.T) []string {
	t.Helper()
	names, err := fs.Glob(os.DirFS("assets"), "*.js")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return names
}

func node(t *testing.T) string {
	t.Helper()
	name, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: apt-get install nodejs (20 or newer)")
	}
	return name
}

func TestScriptsParse(t *testing.T) {
	node := node(t)
	for _, script := range scripts(t) {
		source, err := os.ReadFile(filepath.Join("assets", script))
		if err != nil {
			t.Fatal(err)
		}
		module := filepath.Join(t.TempDir(), strings.TrimSuffix(script, ".js")+".mjs")
		if err := os.WriteFile(module, source, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), node, "--check", module).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}

// TestWords runs the tests of what the page says; every reason of an end has its words.
func TestWords(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), node(t), "--test", "testdata/words.test.mjs")
	reasons := []cases.Reason{
		cases.ReasonCompleted, cases.ReasonPipelineFailed, cases.ReasonPipelineRefused, cases.ReasonPipelineUnreachable, cases.ReasonPipelineLost,
		cases.ReasonNoDocuments, cases.ReasonStartUnknown, cases.ReasonDeadline, cases.ReasonCancelled, cases.ReasonSuperseded,
	}
	cmd.Env = append(os.Environ(), "REASONS="+strings.Trim(fmt.Sprint(reasons), "[]"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
