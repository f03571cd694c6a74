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
	"github.com/casewatch/casewatch/shared/reconcile"
)

// No value of a caller, the pipeline or an event becomes an address that Casewatch requests: no
// field of a form, no header, no claim of a token, no output_url and no redirect.
func TestAddressesOfOthersAreNotRequested(t *testing.T) {
	var requests atomic.Int64
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer canary.Close()
	at := canary.URL

	s := newSystem(t, map[string]string{"OIDC_ISSUER": "https://issuer.example", "OIDC_AUDIENCE": "project"})
	s.pipe.OnEnd = func(event []byte) { s.publish(string(event)) }
	s.pipe.Script("redirected", pipelinetest.Redirect(307, at+"/dispatch"))
	s.pipe.Script("polls-redirected", pipelinetest.Async(2))
	s.pipe.ScriptPolls("polls-redirected",
		pipelinetest.Redirect(302, at+"/poll"), pipelinetest.Redirect(308, at+"/poll"))
	result := fmt.Sprintf(`{
		"success": true,
		"webhook_summary": {"total_sets": 1, "succeeded": 1, "failed": 0, "output_url": %[1]q},
		"output_url": %[2]q, "callback": %[1]q
	}`, at, at+"/out")
	s.pipe.Script("result", pipelinetest.Answer(200, result))

	header := []string{
		"X-Forwarded-Host: " + strings.TrimPrefix(at, "http://"),
		"X-Forwarded-For: " + at,
		"Forwarded: host=" + at,
		"Origin: " + at,
		"Referer: " + at,
		"X-Original-Url: " + at,
		"X-Rewrite-Url: " + at,
		"X-Callback-Url: " + at,
		"Location: " + at,
		"Traceparent: " + at,
		"X-Cloud-Trace-Context: " + at,
		"Idempotency-Key: " + at,
		"X-Goog-Iap-Jwt-Assertion: " + at,
		"Ce-Source: " + at,
		"Ce-Dataschema: " + at,
		"X-Http-Method-Override: GET",
	}
	query := "?" + url.Values{"url": {at}, "callback": {at}, "status_url": {at}, "output_url": {at}}.Encode()
	var runs []started
	for _, id := range []string{"redirected", "polls-redirected", "result"} {
		form := fmt.Sprintf(`{
			"case_id": %[1]q, "output_url": %[2]q, "callback_url": %[2]q, "webhook": {"url": %[2]q},
			"status_url": %[2]q, "Form": {"Id": %[2]q}, "$ref": %[2]q
		}`, id, at)
		if code, body := s.do("POST", s.base+"/start"+query, form, header...); code != http.StatusBadRequest {
			t.Fatalf("a start with unknown parameters is answered %d %s, want 400", code, body)
		}
		code, body := s.do("POST", s.base+"/start", form, append(header, "Idempotency-Key: "+at+id)...)
		var b struct {
			Status string `json:"status_url"`
		}
		if err := json.Unmarshal(body, &b); err != nil || code != http.StatusAccepted ||
			!strings.HasPrefix(b.Status, s.base+"/status/"+id) {
			t.Fatalf("the start is answered %d %s, want 202 with a status URL at %s", code, body, s.base)
		}
		runs = append(runs, started{id: id, run: 1, status: b.Status})
	}
	s.sendTokensThatName(at)
	event := `{"case_id":"polls-redirected","run":1,"status":"succeeded","result":%s,"callback":%q}`
	s.publish(fmt.Sprintf(event, result, at))

	v := s.wantEnd(runs[0], cases.Failed, cases.ReasonPipelineRefused)
	if !strings.Contains(v.End.Message, "redirect") {
		t.Errorf("the message is %q, want one about a redirect", v.End.Message)
	}
	for _, c := range runs[1:] {
		v := s.wantEnd(c, cases.Succeeded, cases.ReasonCompleted)
		if v.OutputURL == nil || *v.OutputURL != at+"/out" {
			t.Errorf("%s has the output_url %v, want %s/out", c.id, v.OutputURL, at)
		}
		for _, page := range []string{"/console/" + c.id, "/console/-/health", "/console/"} {
			if code, body := s.do("GET", s.base+page, "", "Accept: text/html"); code != 200 {
				t.Errorf("%s is answered %d %s, want 200", page, code, body)
			}
		}
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the address was requested %d times, want never", n)
	}
	if _, _ = s.do("GET", at, ""); requests.Load() != 1 {
		t.Error("the test does not count requests to the address")
	}
}

