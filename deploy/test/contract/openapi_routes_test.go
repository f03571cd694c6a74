package contract

import (
	"bufio"
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
	"github.com/casewatch/casewatch/shared/reconcile"
)

const (
	isJSON   = "Content-Type: application/json"
	isForm   = "Content-Type: application/x-www-form-urlencoded"
	asJSON   = "Accept: application/json"
	asStream = "Accept: text/event-stream"
	apiKey   = "X-API-Key: contract-key-of-20-characters"
	operator = "operator@example.com"
)

// TestOpenAPIHoldsOnEveryRoute: real requests and answers of every operation, in every status that
// can be provoked, are as described; what is wrong is refused by the document too, except where it
// says in words what a schema cannot.
func TestOpenAPIHoldsOnEveryRoute(t *testing.T) {
	c := newChecked(t)
	issuer := identitytest.NewIssuer(t)
	open := newMachine(t, c, nil)
	guarded := newMachine(t, c, map[string]string{
		"ALLOW_ANONYMOUS": "false", "API_KEYS": "contract-key-of-20-characters", "OIDC_ISSUER": issuer.URL,
		"OIDC_AUDIENCE": "contract",
		"CONSOLE_USERS": operator, "CONSOLE_AUDIENCES": "console",
	})
	routesOfStart(open)
	routesOfCases(open)
	routesOfStreams(open)
	routesOfCallbacks(open)
	routesOfFiles(open)
	routesOfConsole(open)
	routesOfCallers(guarded, issuer)
	routesOfOperators(guarded)
	routesWhenBroken(t, c, open)
	routesWithoutQueue(open)

	for _, what := range c.unseen() {
		t.Errorf("nothing was answered like this, which the document describes: %s", what)
	}
}

