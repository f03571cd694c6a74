package machine_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// What callers, forms and events say goes into no header, neither of an answer nor of a request, and into no line of the log: not a form, not a
// token, not a query. Ids of cases do, and so they hold nothing that could end a header; and an origin that the settings name.
func TestNothingThatIsSaidIsInAHeaderOrTheLog(t *testing.T) {
	const said = "Zq7~said" // as no id of a case
	s := newSystem(t, map[string]string{"ALLOWED_ORIGINS": "https://forms.example", "API_KEYS": "key-of-20-characters-" + said, "OIDC_ISSUER": "https://issuer.example", "OIDC_AUDIENCE": "project"})
	s.pipe.Default(pipelinetest.Hang(true, 10))
	form := fmt.Sprintf(`{"case_id":"c","name":%[1]q,%[1]q:{"Traceparent":%[1]q},"Form":{"Id":%[1]q}}`, said)
	query := url.Values{}
	for _, name := range []string{"token", "id", "state", "age", "after", "done", "run", "wait", "deadline", "supersede", "adopt", "callback", said} {
		query.Set(name, said)
	}
	header := http.Header{}
	for _, name := range []string{
		"Accept-Language", "Authorization", "Cookie", "If-None-Match", "Last-Event-Id", "Referer", "User-Agent", "X-Api-Key", "X-Cloud-Trace-Context", "Traceparent", "Tracestate", "Idempotency-Key",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Http-Method-Override", "X-Request-Id", "X-Cloudtasks-Taskretrycount", "X-Goog-Iap-Jwt-Assertion", "Ce-Id", "Ce-Source", "Ce-Type", "X-" + said,
	} {
		header.Set(name, said)
	}
	answers := 0
	ask := func(method, path, body string, change func(h http.Header)) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header.Clone()
		req.Header.Set("Content-Type", "application/json")
		change(req.Header)
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		answers++
		for name, values := range res.Header {
			if strings.Contains(strings.ToLower(name+fmt.Sprint(values)), strings.ToLower(said)) {
				t.Errorf("%s %s: %s: %q", method, path, name, values)
			}
		}
	}
	bare := func(h http.Header) { // as a caller who is let in
		for _, name := range []string{"Authorization", "X-Api-Key"} {
			h.Del(name)
		}
	}
	ask("POST", "/start", form, bare)
	c := s.start(`{"case_id":"c"}`, "") // the same run
	if err := s.pipe.WaitPosts(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "POST", "OPTIONS"} {
		for _, path := range []string{"/start", "/status/c", "/status/" + said, "/cancel/c", "/cancel/" + said, "/check", "/dispatch", "/complete", "/sweep", "/console/", "/console/c", "/console/" + said, "/status/-/" + said} {
			for _, change := range []func(http.Header){
				func(http.Header) {}, bare,
				func(h http.Header) { h.Set("Authorization", "Bearer "+said) },
				func(h http.Header) { h.Set("X-Api-Key", "key-of-20-characters-"+said) },
				func(h http.Header) { h.Set("Origin", "https://"+said+".example") },
				func(h http.Header) {
					h.Set("Origin", "https://forms.example")
					h.Set("Access-Control-Request-Method", "POST")
					h.Set("Access-Control-Request-Headers", "x-"+strings.ToLower(said))
				},
			} {
				ask(method, path, form, change)
				ask(method, path+"?"+query.Encode(), form, change)
			}
		}
	}
	s.publish(fmt.Sprintf(`{"case_id":"c","run":1,"status":%[1]q,"result":%[1]q,"error":%[1]q}`, said))
	s.publish(said)
	s.until(c, "both events are refused", func(view) bool { return strings.Count(s.log.String(), "forwarding it") == 2 })
	if v := s.look(c); v.State != cases.Cancelled { // by who showed the key
		t.Errorf("%+v", v)
	}

	posts, polls := s.pipe.Posts("c"), s.pipe.Polls("c")
	if len(posts) != 1 || !strings.Contains(string(posts[0].Body), said) {
		t.Fatalf("%d posts", len(posts))
	}
	headers := []http.Header{posts[0].Header}
	for _, poll := range polls {
		headers = append(headers, poll.Header)
	}
	for _, h := range headers {
		if strings.Contains(strings.ToLower(fmt.Sprint(h)), strings.ToLower(said)) {
			t.Errorf("the pipeline was asked with %v", h)
		}
	}
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, said) || strings.Contains(line, "token=") {
			t.Errorf("%s", line)
		}
	}
	if answers < 200 || s.log.String() == "" {
		t.Errorf("%d answers", answers)
	}
}