// sendTokensThatName calls each function with tokens that name an address for the key that verifies
// them (RFC 7515, sections 4.1.2 and 4.1.5).
func (s *system) sendTokensThatName(address string) {
	issuer := identitytest.New(address)
	for _, change := range []identitytest.Change{
		identitytest.Header("jku", address+"/jwks"),
		identitytest.Header("x5u", address+"/cert"),
		identitytest.Header("kid", address),
		identitytest.Claim("iss", address),
	} {
		for _, token := range []string{
			issuer.Sign("a@b.example", "project", change),
			s.m.Issuer.Sign("a@b.example", s.base, change),
		} {
			for _, path := range []string{
				"/start", "/status/result", "/cancel/result", "/check", "/dispatch", "/complete", "/sweep", "/console/",
			} {
				_, _ = s.do("POST", s.base+path, "{}", "Authorization: Bearer "+token)
				_, _ = s.do("POST", s.base+path, "{}", "X-Goog-Iap-Jwt-Assertion: "+token)
			}
		}
	}
}

// A hostile body is rejected, or reaches the pipeline unchanged but for one case_id, which every
// parser reads as the same.
func TestHostileBodies(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Default(pipelinetest.Answer(200, `{"success":true}`))
	const limit = reconcile.MaxForm
	nested := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	const twoIDs = `{"case_id":"first","x":{"case_id":"inner"},"case_\u0069d":"second","run":7,"run":8}`
	for name, test := range map[string]struct {
		body string
		want int
	}{
		"only opening brackets":          {strings.Repeat("[", limit), 400},
		"only opening objects":           {strings.Repeat(`{"a":`, limit/5), 400},
		"100,000 levels":                 {nested(100_000), 400},
		"9,000 levels":                   {nested(9_000), 202},
		"very long number":               {`{"a":` + strings.Repeat("9", limit-100) + "}", 202},
		"very large and small number":    {`{"a":1e999999999,"b":-1e-999999999}`, 202},
		"one key 100,001 times":          {`{"a":0` + strings.Repeat(`,"a":0`, 100_000) + "}", 202},
		"two case_ids":                   {twoIDs, 202},
		"keys similar to case_id":        {`{"CASE_ID":"upper","case_id ":"space","\u0000case_id":"nul"}`, 202},
		"unpaired surrogates":            {`{"a":"\ud800","\udfff":"\udc00\ud800"}`, 202},
		"case_id of a surrogate":         {`{"case_id":"\ud800"}`, 400},
		"case_id of a path":              {`{"case_id":"../../x"}`, 400},
		"case_id with a line break":      {`{"case_id":"a\r\nX-Evil: 1"}`, 400},
		"case_id of NUL":                 {`{"case_id":"\u0000"}`, 400},
		"key of NUL":                     {`{"\u0000":"\u0000"}`, 202},
		"NUL without an escape sequence": {"{\"a\":\"\x00\"}", 400},
		"byte order mark":                {"\ufeff{}", 400},
		"invalid UTF-8":                  {"{\"a\":\"\xed\xa0\x80\"}", 400},
		"two objects":                    {`{}{}`, 400},
		"prototypes":                     {`{"__proto__":{"case_id":"x"},"constructor":{"prototype":{}}}`, 202},
		"too large":                      {`{"a":"` + strings.Repeat("x", limit) + `"}`, 413},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			code, body := s.do("POST", s.base+"/start", test.body)
			if code != test.want {
				t.Fatalf("the start is answered %d %.200s, want %d", code, body, test.want)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the start took %v, want at most 10 s", took)
			}
			if code != 202 {
				if len(body) > 2000 || bytes.Contains(body, []byte("X-Evil")) {
					t.Errorf("the problem is %.3000s, want a short one without the case_id", body)
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
			if name == "keys similar to case_id" {
				posts = s.pipe.Posts("upper") // the test pipeline ignores the case of letters in keys
			}
			if len(posts) != 1 {
				t.Fatalf("the pipeline was started %d times, want once", len(posts))
			}
			form := posts[0].Body
			if !json.Valid(form) {
				t.Errorf("the form is not valid JSON: %.300s", form)
			}
			n := bytes.Count(form, []byte(`"case_id":`))
			if hasInnerID := name == "two case_ids" || name == "prototypes"; n != 1 && !hasInnerID {
				t.Errorf("the form has %d times case_id, want once: %.300s", n, form)
			}
			want := `{"case_id":"second","x":{"case_id":"inner"},"run":1}`
			if name == "two case_ids" && string(form) != want {
				t.Errorf("the form is %s, want %s", form, want)
			}
		})
	}
}

