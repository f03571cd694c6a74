package pipelinetest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

// do sends a request of its own connection: the tests of the server know nothing of the client.
func do(ctx context.Context, method, url, body string) reply {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	r.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(data), err}
}

func post(p *pipelinetest.Server, body string) reply {
	return do(context.Background(), http.MethodPost, p.URL+"/some/prefix/api/normalize", body)
}

func poll(p *pipelinetest.Server, caseID string) reply {
	return do(context.Background(), http.MethodGet, p.URL+"/api/progress/"+caseID, "")
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestReactions(t *testing.T) {
	for name, tc := range map[string]struct {
		react  pipelinetest.Reaction
		status int // 0: the connection breaks
		body   string
	}{
		"async":  {pipelinetest.Async(3), 202, `{"status":"accepted","case_id":"c"}`},
		"busy":   {pipelinetest.Busy(429, ""), 429, `{"error":"busy"}`},
		"refuse": {pipelinetest.Refuse(400, "no"), 400, `{"error":"no"}`},
		"detail": {pipelinetest.RefuseDetail(403, "no"), 403, `{"detail":"no"}`},
		"object": {pipelinetest.RefuseObject(409, "no"), 409, `{"detail":{"message":"no"}}`},
		"text":   {pipelinetest.RefuseText(418, "no"), 418, "no"},
		"invalid": {
			pipelinetest.RefuseInvalid("Form"), 422,
			`{"detail":[{"type":"missing","loc":["body","Form"],"msg":"Field required",` +
				`"input":{"secret":"of the form"}}]}`,
		},
		"redirect":      {pipelinetest.Redirect(307, "/x"), 307, ""},
		"failed":        {pipelinetest.Failed(500, "x"), 500, `{"success":false,"error":"x"}`},
		"failed detail": {pipelinetest.FailedDetail(200, "x"), 200, `{"detail":{"success":false,"error":"x"}}`},
		"not JSON":      {pipelinetest.NotJSON(), 200, "<html>It works!</html>"},
		"reset":         {pipelinetest.Reset(false, 0), 0, ""},
		"reset during":  {pipelinetest.ResetDuring(pipelinetest.Failed(500, "x")), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := pipelinetest.New(t)
			p.Script("c", tc.react)
			got := post(p, `{"case_id":"c","run":1}`)
			if tc.status == 0 {
				if got.err == nil {
					t.Fatalf("a whole answer came: %+v", got)
				}
				return
			}
			if got.err != nil || got.status != tc.status || got.body != tc.body {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

func TestScriptGoesOnToItsLastReaction(t *testing.T) {
	p := pipelinetest.New(t)
	p.Script("c", pipelinetest.Busy(503, "7"), pipelinetest.Busy(429, ""), pipelinetest.Async(2))
	for _, want := range []int{503, 429, 202, 202} {
		if got := post(p, `{"case_id":"c","run":4}`); got.status != want {
			t.Fatalf("got %+v, want %d", got, want)
		}
	}
	if got := len(p.PostsOfRun("c", 4)); got != 4 || len(p.Posts("d")) != 0 || len(p.Posts("")) != 4 {
		t.Fatalf("%d posts of run 4", got)
	}
	if got := post(p, `{"run":1}`); got.status != 422 {
		t.Fatalf("without case_id: %+v", got)
	}
}

func TestSyncIsHeldUntilItsEnd(t *testing.T) {
	p := pipelinetest.New(t)
	p.Script("c", pipelinetest.Sync(3))
	answers := make(chan reply, 1)
	go func() { answers <- post(p, `{"case_id":"c","run":1}`) }()
	if err := p.WaitWork(deadline(t), "c", 1); err != nil {
		t.Fatal(err)
	}
	p.SetProgress("c", 2, 3, "Srogs.docx")
	want := `{"case_id":"c","completed":2,"current_doc":"Srogs.docx","progress_percent":66.66666666666667,"total":3}`
	if got := poll(p, "c"); got.status != 200 || got.body != want {
		t.Fatalf("got %+v", got)
	}
	if p.Open() != 1 {
		t.Fatalf("%d are open", p.Open())
	}
	p.Finish("c", nil)
	got := <-answers
	var result struct {
		Success bool `json:"success"`
		Summary struct {
			Succeeded int `json:"succeeded"`
		} `json:"webhook_summary"`
	}
	if err := json.Unmarshal([]byte(got.body), &result); err != nil || got.status != 200 || !result.Success ||
		result.Summary.Succeeded != 3 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if err := p.Wait(deadline(t), func() bool { return p.Open() == 0 }); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	if poll(p, "c"); len(p.PollsAfter("c", ended)) != 1 || len(p.Polls("c")) != 2 {
		t.Fatalf("polls: %+v", p.Polls("c"))
	}
}

func TestAsyncTellsItsEndByEvent(t *testing.T) {
	p := pipelinetest.New(t)
	var events []string
	p.OnEnd = func(event []byte) { events = append(events, string(event)) }
	for _, id := range []string{"good", "bad"} {
		if got := post(p, `{"case_id":"`+id+`","run":2}`); got.status != 202 {
			t.Fatalf("got %+v", got)
		}
	}
	p.Finish("good", []byte(`{"success":true}`))
	p.Finish("good", nil) // has ended
	p.Fail("bad", "no paper")
	want := []string{`{"case_id":"good","result":{"success":true},"run":2,"status":"succeeded"}`,
		`{"case_id":"bad","error":{"code":"failed","message":"no paper"},"run":2,"status":"failed"}`}
	if strings.Join(events, "\n") != strings.Join(want, "\n") {
		t.Fatalf("events: %s", events)
	}
}

func TestProgressOfTheRealKind(t *testing.T) {
	p := pipelinetest.New(t)
	if got := poll(p, "c"); got.status != 404 {
		t.Fatalf("unknown: %+v", got)
	}
	p.SetProgress("c", 51, 52, "")
	p.Restart("c")
	if got := poll(p, "c"); !strings.Contains(got.body, `"completed":0`) || !strings.Contains(got.body, `"total":52`) {
		t.Fatalf("restarted: %+v", got)
	}
	p.ForgetAt("c", time.Now().Add(time.Hour))
	if got := poll(p, "c"); got.status != 200 {
		t.Fatalf("not forgotten yet: %+v", got)
	}
	p.Forget("c")
	if got := poll(p, "c"); got.status != 404 {
		t.Fatalf("forgotten: %+v", got)
	}
	p.SetProgress("c", 1, 2, "")
	p.SetStatus("c", "failed", "no paper", []byte(`{"success":false}`))
	if got := poll(p, "c"); !strings.Contains(got.body, `"error":"no paper"`) ||
		!strings.Contains(got.body, `"result":{"success":false},"status":"failed"`) {
		t.Fatalf("with status: %+v", got)
	}
	p.ScriptPolls("c", pipelinetest.Answer(500, "{}"), pipelinetest.Truth())
	for _, want := range []int{500, 200, 200} {
		if got := poll(p, "c"); got.status != want {
			t.Fatalf("got %+v, want %d", got, want)
		}
	}
}
