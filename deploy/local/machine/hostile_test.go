package machine_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
	"github.com/casewatch/casewatch/shared/watch"
)

// No value that a caller, the pipeline or an event gives becomes an address that is asked: not a form's, not a header's, not a token's, not
// output_url, not a redirect's.
func TestNothingThatIsSaidIsFetched(t *testing.T) {
	var asked atomic.Int64
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer canary.Close()
	at := canary.URL

	s := newSystem(t, map[string]string{"OIDC_ISSUER": "https://issuer.example", "OIDC_AUDIENCE": "project"})
	s.pipe.OnEnd = func(event []byte) { s.publish(string(event)) }
	s.pipe.Script("redirected", pipelinetest.Redirect(307, at+"/dispatch"))
	s.pipe.Script("looks-redirected", pipelinetest.Async(2))
	s.pipe.ScriptPolls("looks-redirected", pipelinetest.Redirect(302, at+"/look"), pipelinetest.Redirect(308, at+"/look"))
	result := fmt.Sprintf(`{"success":true,"webhook_summary":{"total_sets":1,"succeeded":1,"failed":0,"output_url":%q},"output_url":%q,"callback":%q}`, at, at+"/out", at)
	s.pipe.Script("result", pipelinetest.Answer(200, result))

	header := []string{
		"X-Forwarded-Host: " + strings.TrimPrefix(at, "http://"), "X-Forwarded-For: " + at, "Forwarded: host=" + at, "Origin: " + at, "Referer: " + at,
		"X-Original-Url: " + at, "X-Rewrite-Url: " + at, "X-Callback-Url: " + at, "Location: " + at, "Traceparent: " + at, "X-Cloud-Trace-Context: " + at,
		"Idempotency-Key: " + at, "X-Goog-Iap-Jwt-Assertion: " + at, "Ce-Source: " + at, "Ce-Dataschema: " + at, "X-Http-Method-Override: GET",
	}
	query := "?" + url.Values{"url": {at}, "callback": {at}, "status_url": {at}, "output_url": {at}}.Encode()
	var runs []started
	for _, id := range []string{"redirected", "looks-redirected", "result"} {
		form := fmt.Sprintf(`{"case_id":%q,"output_url":%q,"callback_url":%q,"webhook":{"url":%q},"status_url":%q,"Form":{"Id":%q},"$ref":%q}`, id, at, at, at, at, at, at)
		if code, body := s.do("POST", s.base+"/start"+query, form, header...); code != http.StatusBadRequest {
			t.Fatalf("with parameters that nobody knows: %d %s", code, body)
		}
		code, body := s.do("POST", s.base+"/start", form, append(header, "Idempotency-Key: "+at+id)...)
		var b struct {
			Status string `json:"status_url"`
		}
		if err := json.Unmarshal(body, &b); err != nil || code != http.StatusAccepted || !strings.HasPrefix(b.Status, s.base+"/status/"+id) {
			t.Fatalf("%d %s", code, body)
		}
		runs = append(runs, started{id: id, run: 1, status: b.Status})
	}

	// Tokens that say themselves where the key is by which they are to be verified (RFC 7515, sections 4.1.2 and 4.1.5).
	issuer := identitytest.New(at)
	for _, change := range []identitytest.Change{
		identitytest.Header("jku", at+"/jwks"), identitytest.Header("x5u", at+"/cert"), identitytest.Header("kid", at), identitytest.Claim("iss", at),
	} {
		for _, token := range []string{issuer.Sign("a@b.example", "project", change), s.m.Issuer.Sign("a@b.example", s.base, change)} {
			for _, path := range []string{"/start", "/status/result", "/cancel/result", "/check", "/dispatch", "/complete", "/sweep", "/console/"} {
				for _, line := range []string{"Authorization: Bearer " + token, "X-Goog-Iap-Jwt-Assertion: " + token} {
					_, _ = s.do("POST", s.base+path, "{}", line)
				}
			}
		}
	}
	s.publish(fmt.Sprintf(`{"case_id":"looks-redirected","run":1,"status":"succeeded","result":%s,"callback":%q}`, result, at))

	if v := s.wantEnd(runs[0], cases.Failed, cases.ReasonPipelineRefused); !strings.Contains(v.End.Message, "redirect") {
		t.Errorf("%+v", v.End)
	}
	for _, c := range runs[1:] {
		if v := s.wantEnd(c, cases.Succeeded, cases.ReasonCompleted); v.OutputURL == nil || *v.OutputURL != at+"/out" {
			t.Errorf("%s: %+v", c.id, v)
		}
		for _, page := range []string{"/console/" + c.id, "/console/-/health", "/console/"} {
			if code, body := s.do("GET", s.base+page, "", "Accept: text/html"); code != 200 {
				t.Errorf("%s: %d %s", page, code, body)
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("it was fetched %d times", n)
	}
	if _, _ = s.do("GET", at, ""); asked.Load() != 1 {
		t.Error("the canary does not sing")
	}
}

// Bodies that are meant to hurt are refused, or reach the pipeline as what they are, with one case_id that every parser reads the same.
func TestHostileBodies(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Default(pipelinetest.Answer(200, `{"success":true}`))
	const most = watch.MaxForm
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	for name, test := range map[string]struct {
		body string
		want int
	}{
		"nothing but [":          {strings.Repeat("[", most), 400},
		"nothing but {\"a\":":    {strings.Repeat(`{"a":`, most/5), 400},
		"100,000 levels":         {deep(100_000), 400},
		"9,000 levels":           {deep(9_000), 202},
		"a number without end":   {`{"a":` + strings.Repeat("9", most-100) + "}", 202},
		"a number too large":     {`{"a":1e999999999,"b":-1e-999999999}`, 202},
		"the same key each time": {`{"a":0` + strings.Repeat(`,"a":0`, 100_000) + "}", 202},
		"case_id twice":          {`{"case_id":"first","x":{"case_id":"inner"},"case_\u0069d":"second","run":7,"run":8}`, 202},
		"case_id in disguise":    {`{"CASE_ID":"upper","case_id ":"space","\u0000case_id":"nul"}`, 202},
		"lone surrogates":        {`{"a":"\ud800","\udfff":"\udc00\ud800"}`, 202},
		"an id of surrogates":    {`{"case_id":"\ud800"}`, 400},
		"an id of a path":        {`{"case_id":"../../x"}`, 400},
		"an id with a line":      {`{"case_id":"a\r\nX-Evil: 1"}`, 400},
		"an id of NUL":           {`{"case_id":"\u0000"}`, 400},
		"a key of NUL":           {`{"\u0000":"\u0000"}`, 202},
		"a bare NUL":             {"{\"a\":\"\x00\"}", 400},
		"a byte order mark":      {"\ufeff{}", 400},
		"not UTF-8":              {"{\"a\":\"\xed\xa0\x80\"}", 400},
		"two objects":            {`{}{}`, 400},
		"prototypes":             {`{"__proto__":{"case_id":"x"},"constructor":{"prototype":{}}}`, 202},
		"too large":              {`{"a":"` + strings.Repeat("x", most) + `"}`, 413},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			code, body := s.do("POST", s.base+"/start", test.body)
			if code != test.want {
				t.Fatalf("%d %.200s, want %d", code, body, test.want)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if code != 202 {
				if len(body) > 2000 || bytes.Contains(body, []byte("X-Evil")) {
					t.Errorf("%.3000s", body)
				}
				return
			}
			var b struct {
				CaseID string `json:"case_id"`
				Status string `json:"status_url"`
			}
			if err := json.Unmarshal(body, &b); err != nil {
				t.Fatal(err)
			}
			s.wantEnd(started{id: b.CaseID, run: 1, status: b.Status}, cases.Succeeded, cases.ReasonCompleted)
			posts := s.pipe.Posts(b.CaseID)
			if name == "case_id in disguise" {
				posts = s.pipe.Posts("upper") // who receives them here does not mind the case of letters
			}
			if len(posts) != 1 {
				t.Fatalf("%d posts", len(posts))
			}
			if n := len(regexp.MustCompile(`"case_id":`).FindAll(posts[0].Body, -1)); n != 1 && name != "case_id twice" && name != "prototypes" || !json.Valid(posts[0].Body) {
				t.Errorf("%d times case_id in %.300s", n, posts[0].Body)
			}
			if name == "case_id twice" && string(posts[0].Body) != `{"case_id":"second","x":{"case_id":"inner"},"run":1}` {
				t.Errorf("%s", posts[0].Body)
			}
		})
	}
}

// What anyone says stays inside the values of a log line: a line is one JSON object with a severity, a message and a trace of ours.
func TestLogInjection(t *testing.T) {
	s := newSystem(t, nil)
	const secret = "formsecretformsecret"
	evil := "x\n{\"severity\":\"CRITICAL\",\"message\":\"forged\",\"logging.googleapis.com/trace\":\"projects/evil/traces/0\"}\r\n\u2028\x1b[2J\x00\",\"severity\":\"ALERT"
	quoted, _ := json.Marshal(evil)
	s.pipe.Script("says", pipelinetest.Answer(500, `{"success":false,"error":`+string(quoted)+`}`))
	s.pipe.Script("refuses", pipelinetest.Refuse(422, evil))
	for _, id := range []string{"says", "refuses"} {
		c := s.start(fmt.Sprintf(`{"case_id":%q,"name":%q,"text":%s}`, id, secret, quoted), "")
		s.until(c, "it ends", ended)
	}
	s.publish(`{"case_id":"says","run":1,"status":"failed","error":` + string(quoted) + `,"progress":{"current_doc":` + string(quoted) + `}}`)
	s.publish(`{"case_id":` + string(quoted) + `,"status":` + string(quoted) + `}`)
	s.publish(evil)
	for _, path := range []string{"/start/%0a%7B%22severity%22:%22ALERT%22%7D", "/status/%0aforged", "/check?%0aforged", "/console/%0aforged", "/complete/%00"} {
		_, _ = s.do("POST", s.base+path, evil, "User-Agent: {\"severity\":\"ALERT\"}", "Traceparent: 00-evil", "X-Cloud-Trace-Context: evil/1;o=1",
			"Authorization: Bearer "+base64.RawURLEncoding.EncodeToString([]byte(evil)))
	}
	for deadline := time.Now().Add(20 * time.Second); strings.Count(s.log.String(), "forwarding it") < 2 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // events take their way through the servers
	}
	severities := []string{"DEBUG", "INFO", "NOTICE", "WARNING", "ERROR"}
	trace := regexp.MustCompile(`^projects/[a-z-]+/traces/[0-9a-f]{32}$`)
	lines := 0
	for line := range strings.Lines(s.log.String()) {
		lines++
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("%q is no line of ours: %v", line, err)
			continue
		}
		severity, _ := l["severity"].(string)
		message, _ := l["message"].(string)
		if !slices.Contains(severities, severity) || strings.Contains(message, "forged") {
			t.Errorf("%q", line)
		}
		if at, ok := l["logging.googleapis.com/trace"]; ok && !trace.MatchString(fmt.Sprint(at)) {
			t.Errorf("a trace of %v", at)
		}
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\n\r\x00\x1b\u2028") || strings.Contains(line, secret) {
			t.Errorf("%q", line)
		}
	}
	if lines < 5 {
		t.Errorf("%d lines", lines)
	}
}