// Text of callers, forms and events cannot forge a log line or a field of one. Each line is one
// JSON object with a severity, message and trace of Casewatch.
func TestLogInjection(t *testing.T) {
	s := newSystem(t, nil)
	const secret = "formsecretformsecret"
	const evil = "x\n" +
		`{"severity":"CRITICAL","message":"forged","logging.googleapis.com/trace":"projects/evil/traces/0"}` +
		"\r\n\u2028\x1b[2J\x00\",\"severity\":\"ALERT"
	quoted, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	s.pipe.Script("says", pipelinetest.Answer(500, `{"success":false,"error":`+string(quoted)+`}`))
	s.pipe.Script("refuses", pipelinetest.Refuse(422, evil))
	for _, id := range []string{"says", "refuses"} {
		c := s.start(fmt.Sprintf(`{"case_id":%q,"name":%q,"text":%s}`, id, secret, quoted), "")
		s.until(c, "it ends", ended)
	}
	s.publish(fmt.Sprintf(
		`{"case_id":"says","run":1,"status":"failed","error":%[1]s,"progress":{"current_doc":%[1]s}}`, quoted))
	s.publish(fmt.Sprintf(`{"case_id":%[1]s,"status":%[1]s}`, quoted))
	s.publish(evil)
	for _, path := range []string{
		"/start/%0a%7B%22severity%22:%22ALERT%22%7D", "/status/%0aforged", "/check?%0aforged", "/console/%0aforged",
		"/complete/%00",
	} {
		_, _ = s.do("POST", s.base+path, evil,
			"User-Agent: {\"severity\":\"ALERT\"}",
			"Traceparent: 00-evil",
			"X-Cloud-Trace-Context: evil/1;o=1",
			"Authorization: Bearer "+base64.RawURLEncoding.EncodeToString([]byte(evil)),
		)
	}
	deadLetters := func() int { return strings.Count(s.log.String(), "forwarding it") }
	for deadline := time.Now().Add(20 * time.Second); deadLetters() < 2 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // until complete has received both events
	}
	severities := []string{"DEBUG", "INFO", "NOTICE", "WARNING", "ERROR"}
	trace := regexp.MustCompile(`^projects/[a-z-]+/traces/[0-9a-f]{32}$`)
	lines := 0
	for line := range strings.Lines(s.log.String()) {
		lines++
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("the line %q is not a JSON object: %v", line, err)
			continue
		}
		severity, _ := l["severity"].(string)
		message, _ := l["message"].(string)
		if !slices.Contains(severities, severity) || strings.Contains(message, "forged") {
			t.Errorf("the severity or message is forged: %q", line)
		}
		if got, ok := l["logging.googleapis.com/trace"]; ok && !trace.MatchString(fmt.Sprint(got)) {
			t.Errorf("the trace is %v, want one of Casewatch", got)
		}
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\n\r\x00\x1b\u2028") {
			t.Errorf("the line contains control characters: %q", line)
		}
		if strings.Contains(line, secret) {
			t.Errorf("the line contains the form: %q", line)
		}
	}
	if lines < 5 {
		t.Errorf("the log has %d lines, want at least 5", lines)
	}
}

