package console_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/console"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const (
	operator = "operator@example.com"
	audience = "https://console.example"
	asJSON   = "Accept: application/json"
	asPage   = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
	asForm   = "Content-Type: application/x-www-form-urlencoded"
	policy   = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; " +
		"img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

// newBench returns a bench and the address of its console, which is open to users of this machine.
func newBench(t testing.TB) (*functiontest.Bench, string) {
	t.Helper()
	b := functiontest.New(t, nil)
	return b, b.Serve(console.New)
}

// checkHeaders checks the headers that every response must have.
func checkHeaders(t *testing.T, a functiontest.Answer) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy": policy,
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "same-origin",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	if cache := a.Header.Get("Cache-Control"); cache != "private, no-store" &&
		(cache != "private, no-cache" || a.Header.Get("ETag") == "") {
		t.Errorf("Cache-Control is %q", cache)
	}
}

// This requests every address, as a page and as JSON, for callers that may use the console and for
// others.
func TestCallers(t *testing.T) {
	issuer := identitytest.NewIssuer(t)
	b := functiontest.New(t, map[string]string{
		"CONSOLE_USERS":     "Operator@example.com",
		"CONSOLE_AUDIENCES": audience,
		"INVOKER_ISSUER":    issuer.URL,
	})
	u := b.Serve(console.New)
	b.Begin("c")
	bearer := func(email, audience string) string { return "Authorization: Bearer " + issuer.Sign(email, audience) }
	rejections := 0
	for _, who := range []struct {
		name, header string
		want         int // 0: accepted
	}{
		{"an operator", bearer("OPERATOR@example.com", audience), 0},
		{"no credentials", "X-Nothing: 1", 401},
		{"an API key", "Authorization: Bearer " + functiontest.Key, 401},
		{"another audience", bearer(operator, "https://other.example"), 401},
		{"garbage as IAP's assertion", "X-Goog-IAP-JWT-Assertion: x", 401},
		{"IAP's unsigned header", "X-Goog-Authenticated-User-Email: accounts.google.com:" + operator, 401},
		{"another account", bearer("somebody@example.com", audience), 403},
	} {
		for _, to := range []struct {
			method, path, body string
			want               int
		}{
			{"GET", "/", "", 200},
			{"HEAD", "/", "", 200},
			{"GET", "/?state=running", "", 200},
			{"GET", "/?id=c", "", 303},
			{"GET", "/?id=none", "", 404},
			{"GET", "/c", "", 200},
			{"GET", "/c?run=1", "", 200},
			{"GET", "/none", "", 404},
			{"GET", "/c?run=2", "", 404},
			{"GET", "/c?run=x", "", 400},
			{"GET", "/a/b", "", 404},
			{"GET", "/%2e", "", 400},
			{"GET", "/-/health", "", 200},
			{"GET", "/-/console.css", "", 200},
			{"GET", "/-/console.js", "", 200},
			{"GET", "/-/icon.svg", "", 200},
			{"GET", "/-/layout.html", "", 404},
			{"GET", "/-/", "", 404},
			{"GET", "/-/../go.mod", "", 404},
			{"GET", "/?state=x", "", 400},
			{"GET", "/?age=x", "", 400},
			{"GET", "/?after=x", "", 400},
			{"GET", "/?id=%3Cscript%3E", "", 400},
			{"GET", "/?%zz", "", 400},
			{"POST", "/", "action=cancel", 405},
			{"POST", "/-/health", "action=cancel", 405},
			{"DELETE", "/c", "", 405},
			{"POST", "/c?run=1", "action=delete", 400},
			{"POST", "/c?run=1", "action=cancel&action=rerun", 400},
			{"POST", "/c", "action=cancel", 400},
			{"POST", "/none?run=1", "action=cancel", 404},
			{"POST", "/none?run=1", "action=rerun", 404},
			{"POST", "/c?run=2", "action=cancel", 409},
			{"POST", "/c?run=1", "action=rerun", 409},
			{"POST", "/c?run=1", "action=" + strings.Repeat("x", 5<<10), 413},
		} {
			for _, accept := range []string{asPage, asJSON} {
				want := who.want
				if want == 0 || to.method == "DELETE" { // the method is checked first
					want = to.want
				} else {
					rejections++
				}
				a := b.Do(to.method, u+to.path, to.body, who.header, accept, asForm)
				if a.Status != want {
					t.Errorf("%s, %s %s as %s: got %d %.200s, want %d",
						who.name, to.method, to.path, accept, a.Status, a.Body, want)
					continue
				}
				contentType := a.Header.Get("Content-Type")
				file := strings.HasPrefix(to.path, "/-/") && strings.Contains(to.path, ".") && want == 200
				isPage := contentType == "text/html; charset=utf-8" &&
					strings.HasPrefix(a.Body, "<!doctype html>") && strings.HasSuffix(a.Body, "</html>\n")
				switch {
				case want == 303 || file || to.method == "DELETE" || to.method == "HEAD":
				case accept == asJSON && want >= 400:
					b.Problem(a, want)
				case accept == asJSON && (contentType != "application/json" || !json.Valid([]byte(a.Body))):
					t.Errorf("%s %s: %s %.100s", to.method, to.path, contentType, a.Body)
				case accept == asPage && !isPage:
					t.Errorf("%s %s: %s %.100s", to.method, to.path, contentType, a.Body)
				}
				if to.method != "DELETE" {
					checkHeaders(t, a)
				} else if a.Header.Get("Content-Security-Policy") != policy {
					t.Errorf("%s %s: no Content-Security-Policy", to.method, to.path)
				}
				if (want == 401) != strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") ||
					want == 405 && a.Header.Get("Allow") == "" {
					t.Errorf("%s %s: %v", to.method, to.path, a.Header)
				}
				for _, about := range []string{"pending", "run 1", "to the case"} {
					if who.want != 0 && strings.Contains(strings.ToLower(a.Body), about) {
						t.Errorf("%s: the response shows something about a case: %s", who.name, a.Body)
					}
				}
				if strings.Contains(a.Body, "eyJ") {
					t.Errorf("the response contains a token: %s", a.Body)
				}
			}
		}
	}
	if n := strings.Count(b.Log.String(), `"message":"caller rejected"`); n != rejections ||
		strings.Contains(b.Log.String(), "eyJ") {
		t.Errorf("%d rejections are logged, want %d and no token", n, rejections)
	}
	if b.Case("c", 1).State != cases.Pending {
		t.Error("a rejected request changed the case")
	}
	issuer.SetDown(true)
	b.Problem(b.Do("GET", b.Serve(console.New)+"/", "", bearer(operator, audience), asJSON), 503)
}