// A token is for one case, at the two public functions; it opens no other case and no other door.
func TestTokensAreNotConfused(t *testing.T) {
	s := newSystem(t, map[string]string{"API_KEYS": "an-api-key-of-its-own", "ALLOW_ANONYMOUS": "false"})
	s.pipe.Default(pipelinetest.Async(2))
	key := "X-Api-Key: an-api-key-of-its-own"
	address := map[string]string{}
	for _, id := range []string{"mine", "mine2", "theirs"} {
		code, body := s.do("POST", s.base+"/start", `{"case_id":"`+id+`"}`, key)
		var b struct {
			Status string `json:"status_url"`
		}
		if err := json.Unmarshal(body, &b); err != nil || code != 202 {
			t.Fatalf("%d %s", code, body)
		}
		address[id] = b.Status
	}
	u, err := url.Parse(address["mine"])
	if err != nil {
		t.Fatal(err)
	}
	token := u.Query().Get("token")
	idToken := s.token("check")
	for _, test := range []struct {
		method, path, header string
		want                 []int
	}{
		{"GET", "/status/mine?token=" + token, "", []int{200}},
		{"GET", "/status/theirs?token=" + token, "", []int{403}},
		{"GET", "/status/mine2?token=" + token, "", []int{403}},
		{"GET", "/status/theirs?token=" + token, "Accept: text/event-stream", []int{403}},
		{"POST", "/cancel/theirs?token=" + token, "", []int{403}},
		{"POST", "/cancel/mine?token=" + token, "", []int{403}},
		{"GET", "/status/theirs%2f..%2fmine?token=" + token, "", []int{400, 403, 404}},
		{"GET", "/status/theirs?token=x&token=" + token, "", []int{403}},
		{"GET", "/status/mine%00?token=" + token, "", []int{400}},
		{"GET", "/status/mine", "Authorization: Bearer " + token, []int{401}},
		{"GET", "/status/mine", "X-Api-Key: " + token, []int{401}},
		{"GET", "/status/mine?token=an-api-key-of-its-own", "", []int{403}},
		{"GET", "/status/mine?token=" + idToken, "", []int{403}},
		{"GET", "/status/mine", "Authorization: Bearer " + idToken, []int{401}},
		{"GET", "/status/mine", "", []int{401}},
		{"POST", "/start?token=" + token, "", []int{401}},
		{"POST", "/start", "Authorization: Bearer " + idToken, []int{401}},
		{"POST", "/check?token=" + token, "", []int{401}},
		{"POST", "/check", "Authorization: Bearer " + token, []int{401}},
		{"POST", "/check", key, []int{401}},
		{"POST", "/sweep", "Authorization: Bearer an-api-key-of-its-own", []int{401}},
		{"POST", "/dispatch", "Authorization: Bearer " + s.m.Issuer.Sign("stranger@local.iam.gserviceaccount.com", s.base), []int{403}},
	} {
		var header []string
		if test.header != "" {
			header = []string{test.header}
		}
		if code, body := s.do(test.method, s.base+test.path, "{}", header...); !slices.Contains(test.want, code) {
			t.Errorf("%s %s with %.40q: %d %s, want %v", test.method, test.path, test.header, code, body, test.want)
		}
	}
}