func routesOfStart(s *served) {
	big := `{"a":"` + strings.Repeat("x", reconcile.MaxForm) + `"}`
	post := func(status int, query, body string, wrong bool, header ...string) exchange {
		return exchange{status, "POST", "/start" + query, body, append([]string{isJSON}, header...), wrong}
	}
	s.ask(
		post(202, "", `{}`, false),
		post(202, "", `{"case_id":null,"any":["thing"]}`, false),
		post(202, "?deadline=1h30m&supersede=false&adopt=false", `{"case_id":"a"}`, false,
			"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
		post(200, "", `{"case_id":"a"}`, false),
		post(202, "?supersede=true", `{"case_id":"a"}`, false),
		post(202, "?adopt=true", `{"case_id":"b"}`, false),
		post(202, "", `{"a":1}`, false, "Idempotency-Key: k"),
		post(200, "", `{"a":1}`, false, "Idempotency-Key: k"),
		post(422, "", `{"a":2}`, false, "Idempotency-Key: k"),
		post(400, "", `{"case_id":"../x"}`, true),
		post(400, "", `{"case_id":""}`, true),
		post(400, "", `{"case_id":7}`, true),
		post(400, "", `{"case_id":"`+strings.Repeat("x", cases.MaxID+1)+`"}`, true),
		post(400, "", `[]`, true),
		post(400, "", `null`, true),
		post(400, "", `{`, true),
		post(400, "", "", true),
		post(400, "?deadline=soon", `{}`, true),
		post(400, "?supercede=true", `{}`, true),
		post(400, "?supersede=true&supersede=true", `{}`, false),
		post(400, "?deadline=", `{}`, true),
		post(400, "?deadline=25h", `{}`, false), // above MAX_DEADLINE
		post(400, "?deadline=-1h", `{}`, false),
		post(400, "?supersede=yes", `{}`, true),
		post(400, "?adopt=true", `{}`, false), // which case?
		post(400, "?adopt=maybe&deadline=x", `{"case_id":"/"}`, true),
		post(400, "", `{}`, true, "Idempotency-Key: "+strings.Repeat("k", 256)),
		post(401, "", `{}`, false, "X-API-Key: wrong"),
		post(413, "", big, false),
		exchange{415, "POST", "/start", `{}`, []string{"Content-Type: text/plain"}, true},
		exchange{415, "POST", "/start", `{}`, nil, true},
		exchange{405, "GET", "/start", "", nil, true},
		exchange{405, "DELETE", "/start", "", nil, true},
	)
}

func routesOfCases(s *served) {
	s.pipe.Script("smith", pipelinetest.Async(3))
	statusURL, cancelURL := s.start(`{"case_id":"smith","n":1.50}`, "")
	s.until(statusURL, func(v cases.View) bool { return v.State == cases.Running })
	s.pipe.SetProgress("smith", 1, 3, "Srogs.docx")
	s.until(statusURL, func(v cases.View) bool { return v.Progress.Completed == 1 })
	get := func(status int, at string, wrong bool, header ...string) exchange {
		return exchange{status, "GET", at, "", header, wrong}
	}
	s.ask(
		get(200, statusURL+"&wait=1ms", false, `If-None-Match: W/"1.1"`),
		get(304, statusURL, false, "If-None-Match: *"),
		get(304, statusURL+"&wait=1ms", false, "If-None-Match: *"),
		get(400, statusURL+"&wait=soon", true),
		get(400, statusURL+"&wait=61s", false), // more than a minute
		get(400, statusURL+"&run=0", true),
		get(400, statusURL+"&run=x", true),
		get(404, statusURL+"&run=7", false),
		get(400, "/status/-smith?token=x", true),
		get(400, "/status/"+strings.Repeat("x", cases.MaxID+1)+"?token=x", true),
		get(401, "/status/smith", true),
		get(401, "/status/smith", false, "Authorization: Bearer wrong"),
		get(403, "/status/smith?token=x", false),
		get(403, strings.Replace(statusURL, "/smith?", "/jones?", 1), false),
		exchange{405, "POST", statusURL, "", nil, true},
	)
	head := func(status int, at string, wrong bool, header ...string) exchange {
		return exchange{status, "HEAD", at, "", header, wrong}
	}
	s.ask(
		head(200, statusURL, false),
		head(304, statusURL, false, "If-None-Match: *"),
		head(400, statusURL+"&run=0", true),
		head(401, "/status/smith", true),
		head(403, "/status/smith?token=x", false),
		head(404, statusURL+"&run=7", false),
	)

	event := `{"case_id":"smith","run":1,"status":"succeeded","result":` +
		string(pipelinetest.Result("smith", 3, 1)) + `}`
	s.publish(event)
	s.until(statusURL, func(v cases.View) bool {
		return v.Result != nil && v.Documents != nil && *v.Documents.Failed == 1
	})
	s.publish(`{"case_id":"smith","run":1,"status":"failed","error":{"code":"x","message":"late"}}`)
	s.until(statusURL, func(v cases.View) bool { return v.Late != nil })
	post := func(status int, at string, wrong bool, header ...string) exchange {
		return exchange{status, "POST", at, "", header, wrong}
	}
	s.ask(
		post(409, cancelURL, false),
		post(409, strings.Replace(cancelURL, "run=1", "run=7", 1), false),
		post(400, strings.Replace(cancelURL, "run=1", "run=x", 1), true),
		post(401, "/cancel/smith", true),
		post(401, "/cancel/smith", false, "X-API-Key: wrong"),
		post(403, "/cancel/smith?token=x", false),
		exchange{405, "GET", cancelURL, "", nil, true},
	)
	statusURL, cancelURL = s.start(`{"case_id":"smith"}`, "") // another run
	s.ask(post(200, cancelURL, false), post(200, cancelURL, false), get(200, statusURL+"&run=1", false),
		get(200, statusURL, false))
}

// routesOfStreams watches a case from its start to its end, and one that is cancelled.
func routesOfStreams(s *served) {
	s.pipe.Script("live", pipelinetest.Async(2))
	statusURL, _ := s.start(`{"case_id":"live"}`, "")
	res := s.send(exchange{200, "GET", statusURL, "", []string{asStream}, false})
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	next := func(names ...string) (id string) {
		s.t.Helper()
		var name string
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case field == "event":
				name = value
			case field == "id":
				id = value
			case lines.Text() == "" && slices.Contains(names, name):
				return id
			}
		}
		s.t.Fatalf("the stream ends without %q: %v", names, lines.Err())
		return ""
	}
	next("progress")
	s.until(statusURL, func(v cases.View) bool { return v.State == cases.Running })
	s.pipe.SetProgress("live", 1, 2, "Srogs.docx")
	next("progress")
	s.publish(`{"case_id":"live","run":1,"status":"succeeded","result":` +
		string(pipelinetest.Result("live", 2, 0)) + `}`)
	last := next("complete")
	if lines.Scan() {
		s.t.Errorf("after the end there is %q", lines.Text())
	}
	get := func(status int, at string, wrong bool, header ...string) exchange {
		return exchange{status, "GET", at, "", append([]string{asStream}, header...), wrong}
	}
	s.ask(
		get(204, statusURL, false, "Last-Event-ID: "+last),
		get(200, statusURL, false, "Last-Event-ID: 1.1"),
		get(200, statusURL, true, "Last-Event-ID: x"), // is taken for none
		get(404, statusURL+"&run=7", false),
		get(400, statusURL+"&run=0", true),
		get(401, "/status/live", true),
		get(403, "/status/live?token=x", false),
	)
	statusURL, cancelURL := s.start(`{"case_id":"ended"}`, "")
	s.ask(exchange{200, "POST", cancelURL, "", nil, false})
	if r := s.ask(get(200, statusURL, false)); !strings.Contains(string(r.body), "event: error\n") {
		s.t.Errorf("%s", r.body)
	}
}