func TestWithoutUsersOnlyThisMachineIsAccepted(t *testing.T) {
	b, u := newBench(t)
	if a := b.Do("GET", u+"/", ""); a.Status != 200 || !strings.Contains(a.Body, "Used by this machine.") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Close = "rebound.example", true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("with another host name: got %d %v, want 403", res.StatusCode, err)
	}
}

// A browser sends a request of another site's page with the cookies of its user. It is rejected.
func TestCrossOriginRequestsAreRejected(t *testing.T) {
	b, u := newBench(t)
	b.Begin("c")
	for _, test := range []struct {
		name   string
		header []string
		want   int
	}{
		{"another site", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, 403},
		{"another host of the same site", []string{"Sec-Fetch-Site: same-site", "Origin: https://x.example"}, 403},
		{"an old browser on another site", []string{"Origin: https://evil.example"}, 403},
		{"a sandboxed frame", []string{"Origin: null"}, 403},
		{"a page of the console", []string{"Sec-Fetch-Site: same-origin", "Origin: " + u}, 303},
	} {
		a := b.Do("POST", u+"/c?run=1", "action=cancel", append(test.header, asForm)...)
		if a.Status != test.want {
			t.Errorf("%s: %d %s", test.name, a.Status, a.Body)
		}
		checkHeaders(t, a)
		if ended := b.Case("c", 1).State.Ended(); ended != (test.want == 303) {
			t.Errorf("%s: ended %v", test.name, ended)
		}
	}
	if a := b.Do("GET", u+"/c", "", "Sec-Fetch-Site: cross-site"); a.Status != 200 {
		t.Errorf("a link from another site: got %d, want 200", a.Status)
	}
	for _, contentType := range []string{"text/plain", "application/json", "multipart/form-data; boundary=x", "x"} {
		if a := b.Do("POST", u+"/c?run=1", "action=cancel", "Content-Type: "+contentType); a.Status != 415 {
			t.Errorf("%s: %d", contentType, a.Status)
		}
	}
}

