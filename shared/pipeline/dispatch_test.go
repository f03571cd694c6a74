package pipeline

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"

	"github.com/casewatch/casewatch/shared/secret"
)

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestDispatchSendsTheForm(t *testing.T) {
	p := pipelinetest.New(t)
	for _, base := range []string{p.URL, p.URL + "/", p.URL + "/v1/x//"} {
		c := open(t, base, func(c *Config) {
			c.Pipeline.Auth.Value, c.Pipeline.Auth.GoogleIDToken = secret.New("key-1"), true
			c.TokenSource = func(context.Context) (string, error) { return "token-1", nil }
		})
		if got := c.Dispatch(t.Context(), request); got != (cases.DispatchOutcome{Kind: cases.DispatchAccepted}) {
			t.Fatalf("%s: %+v", base, got)
		}
	}
	posts := p.Posts("c-1")
	if len(posts) != 3 {
		t.Fatalf("%d posts", len(posts))
	}
	for _, post := range posts {
		if want := `{"case_id":"c-1","run":2,"n":1.50,"Form":{"Id":"form-content"}}`; string(post.Body) != want {
			t.Errorf("body %s", post.Body)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json", "X-Api-Key": "key-1", "Authorization": "Bearer token-1",
			"Idempotency-Key": "c-1:2",
			"Traceparent":     request.TraceParent, "User-Agent": "casewatch", "Accept-Encoding": "",
		} {
			if got := post.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
}

func TestDispatchSendsOnlyTheHeadersItHas(t *testing.T) {
	p := pipelinetest.New(t)
	r := request
	r.TraceParent = "bad\r\nX-Injected: 1"
	open(t, p.URL).Dispatch(t.Context(), r)
	r.TraceParent = ""
	open(t, p.URL).Dispatch(t.Context(), r)
	for _, post := range p.Posts("c-1") {
		for _, name := range []string{"X-Api-Key", "Authorization", "Traceparent", "X-Injected"} {
			if got, ok := post.Header[http.CanonicalHeaderKey(name)]; ok {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	if n := len(p.Posts("c-1")); n != 2 {
		t.Fatalf("%d posts", n)
	}
}

func TestDispatchOutcomes(t *testing.T) {
	large := `{"success":true,"pad":"` + strings.Repeat("x", 600<<10) + `"}`
	for name, tc := range map[string]struct {
		react   pipelinetest.Reaction
		kind    cases.DispatchKind
		message string // a part of it; "" for none at all
	}{
		"accepted":  {pipelinetest.Async(3), cases.DispatchAccepted, ""},
		"succeeded": {pipelinetest.Work(2, 1, time.Millisecond), cases.DispatchSucceeded, ""},
		"large":     {pipelinetest.Answer(200, large), cases.DispatchSucceeded, ""},
		"too large": {
			pipelinetest.Answer(200, large+strings.Repeat(" ", 500<<10)), cases.DispatchUncertain,
			"more than 1048576 bytes",
		},
		"slow": {
			pipelinetest.Slow(20*time.Millisecond, pipelinetest.Answer(200, large)), cases.DispatchSucceeded,
			"",
		},
		"failed":         {pipelinetest.Failed(200, "no ink"), cases.DispatchFailed, "no ink"},
		"failed, detail": {pipelinetest.FailedDetail(500, "no ink"), cases.DispatchFailed, "no ink"},
		"error":          {pipelinetest.Refuse(400, "no form"), cases.DispatchRefused, "no form"},
		"detail":         {pipelinetest.RefuseDetail(403, "no right"), cases.DispatchRefused, "no right"},
		"object":         {pipelinetest.RefuseObject(409, "twice"), cases.DispatchRefused, "twice"},
		"text":           {pipelinetest.RefuseText(418, "teapot"), cases.DispatchRefused, "teapot"},
		"invalid": {
			pipelinetest.RefuseInvalid("Form", "Id"), cases.DispatchRefused,
			"body.Form: Field required; body.Id: Field required",
		},
		"busy":     {pipelinetest.Busy(429, ""), cases.DispatchBusy, "busy"},
		"busy 503": {pipelinetest.Busy(503, "1"), cases.DispatchBusy, "busy"},
		"down":     {pipelinetest.Busy(503, ""), cases.DispatchUncertain, "503"},
		"not JSON": {pipelinetest.NotJSON(), cases.DispatchUncertain, "200 OK"},
		"reset":    {pipelinetest.Reset(true, 1), cases.DispatchUncertain, "no answer"},
		"reset during": {
			pipelinetest.ResetDuring(pipelinetest.Answer(200, large)), cases.DispatchUncertain, "200 OK, but",
		},
		"refusal cut": {
			pipelinetest.ResetDuring(pipelinetest.Answer(400, large)), cases.DispatchRefused, "400 Bad Request",
		},
		"202 cut": {pipelinetest.ResetDuring(pipelinetest.Answer(202, large)), cases.DispatchAccepted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := pipelinetest.New(t)
			p.Script("c-1", tc.react)
			got := open(t, p.URL, func(c *Config) { c.MaxAnswer = 1 << 20 }).Dispatch(t.Context(), request)
			if got.Kind != tc.kind || (got.Message == "") != (tc.message == "") ||
				!strings.Contains(got.Message, tc.message) {
				t.Fatalf("got %s, %q", got.Kind, got.Message)
			}
			if strings.Contains(got.Message, "of the form") || strings.Contains(got.Message, p.URL) {
				t.Fatalf("the message tells too much: %q", got.Message)
			}
			if (tc.kind == cases.DispatchSucceeded || tc.kind == cases.DispatchFailed) != (got.Result != nil) {
				t.Fatalf("result %+v", got.Result)
			}
			if n := len(p.Posts("c-1")); n != 1 {
				t.Fatalf("%d posts", n)
			}
		})
	}
}

func TestDispatchFollowsNoRedirect(t *testing.T) {
	p, elsewhere := pipelinetest.New(t), pipelinetest.New(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		p.Script("c-1", pipelinetest.Redirect(status, elsewhere.URL+"/api/normalize?token=hush"))
		got := open(t, p.URL).Dispatch(t.Context(), request)
		if got.Kind != cases.DispatchRefused || strings.Contains(got.Message, "hush") {
			t.Errorf("%d: %+v", status, got)
		}
	}
	if n := len(elsewhere.Posts("")); n != 0 {
		t.Errorf("%d posts elsewhere", n)
	}
}

func TestDispatchWaitsForASyncAnswer(t *testing.T) {
	p := pipelinetest.New(t)
	p.Script("c-1", pipelinetest.Sync(5))
	c := open(t, p.URL)
	answers := make(chan cases.DispatchOutcome, 1)
	go func() { answers <- c.Dispatch(t.Context(), request) }()
	if err := p.WaitWork(bounded(t), "c-1", 1); err != nil {
		t.Fatal(err)
	}
	p.SetProgress("c-1", 4, 5, "last")
	if polled := c.Poll(t.Context(), Job{CaseID: "c-1", Run: 2}); polled.Reading.Completed != 4 {
		t.Fatalf("poll: %+v", polled)
	}
	p.Finish("c-1", pipelinetest.Result("c-1", 5, 2))
	got := <-answers
	if got.Kind != cases.DispatchSucceeded ||
		!reflect.DeepEqual(got.Result.Documents, &cases.Documents{Total: new(5), Succeeded: new(3), Failed: new(2)}) ||
		got.Result.OutputURL == "" {
		t.Fatalf("got %+v", got)
	}
}

func TestDispatchEndsWithItsTime(t *testing.T) {
	p := pipelinetest.New(t)
	p.Default(pipelinetest.Hang(true, 1))
	got := open(
		t,
		p.URL,
		func(c *Config) { c.Pipeline.Dispatch.Timeout = 50 * time.Millisecond },
	).Dispatch(
		t.Context(),
		request,
	)
	if got.Kind != cases.DispatchUncertain || got.Message != "no answer to the request: it took longer than 50ms" {
		t.Fatalf("timeout: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan cases.DispatchOutcome, 1)
	c := open(t, p.URL)
	go func() { answers <- c.Dispatch(ctx, request) }()
	if err := p.WaitWork(bounded(t), "c-1", 2); err != nil {
		t.Fatal(err)
	}
	cancel()
	if got := <-answers; got.Kind != cases.DispatchUncertain || !strings.Contains(got.Message, "canceled") {
		t.Fatalf("cancelled: %+v", got)
	}
	if got := c.Dispatch(ctx, request); got.Kind != cases.DispatchUnreachable {
		t.Fatalf("cancelled before: %+v", got)
	}
	if n := len(p.Posts("c-1")); n != 2 {
		t.Fatalf("%d posts", n)
	}
}

func TestDispatchOfNoObject(t *testing.T) {
	p := pipelinetest.New(t)
	r := request
	r.Form = []byte(`["form-content"]`)
	if got := open(t, p.URL).Dispatch(t.Context(), r); got.Kind != cases.DispatchRefused ||
		got.Message != "the form is not a JSON object" {
		t.Fatalf("got %+v", got)
	}
	if n := len(p.Posts("")); n != 0 {
		t.Fatalf("%d posts", n)
	}
}