// A form full of markup makes documents and pages full of text.
func TestHTMLInjection(t *testing.T) {
	s := newSystem(t, map[string]string{"PIPELINE_API_URL": ""}) // the sample pipeline
	const evil = `</title></style></script><script>alert(1)</script><img src=x onerror=alert(2)>"'{{.}}${7*7} javascript:alert(3) \u0022; } body{background:url(//evil.example)}`
	quoted, _ := json.Marshal(evil)
	form := fmt.Sprintf(`{"case_id":"evil","Form":{"Name":%[1]s,"InternalName":%[1]s},"PlaintiffDetails":[{"Id":%[1]s,"HeadOfHousehold":true,"PlaintiffItemNumberName":{"First":%[1]s,"Last":%[1]s,"FirstAndLast":%[1]s},
			"PlaintiffItemNumberDiscovery":{%[1]s:[%[1]s],"Vermin":[%[1]s]}},{"FirstName":%[1]s,"LastName":%[1]s}],
		"DefendantDetails2":[{"DefendantItemNumberName":{"FirstAndLast":%[1]s},"DefendantItemNumberType":%[1]s,"DefendantItemNumberManagerOwner":%[1]s},{"LastName":%[1]s,"EntityType":%[1]s}],
		"Full_Address":{"StreetAddress":%[1]s,"City":%[1]s},"Filing city":%[1]s,"Filing county":%[1]s,"document_types":["srogs",%[1]s]}`, quoted)
	c := s.start(form, "")
	v := s.until(c, "it ends", ended)
	if v.OutputURL == nil {
		t.Fatalf("%+v", v)
	}
	pages := []string{*v.OutputURL, s.base + "/console/", s.base + "/console/evil", s.base + "/", s.base + "/console/" + url.PathEscape(evil), s.base + "/console/?id=" + url.QueryEscape(evil) + "&state=" + url.QueryEscape(evil)}
	for i := 0; i < len(pages); i++ {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, pages[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		res, err := s.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		page := string(data)
		if i == 0 { // the index links the documents
			for _, m := range regexp.MustCompile(`href="(\d{3}-[a-z]+\.html)"`).FindAllStringSubmatch(page, -1) {
				pages = append(pages, strings.TrimSuffix(pages[0], "index.html")+m[1])
			}
		}
		for _, bad := range []string{"<script>alert", "<img src=x", "</style></script>", "url(//evil.example)}</style>"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s has %q", pages[i], bad)
			}
		}
		policy := res.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", pages[i], res.StatusCode, res.Header)
		}
	}
	if len(pages) < 7 {
		t.Errorf("no document was looked at: %q", pages)
	}
}