// Text of pipelines and callers is only text on a page.
func TestNothingIsInjected(t *testing.T) {
	b, u := newBench(t)
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{.}}</pre>`
	b.Begin("c")
	if err := b.Reconciler.Dispatch(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: 1}, 0); err != nil {
		t.Fatal(err)
	}
	event := func(id, status, output string, more map[string]any) {
		fields := map[string]any{"case_id": "c", "run": 1, "status": status,
			"result": map[string]any{
				"x":               evil,
				"output_url":      output,
				"webhook_summary": map[string]any{"total_sets": 2, "succeeded": 1, "failed": 1},
			},
			"error": map[string]any{"code": "x", "message": evil}}
		for name, value := range more {
			fields[name] = value
		}
		data, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		b.Event(id, string(data))
	}
	event("1", "running", "", map[string]any{
		"progress": map[string]any{"completed": 1, "total": 2, "current_doc": evil},
		"result":   nil,
		"error":    nil,
	})
	running := b.Do("GET", u+"/c", "")
	event("2", "failed", "javascript:alert(3)", nil)
	event("3", "succeeded", "https://x.example", nil)
	change := b.Case("c", 1)
	change.Version++
	change.Timeline = append(change.Timeline, cases.Note{At: time.Now(), What: evil, Source: evil, Detail: evil})
	if err := b.Store.Update(t.Context(), store.Write{Case: change}); err != nil {
		t.Fatal(err)
	}
	for _, a := range []functiontest.Answer{
		running,
		b.Do("GET", u+"/c", ""),
		b.Do("GET", u+"/", ""),
		b.Do("GET", u+"/?id="+url.QueryEscape(evil), ""),
		b.Do("GET", u+"/?state="+url.QueryEscape(evil), ""),
		b.Do("GET", u+"/c?done="+url.QueryEscape(evil), ""),
		b.Do("GET", u+"/"+url.PathEscape(evil), ""),
	} {
		checkHeaders(t, a)
		if strings.Contains(a.Body, "<dt>Output</dt>") {
			t.Errorf("an address that is not http or https is shown as output:\n%s", a.Body)
		}
		for _, bad := range []string{
			"<script>", "<img", "onerror=alert(2)>", `href="javascript:`, "</pre>{", "alert(3)</a>",
		} {
			if strings.Contains(a.Body, bad) {
				t.Errorf("%q is in the page:\n%s", bad, a.Body)
			}
		}
		if n := strings.Count(a.Body, "<script "); n != 1 { // console.js
			t.Errorf("got %d scripts, want 1", n)
		}
	}
	if a := b.Do("GET", u+"/c", "", "Accept: application/json"); !strings.Contains(a.Body, `"output_url":null,`) {
		t.Errorf("%s", a.Body)
	}
	page := b.Do("GET", u+"/c", "").Body
	for _, want := range []string{
		"&lt;script&gt;alert(1)", "javascript:alert(3)", "The pipeline said that it failed.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
}

// A very long address must not make a very long page, for any caller.
func TestLongAddress(t *testing.T) {
	b, u := newBench(t)
	for path, base := range map[string]string{
		"/a/b":                        "../",
		"/a/b/c/d":                    "../../../",
		strings.Repeat("/a", 200<<10): "./",
	} {
		a := b.Do("GET", u+path, "", asPage)
		if a.Status != 404 || len(a.Body) > 16<<10 || !strings.Contains(a.Body, `href="`+base+`-/console.css"`) {
			t.Errorf("%.20s: %d, %d bytes: %.900s", path, a.Status, len(a.Body), a.Body)
		}
	}
}