func routesOfFiles(s *served) {
	for _, name := range []string{"casewatch.js", "casewatch.d.ts", "openapi.yaml"} {
		at := "/status/-/" + name
		r := s.ask(exchange{200, "GET", at, "", nil, false})
		s.ask(
			exchange{304, "GET", at, "", []string{"If-None-Match: " + r.header.Get("ETag")}, false},
			exchange{200, "HEAD", at, "", nil, false},
			exchange{304, "HEAD", at, "", []string{"If-None-Match: *"}, false},
			exchange{405, "POST", at, "", nil, true},
		)
	}
	s.ask(exchange{404, "GET", "/status/-/x.js", "", nil, true}, exchange{404, "HEAD", "/status/-/x.js", "", nil, true})
}

// routesOfCallers are those of who has a key or an ID token, and of who has none where nobody may be anonymous.
func routesOfCallers(s *served, issuer *identitytest.Issuer) {
	token := "Authorization: Bearer " + issuer.Sign("u@x.example", "contract")
	statusURL, cancelURL := s.start(`{"case_id":"smith"}`, "", apiKey)
	ownURL, _ := s.start(`{"case_id":"jones"}`, "", token)
	bare := func(at string) string { at, _, _ = strings.Cut(at, "?"); return at }
	s.ask(
		exchange{401, "POST", "/start", `{}`, []string{isJSON}, false}, // the document cannot know
		exchange{200, "GET", bare(statusURL), "", []string{apiKey}, false},
		exchange{200, "GET", bare(ownURL), "", []string{token}, false},
		exchange{403, "GET", bare(statusURL), "", []string{token}, false},
		exchange{403, "GET", "/status/nobody", "", []string{token}, false},
		exchange{403, "POST", "/start", `{"case_id":"smith"}`, []string{isJSON, token}, false},
		exchange{403, "POST", "/start?supersede=true", `{"case_id":"smith"}`, []string{isJSON, token}, false},
		exchange{401, "GET", bare(statusURL), "", nil, true},
		exchange{200, "POST", bare(cancelURL), "",
			[]string{"Authorization: Bearer contract-key-of-20-characters"}, false},
		exchange{404, "GET", "/status/nobody", "", []string{apiKey}, false},
		exchange{404, "POST", "/cancel/nobody", "", []string{apiKey}, false},
	)
	issuer.SetDown(true) // cancel has not asked for its keys yet
	s.ask(exchange{503, "POST", bare(cancelURL), "", []string{token}, false})
}

