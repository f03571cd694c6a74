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

// No text of a caller, form or event appears in a header, neither of an answer nor of a request to
// the pipeline, nor in the log. There are two exceptions: case ids, which cannot contain characters
// that end a header, and origins that the settings allow.
func TestTextsOfCallersAreNotInHeadersOrTheLog(t *testing.T) {
	const said = "Zq7~said" // not a valid case id
	const apiKey = "key-of-20-characters-" + said
	s := newSystem(t, map[string]string{
		"ALLOWED_ORIGINS": "https://forms.example",
		"API_KEYS":        apiKey,
		"OIDC_ISSUER":     "https://issuer.example",
		"OIDC_AUDIENCE":   "project",
	})
	s.pipe.Default(pipelinetest.Hang(true, 10))
	form := fmt.Sprintf(`{"case_id":"c","name":%[1]q,%[1]q:{"Traceparent":%[1]q},"Form":{"Id":%[1]q}}`, said)
	query := url.Values{}
	for _, name := range []string{
		"token", "id", "state", "age", "after", "done", "run", "wait", "deadline", "supersede", "adopt", "callback",
		said,
	} {
		query.Set(name, said)
	}
	header := http.Header{}
	for _, name := range []string{
		"Accept-Language", "Authorization", "Cookie", "If-None-Match", "Last-Event-Id", "Referer", "User-Agent",
		"X-Api-Key", "X-Cloud-Trace-Context", "Traceparent", "Tracestate", "Idempotency-Key",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Http-Method-Override", "X-Request-Id",
		"X-Cloudtasks-Taskretrycount", "X-Goog-Iap-Jwt-Assertion", "Ce-Id", "Ce-Source", "Ce-Type", "X-" + said,
	} {
		header.Set(name, said)
	}
	answers := 0
	request := func(method, path, body string, change func(h http.Header)) {
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
				t.Errorf("%s %s is answered with the header %s: %q", method, path, name, values)
			}
		}
	}
	anonymous := func(h http.Header) {
		h.Del("Authorization")
		h.Del("X-Api-Key")
	}
	request("POST", "/start", form, anonymous)
	c := s.start(`{"case_id":"c"}`, "") // returns the same run
	if err := s.pipe.WaitPosts(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "POST", "OPTIONS"} {
		for _, path := range []string{
			"/start", "/status/c", "/status/" + said, "/cancel/c", "/cancel/" + said, "/check", "/dispatch",
			"/complete", "/sweep", "/console/", "/console/c", "/console/" + said, "/status/-/" + said,
		} {
			for _, change := range []func(http.Header){
				func(http.Header) {},
				anonymous,
				func(h http.Header) { h.Set("Authorization", "Bearer "+said) },
				func(h http.Header) { h.Set("X-Api-Key", apiKey) },
				func(h http.Header) { h.Set("Origin", "https://"+said+".example") },
				func(h http.Header) {
					h.Set("Origin", "https://forms.example")
					h.Set("Access-Control-Request-Method", "POST")
					h.Set("Access-Control-Request-Headers", "x-"+strings.ToLower(said))
				},
			} {
				request(method, path, form, change)
				request(method, path+"?"+query.Encode(), form, change)
			}
		}
	}
	s.publish(fmt.Sprintf(`{"case_id":"c","run":1,"status":%[1]q,"result":%[1]q,"error":%[1]q}`, said))
	s.publish(said)
	s.until(c, "both events are dead letters", func(view) bool {
		return strings.Count(s.log.String(), "forwarding it") == 2
	})
	if v := s.status(c); v.State != cases.Cancelled { // by the request with the API key
		t.Errorf("the case is %s, want %s", v.State, cases.Cancelled)
	}

	posts, polls := s.pipe.Posts("c"), s.pipe.Polls("c")
	if len(posts) != 1 || !strings.Contains(string(posts[0].Body), said) {
		t.Fatalf("the pipeline was started %d times, want once, with the form", len(posts))
	}
	headers := []http.Header{posts[0].Header}
	for _, poll := range polls {
		headers = append(headers, poll.Header)
	}
	for _, h := range headers {
		if strings.Contains(strings.ToLower(fmt.Sprint(h)), strings.ToLower(said)) {
			t.Errorf("a request to the pipeline has the headers %v", h)
		}
	}
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, said) || strings.Contains(line, "token=") {
			t.Errorf("the log contains a text of a caller: %s", line)
		}
	}
	if answers < 200 || s.log.String() == "" {
		t.Errorf("%d requests were sent, want at least 200 and a log", answers)
	}
}