// No response contains the form, its hash or a token.
func TestFormIsNeverShown(t *testing.T) {
	b, u := newBench(t)
	b.Begin("c") // {"a":1}
	c := b.Case("c", 1)
	for _, path := range []string{"/", "/c"} {
		for _, accept := range []string{asJSON, asPage} {
			if a := b.Do("GET", u+path, "", accept); strings.Contains(a.Body, `"a":1`) ||
				strings.Contains(a.Body, c.FormHash) ||
				strings.Contains(a.Body, "token") ||
				c.TraceParent != "" && strings.Contains(a.Body, c.TraceParent) {
				t.Errorf("%s: %s", path, a.Body)
			}
		}
	}
}

func TestStoreDown(t *testing.T) {
	b, u := newBench(t)
	b.Begin("c")
	b.Store.SetDown(true)
	for _, to := range []struct{ method, path string }{
		{"GET", "/"}, {"GET", "/?id=c"}, {"GET", "/c"}, {"GET", "/-/health"}, {"POST", "/c?run=1"},
	} {
		body := ""
		if to.method == "POST" {
			body = "action=cancel"
		}
		b.Problem(b.Do(to.method, u+to.path, body, asJSON, asForm), 503)
		a := b.Do(to.method, u+to.path, body, asPage, asForm)
		if a.Status != 503 || a.Header.Get("Retry-After") == "" || !strings.Contains(a.Body, "Service Unavailable") ||
			strings.Contains(a.Body, "SQL") {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	if n := strings.Count(b.Log.String(), "a request could not be served"); n != 10 {
		t.Errorf("%d errors are logged, want 10", n)
	}
}

func TestAccept(t *testing.T) {
	b, u := newBench(t)
	for accept, want := range map[string]string{
		"":                                  "text/html",
		"*/*":                               "text/html",
		"text/html":                         "text/html",
		"application/json":                  "application/json",
		"application/problem+json":          "application/json",
		"application/json, text/plain, */*": "application/json",
		"text/html, application/json;q=0.9": "text/html",
		"text/html;q=0.5, application/json": "application/json",
		"application/json;q=0":              "text/html",
		"garbage;;;, application/json":      "application/json",
		"image/png":                         "text/html",
	} {
		a := b.Do("GET", u+"/", "", "Accept: "+accept)
		if got, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";"); got != want ||
			a.Header.Get("Vary") != "Accept" {
			t.Errorf("Accept %q: got %s, want %s", accept, got, want)
		}
	}
	css := b.Do("GET", u+"/-/console.css", "")
	if a := b.Do("GET", u+"/-/console.css", "", "If-None-Match: "+css.Header.Get("ETag")); a.Status != 304 {
		t.Errorf("a file with a matching tag: got %d, want 304", a.Status)
	}
	if css.Header.Get("Content-Type") != "text/css; charset=utf-8" ||
		b.Do("GET", u+"/-/console.js", "").Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Error(css.Header)
	}
}

// listed reads all pages of a list as JSON.
func listed(t *testing.T, b *functiontest.Bench, u, query string) (ids []string, pages int) {
	t.Helper()
	after := ""
	for pages < 20 {
		var l struct {
			Runs []struct {
				CaseID string `json:"case_id"`
				Run    int
			}
			Next *string
		}
		a := b.Do("GET", u+"/?"+query+"&after="+after, "", asJSON)
		if err := json.Unmarshal([]byte(a.Body), &l); err != nil || a.Status != 200 {
			t.Fatalf("%d %s: %v", a.Status, a.Body, err)
		}
		pages++
		for _, r := range l.Runs {
			ids = append(ids, fmt.Sprint(r.CaseID, ":", r.Run))
		}
		if l.Next == nil {
			return ids, pages
		}
		after = url.QueryEscape(*l.Next)
	}
	t.Fatal("the pages do not end")
	return nil, 0
}