// routesWhenBroken are those that a store answers which is down, and one that panics; and of start on Google Cloud.
func routesWhenBroken(t *testing.T, c *checked, like *served) {
	cfg := *like.machine.Config
	for status, s := range map[int]*served{503: newBroken(t, c, cfg, down{}), 500: newBroken(t, c, cfg, panics{})} {
		statusURL, cancelURL := like.start(`{}`, "")
		at := func(whole string) string { return strings.Replace(whole, like.base, "", 1) }
		s.ask(
			exchange{status, "POST", "/start", `{}`, []string{isJSON}, false},
			exchange{status, "GET", at(statusURL), "", nil, false},
			exchange{status, "HEAD", at(statusURL), "", nil, false},
			exchange{status, "POST", at(cancelURL), "", nil, false},
			exchange{status, "POST", callbackOf(like, "smith", 1), `{}`, []string{isJSON}, false},
			exchange{status, "GET", "/console/", "", []string{asJSON}, false},
			exchange{status, "GET", "/console/smith", "", []string{asJSON}, false},
			exchange{status, "POST", "/console/smith?run=1", "action=cancel", []string{asJSON, isForm}, false},
			exchange{status, "GET", "/console/-/health", "", []string{asJSON}, false},
		)
		r := s.ask(exchange{200, "GET", at(statusURL), "", []string{asStream}, false})
		if !strings.Contains(string(r.body), "retry: 5000\n") {
			t.Errorf("%s", r.body)
		}
	}
	newBroken(t, c, cfg, full{}).ask(
		exchange{429, "POST", "/start", `{"case_id":"smith"}`, []string{isJSON, "Idempotency-Key: k"}, false},
		exchange{429, "POST", "/console/smith?run=1", "action=rerun", []string{asJSON, isForm}, false},
	)
	cfg.OnGoogleCloud = true
	newBroken(t, c, cfg, down{}).ask(exchange{403, "POST", "/start", `{"case_id":"smith"}`, []string{isJSON}, false})
}

// callbackOf returns the path at which a pipeline reports on a run.
func callbackOf(s *served, caseID string, run int) string {
	return casetoken.Callback("/callback", s.machine.Config.Access.TokenSecrets, caseID, run, time.Now().Add(time.Hour))
}

func routesOfCallbacks(s *served) {
	s.pipe.Script("reports", pipelinetest.Async(3))
	s.start(`{"case_id":"reports"}`, "")
	at := callbackOf(s, "reports", 1)
	post := func(status int, at, body string, wrong bool) exchange {
		return exchange{status, "POST", at, body, []string{isJSON}, wrong}
	}
	s.ask(
		post(200, at, `{"case_id":"reports","status":"failed"}`, false),
		post(400, at, `{"case_id":"other","status":"failed"}`, false),
		post(400, at, `7`, true),
		post(401, strings.Replace(at, "token=", "token=x", 1), `{}`, false),
		post(401, strings.Replace(at, "run=1&", "", 1), `{}`, true),
		post(404, callbackOf(s, "reports", 9), `{}`, false),
		post(413, at, `{"a":"`+strings.Repeat("x", reconcile.MaxCallback)+`"}`, false),
		exchange{405, "GET", at, "", nil, true},
	)
}

// routesWithoutQueue is what start answers when its queue is gone. The machine is of no use after it.
func routesWithoutQueue(s *served) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	if err := s.machine.Tasks.Close(ctx); err != nil {
		s.t.Fatal(err)
	}
	r := s.ask(exchange{http.StatusServiceUnavailable, "POST", "/start", `{}`, []string{isJSON}, false})
	if !strings.Contains(r.field("detail"), "not yet queued") {
		s.t.Errorf("%s", r.body)
	}
}
