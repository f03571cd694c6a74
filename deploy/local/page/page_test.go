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

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func request(method, target string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Header = header
	w := httptest.NewRecorder()
	page.Handler(nil).ServeHTTP(w, r)
	return w
}

func TestServesEachFile(t *testing.T) {
	for target, contentType := range map[string]string{
		"/":         "text/html; charset=utf-8",
		"/page.css": "text/css; charset=utf-8",
		"/form.js":  "text/javascript; charset=utf-8",
		"/card.js":  "text/javascript; charset=utf-8",
		"/list.js":  "text/javascript; charset=utf-8",
		"/words.js": "text/javascript; charset=utf-8",
		"/icon.svg": "image/svg+xml",
	} {
		t.Run(target, func(t *testing.T) {
			w := request(http.MethodGet, target, nil)
			if w.Code != 200 || w.Body.Len() == 0 {
				t.Errorf("GET: %d with %d bytes, want 200 with a body", w.Code, w.Body.Len())
			}
			for name, want := range map[string]string{
				"Content-Type":            contentType,
				"Content-Security-Policy": policy,
				"X-Content-Type-Options":  "nosniff",
				"Cache-Control":           "no-cache",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			etag := w.Header().Get("ETag")
			again := request(http.MethodGet, target, http.Header{"If-None-Match": {etag}})
			if etag == "" || again.Code != 304 || again.Body.Len() != 0 {
				t.Errorf("GET with ETag %s: %d with %d bytes, want an empty 304", etag, again.Code, again.Body.Len())
			}
			if head := request(http.MethodHead, target, nil); head.Code != 200 || head.Body.Len() != 0 {
				t.Errorf("HEAD: %d with %d bytes, want an empty 200", head.Code, head.Body.Len())
			}
			post := request(http.MethodPost, target, nil)
			if allow := post.Header().Get("Allow"); post.Code != 405 || allow != "GET, HEAD" {
				t.Errorf("POST: %d with Allow %q, want 405 with GET, HEAD", post.Code, allow)
			}
		})
	}
}

// Of one pipeline, nothing is to be chosen, and nothing is seen.
func TestPipelinesAreChosen(t *testing.T) {
	for want, pipelines := range map[string][]string{
		"":                     {"default"},
		"<option>b-2</option>": {"a", "b-2"},
	} {
		w := httptest.NewRecorder()
		page.Handler(pipelines).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		chosen := strings.Contains(w.Body.String(), `<select name="pipeline">`)
		if chosen != (want != "") || !strings.Contains(w.Body.String(), want) ||
			strings.Contains(w.Body.String(), "<!-- pipelines") {
			t.Errorf("with %v the page has %s", pipelines, w.Body)
		}
	}
}

func TestAnswersOtherPathsWith404(t *testing.T) {
	for _, target := range []string{
		"/index.html", "/assets/page.css", "/page.go", "/favicon.ico", "/start", "//", "/../page.go",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if w := request(method, target, nil); w.Code != 404 {
				t.Errorf("%s %s: %d, want 404", method, target, w.Code)
			}
		}
	}
}

// TestPageFollowsItsContentPolicy finds what the policy blocks. A browser reports it only in its
// own console.
func TestPageFollowsItsContentPolicy(t *testing.T) {
	html := request(http.MethodGet, "/", nil).Body.String()
	for _, forbidden := range []string{`<script>`, `<style`, ` style="`, `javascript:`, `http://`, `https://`} {
		if strings.Contains(html, forbidden) {
			t.Errorf("the page contains %s", forbidden)
		}
	}
	if handler := regexp.MustCompile(`\son[a-z]+=`).FindString(html); handler != "" {
		t.Errorf("the page has an inline handler: %s", handler)
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		if m[1] == "console" {
			continue // another handler serves it
		}
		if w := request(http.MethodGet, "/"+m[1], nil); w.Code != 200 {
			t.Errorf("the page refers to %s: %d, want 200", m[1], w.Code)
		}
	}
	const module = "/status/-/casewatch.js" // the status function serves it
	for _, script := range scripts(t) {
		source := request(http.MethodGet, "/"+script, nil).Body.String()
		for _, m := range regexp.MustCompile(`(?m)^import .* from "([^"]+)";$`).FindAllStringSubmatch(source, -1) {
			if w := request(http.MethodGet, path.Join("/", m[1]), nil); m[1] != module && w.Code != 200 {
				t.Errorf("%s imports %s: %d, want 200", script, m[1], w.Code)
			}
		}
		if m := regexp.MustCompile(`innerHTML|insertAdjacentHTML|\beval\(|\.style\b`).FindString(source); m != "" {
			t.Errorf("%s uses %s", script, m)
		}
	}
}

func TestEveryControlIsInsideALabel(t *testing.T) {
	html := request(http.MethodGet, "/", nil).Body.String()
	for _, m := range regexp.MustCompile(`(?s)<label\b.*?</label>`).FindAllString(html, -1) {
		html = strings.Replace(html, m, "", 1)
	}
	if m := regexp.MustCompile(`<(input|select|textarea)\b[^>]*>`).FindString(html); m != "" {
		t.Errorf("a control has no label: %s", m)
	}
}

// scripts returns the names of the page's scripts.
func scripts(t *testing.T) []string {
	t.Helper()
	names, err := fs.Glob(os.DirFS("assets"), "*.js")
	if err != nil || len(names) == 0 {
		t.Fatalf("found the scripts %v, %v; want at least one", names, err)
	}
	return names
}

// nodePath returns the path of the node command. Without node it skips the test.
func nodePath(t *testing.T) string {
	t.Helper()
	name, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: apt-get install nodejs (20 or newer)")
	}
	return name
}

func TestScriptsParse(t *testing.T) {
	node := nodePath(t)
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
			t.Errorf("%s does not parse: %v\n%s", script, err, out)
		}
	}
}

// TestWords runs the tests of words.js in node. They check that each reason for an end has a text.
func TestWords(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), nodePath(t), "--test", "testdata/words.test.mjs")
	var reasons []cases.Reason
	for _, e := range cases.Endings() {
		reasons = append(reasons, e.Reason)
	}
	cmd.Env = append(os.Environ(), "REASONS="+strings.Trim(fmt.Sprint(reasons), "[]"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the tests of words.js failed: %v\n%s", err, out)
	}
}