// A token is valid for one case and one of the functions status and cancel, and for nothing else.
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
			t.Fatalf("the start is answered %d %s, want 202", code, body)
		}
		address[id] = b.Status
	}
	u, err := url.Parse(address["mine"])
	if err != nil {
		t.Fatal(err)
	}
	token := u.Query().Get("token")
	idToken := s.token("check")
	stranger := s.token("stranger")
	for _, test := range []struct {
		method, path, header string
		want                 []int // one of these
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
		{"POST", "/dispatch", "Authorization: Bearer " + stranger, []int{403}},
	} {
		var header []string
		if test.header != "" {
			header = []string{test.header}
		}
		if code, body := s.do(test.method, s.base+test.path, "{}", header...); !slices.Contains(test.want, code) {
			t.Errorf("%s %s with %.40q is answered %d %s, want %v",
				test.method, test.path, test.header, code, body, test.want)
		}
	}
}

// Markup in a form appears in documents and pages as text.
func TestHTMLInjection(t *testing.T) {
	s := newSystem(t, map[string]string{"PIPELINE_API_URL": ""}) // uses the sample pipeline
	const evil = `</title></style></script><script>alert(1)</script><img src=x onerror=alert(2)>"'{{.}}${7*7} ` +
		`javascript:alert(3) \u0022; } body{background:url(//evil.example)}`
	quoted, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	form := fmt.Sprintf(`{
		"case_id": "evil",
		"Form": {"Name": %[1]s, "InternalName": %[1]s},
		"PlaintiffDetails": [
			{
				"Id": %[1]s, "HeadOfHousehold": true,
				"PlaintiffItemNumberName": {"First": %[1]s, "Last": %[1]s, "FirstAndLast": %[1]s},
				"PlaintiffItemNumberDiscovery": {%[1]s: [%[1]s], "Vermin": [%[1]s]}
			},
			{"FirstName": %[1]s, "LastName": %[1]s}
		],
		"DefendantDetails2": [
			{
				"DefendantItemNumberName": {"FirstAndLast": %[1]s},
				"DefendantItemNumberType": %[1]s, "DefendantItemNumberManagerOwner": %[1]s
			},
			{"LastName": %[1]s, "EntityType": %[1]s}
		],
		"Full_Address": {"StreetAddress": %[1]s, "City": %[1]s},
		"Filing city": %[1]s, "Filing county": %[1]s, "document_types": ["srogs", %[1]s]
	}`, quoted)
	c := s.start(form, "")
	v := s.until(c, "it ends", ended)
	if v.OutputURL == nil {
		t.Fatalf("the case is %+v, want one with an output_url", v)
	}
	pages := []string{
		*v.OutputURL,
		s.base + "/",
		s.base + "/console/",
		s.base + "/console/evil",
		s.base + "/console/" + url.PathEscape(evil),
		s.base + "/console/?id=" + url.QueryEscape(evil) + "&state=" + url.QueryEscape(evil),
	}
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
		if i == 0 { // the index has links to the documents
			for _, m := range regexp.MustCompile(`href="(\d{3}-[a-z]+\.html)"`).FindAllStringSubmatch(page, -1) {
				pages = append(pages, strings.TrimSuffix(pages[0], "index.html")+m[1])
			}
		}
		for _, markup := range []string{
			"<script>alert", "<img src=x", "</style></script>", "url(//evil.example)}</style>",
		} {
			if strings.Contains(page, markup) {
				t.Errorf("%s contains the markup %q", pages[i], markup)
			}
		}
		policy := res.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s is answered %d with the policy %q, want a strict one", pages[i], res.StatusCode, policy)
		}
		if got := res.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s has X-Content-Type-Options %q, want nosniff", pages[i], got)
		}
	}
	if len(pages) < 7 {
		t.Errorf("the pages are %q, want documents among them", pages)
	}
}
