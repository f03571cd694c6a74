package machine_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

func TestThreeWaysToAnswer(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.OnEnd = func(event []byte) { s.publish(string(event)) }
	s.pipe.Script("sync", pipelinetest.Work(4, 1, 30*time.Millisecond))
	s.pipe.Script("async", pipelinetest.Async(4))
	s.pipe.Script("silent", pipelinetest.Async(4))
	for _, id := range []string{"sync", "async", "silent"} {
		c := s.start(`{"case_id":"`+id+`","amount":1.50,"z":1,"a":2}`, "")
		if id != "sync" {
			if err := s.pipe.WaitWork(t.Context(), id, 1); err != nil {
				t.Fatal(err)
			}
		}
		want := cases.SourceDispatch
		switch id {
		case "async":
			s.pipe.SetProgress(id, 2, 4, "two")
			s.until(c, "progress is shown", func(v view) bool { return v.Progress.Completed == 2 })
			s.pipe.Finish(id, pipelinetest.Result(id, 4, 1))
			want = cases.SourceEvent
		case "silent":
			s.pipe.SetProgress(id, 4, 4, "last")
			want = cases.SourceCheck
		}
		v := s.wantEnd(c, cases.Succeeded, cases.ReasonCompleted)
		if v.End.Source != want {
			t.Errorf("%s ended by %s", id, v.End.Source)
		}
		if id != "silent" && (v.Documents == nil || *v.Documents.Failed != 1 || *v.Documents.Total != 4) {
			t.Errorf("%s: %+v", id, v.Documents)
		}
		posts := s.pipe.Posts(id)
		if len(posts) != 1 || !strings.HasSuffix(string(posts[0].Body), `"amount":1.50,"z":1,"a":2}`) || posts[0].Header.Get("Idempotency-Key") != id+":1" || posts[0].Header.Get("Traceparent") == "" {
			t.Errorf("%s was posted as %d: %+v", id, len(posts), posts)
		}
		s.wantOneEndedLine(c)
		if polls := s.pipe.PollsAfter(id, v.EndedAt.Add(50*time.Millisecond)); len(polls) != 0 {
			t.Errorf("%s was polled after its end: %v", id, polls)
		}
	}
}

func TestEveryFailureEndsInItsStateAndReason(t *testing.T) {
	s := newSystem(t, map[string]string{"CASE_DEADLINE": "6s"})
	for name, test := range map[string]struct {
		reaction pipelinetest.Reaction
		state    cases.State
		reason   cases.Reason
		says     string
	}{
		"refused":            {pipelinetest.Refuse(400, "no such form"), cases.Failed, cases.ReasonPipelineRefused, "no such form"},
		"refused-detail":     {pipelinetest.RefuseDetail(404, "gone"), cases.Failed, cases.ReasonPipelineRefused, "gone"},
		"refused-object":     {pipelinetest.RefuseObject(403, "not allowed"), cases.Failed, cases.ReasonPipelineRefused, "not allowed"},
		"refused-text":       {pipelinetest.RefuseText(400, "plain words"), cases.Failed, cases.ReasonPipelineRefused, "plain words"},
		"refused-list":       {pipelinetest.RefuseInvalid("body.Form"), cases.Failed, cases.ReasonPipelineRefused, "Form"},
		"redirected":         {pipelinetest.Redirect(302, "http://127.0.0.1:1/x"), cases.Failed, cases.ReasonPipelineRefused, ""},
		"own-word-500":       {pipelinetest.Failed(500, "out of paper"), cases.Failed, cases.ReasonPipelineFailed, "out of paper"},
		"own-word-200":       {pipelinetest.Failed(200, "out of ink"), cases.Failed, cases.ReasonPipelineFailed, "out of ink"},
		"own-word-detail":    {pipelinetest.FailedDetail(503, "jammed"), cases.Failed, cases.ReasonPipelineFailed, "jammed"},
		"no-documents":       {pipelinetest.Answer(200, `{"success":true,"webhook_summary":{"total_sets":3,"succeeded":0,"failed":3}}`), cases.Failed, cases.ReasonNoDocuments, "every document failed"},
		"51-of-52":           {pipelinetest.Answer(200, string(pipelinetest.Result("51-of-52", 52, 1))), cases.Succeeded, cases.ReasonCompleted, ""},
		"not-json":           {pipelinetest.NotJSON(), cases.Failed, cases.ReasonStartUnknown, ""},
		"server-error":       {pipelinetest.Answer(500, "oops"), cases.Failed, cases.ReasonStartUnknown, ""},
		"reset-untaken":      {pipelinetest.Reset(false, 0), cases.Failed, cases.ReasonStartUnknown, ""},
		"reset-taken":        {pipelinetest.Reset(true, 4), cases.TimedOut, cases.ReasonDeadline, ""},
		"hangs":              {pipelinetest.Hang(true, 4), cases.TimedOut, cases.ReasonDeadline, ""},
		"busy-for-ever":      {pipelinetest.Busy(503, "1"), cases.TimedOut, cases.ReasonDeadline, ""},
		"too-many-for-ever":  {pipelinetest.Busy(429, ""), cases.TimedOut, cases.ReasonDeadline, ""},
		"silent-and-stopped": {pipelinetest.Async(4), cases.TimedOut, cases.ReasonDeadline, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			s.pipe.Script(name, test.reaction)
			c := s.start(`{"case_id":"`+name+`","secret":"of the form"}`, "")
			v := s.wantEnd(c, test.state, test.reason)
			if !strings.Contains(v.End.Message, test.says) {
				t.Errorf("says %q, not %q", v.End.Message, test.says)
			}
			if name == "51-of-52" && (v.Documents == nil || !reflect.DeepEqual(v.Documents, &cases.Documents{Total: new(52), Succeeded: new(51), Failed: new(1)})) {
				t.Errorf("%+v", v.Documents)
			}
			if n := len(s.pipe.Posts(name)); n != 1 && !strings.Contains(name, "for-ever") {
				t.Errorf("posted %d times", n)
			}
		})
	}
	t.Cleanup(func() {
		if strings.Contains(s.log.String(), "of the form") {
			t.Error("the form is in the log")
		}
	})
}

// in is the system as a subtest uses it.
func (s *system) in(t *testing.T) *system {
	sub := *s
	sub.t = t
	return &sub
}

func TestForgottenJob(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Script("c", pipelinetest.Async(4))
	c := s.start(`{"case_id":"c"}`, "")
	s.until(c, "it runs", func(v view) bool { return v.State == cases.Running && v.Checks.Count > 0 })
	s.pipe.Forget("c")
	s.wantEnd(c, cases.Failed, cases.ReasonPipelineLost)
}

func TestPipelineDown(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Close() // refused from here on
	c := s.start(`{"case_id":"c"}`, "")
	s.wantEnd(c, cases.Failed, cases.ReasonPipelineUnreachable)

	// Down after it had taken the case: the same, and nobody knocks after the end.
	s = newSystem(t, nil)
	s.pipe.Script("c", pipelinetest.Async(4))
	c = s.start(`{"case_id":"c"}`, "")
	s.until(c, "it runs", func(v view) bool { return v.State == cases.Running })
	s.pipe.ScriptPolls("c", slices.Repeat([]pipelinetest.Reaction{pipelinetest.Reset(false, 0)}, 1000)...)
	v := s.wantEnd(c, cases.Failed, cases.ReasonPipelineUnreachable)
	s.sweep()
	time.Sleep(2 * time.Second) // ten times the longest interval between looks
	if polls := s.pipe.PollsAfter("c", *v.EndedAt); len(polls) != 0 {
		t.Errorf("polled %d times after the end", len(polls))
	}
	if posts := s.pipe.Posts("c"); len(posts) != 1 {
		t.Errorf("posted %d times", len(posts))
	}
}

func (s *system) sweep() string {
	s.t.Helper()
	code, body := s.do("POST", s.base+"/sweep", "", "Authorization: Bearer "+s.token("scheduler"))
	if code != http.StatusOK {
		s.t.Fatalf("sweep: %d %s", code, body)
	}
	return string(body)
}

func TestEventsAfterTheEnd(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Default(pipelinetest.Async(4))
	c := s.start(`{"case_id":"c"}`, "")
	s.until(c, "it runs", func(v view) bool { return v.State == cases.Running })
	s.publish(`{"case_id":"c","run":1,"status":"running","progress":{"completed":3,"total":4}}`)
	s.publish(`{"case_id":"c","run":1,"status":"running","progress":{"completed":2,"total":4}}`)
	s.until(c, "progress by event", func(v view) bool { return v.Progress.Completed == 3 })
	for _, bad := range []string{`{`, `[]`, `{"case_id":"c"}`, `{"case_id":"c","status":"done"}`, "\xff\x00"} {
		s.publish(bad)
	}
	s.publish(`{"case_id":"c","run":1,"status":"failed","error":{"code":"E1","message":"broke"}}`)
	first := s.wantEnd(c, cases.Failed, cases.ReasonPipelineFailed)
	s.publish(`{"case_id":"c","run":1,"status":"succeeded","result":{"success":true,"n":"\u0000 ☃"}}`)
	s.publish(`{"case_id":"c","run":1,"status":"running","progress":{"completed":4,"total":4}}`)
	s.publish(`{"case_id":"c","run":1,"status":"succeeded"}`)
	v := s.until(c, "the late words are kept", func(v view) bool { return v.Late != nil && v.Late.Count == 2 })
	if v.State != cases.Failed || *v.End != *first.End || v.Progress != first.Progress || string(v.Result) != "null" {
		t.Errorf("the end changed: %+v", v)
	}
	if v.Late.State != cases.Succeeded || string(v.Late.Result) != `{"success":true,"n":"\u0000 ☃"}` {
		t.Errorf("%+v %s", v.Late, v.Late.Result)
	}
	s.wantOneEndedLine(c)
}

// What FastAPI's validation repeats of a form must not come back as anybody's message.
func TestFormDoesNotComeBackAsAMessage(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Default(pipelinetest.Async(4))
	for id, event := range map[string]string{
		"error":  `"error":{"detail":[{"loc":["body","Form"],"msg":"Field required","input":{"ssn":"123-45"}}]}`,
		"result": `"result":{"success":false,"detail":[{"loc":["body","Form"],"msg":"Field required","input":{"ssn":"123-45"}}]}`,
	} {
		c := s.start(`{"case_id":"`+id+`"}`, "")
		s.until(c, "it runs", func(v view) bool { return v.State == cases.Running })
		s.publish(`{"case_id":"` + id + `","run":1,"status":"failed",` + event + `}`)
		if v := s.wantEnd(c, cases.Failed, cases.ReasonPipelineFailed); v.End.Message != "body.Form: Field required" {
			t.Errorf("%s: %q", id, v.End.Message)
		}
	}
}

func TestFiftyStartsOfOneCase(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Default(pipelinetest.Async(4))
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[string]int{}
	for range 50 {
		wg.Go(func() {
			c := s.start(`{"case_id":"c"}`, "")
			mu.Lock()
			defer mu.Unlock()
			codes[fmt.Sprint(c.code, " run ", c.run)]++
		})
	}
	wg.Wait()
	if codes["202 run 1"] != 1 || codes["200 run 1"] != 49 {
		t.Errorf("%v", codes)
	}
	c := s.start(`{"case_id":"c"}`, "")
	s.until(c, "it was looked at", func(v view) bool { return v.Checks.Count > 3 })
	if n := len(s.pipe.Posts("c")); n != 1 {
		t.Errorf("dispatched %d times", n)
	}
}

func TestRerunWhileTheOldRunIsShown(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Script("c", pipelinetest.Async(52))
	first := s.start(`{"case_id":"c"}`, "")
	s.until(first, "it runs", func(v view) bool { return v.State == cases.Running })
	s.pipe.SetProgress("c", 30, 52, "")
	s.until(first, "30 are done", func(v view) bool { return v.Progress.Completed == 30 })
	s.publish(`{"case_id":"c","run":1,"status":"succeeded","result":` + string(pipelinetest.Result("c", 52, 0)) + `}`)
	s.wantEnd(first, cases.Succeeded, cases.ReasonCompleted)

	// It answers the second at once, and goes on showing the first.
	s.pipe.Script("c", pipelinetest.Answer(202, `{}`))
	s.pipe.SetProgress("c", 52, 52, "")
	second := s.start(`{"case_id":"c"}`, "")
	if second.run != 2 {
		t.Fatalf("run %d", second.run)
	}
	v := s.until(second, "it was looked at for longer than the grace", func(v view) bool { return v.Checks.Count > 8 })
	if ended(v) || v.Progress.Completed != 0 {
		t.Fatalf("the old run's progress was taken for the new one's: %+v", v)
	}
	s.publish(`{"case_id":"c","run":2,"status":"succeeded","result":` + string(pipelinetest.Result("c", 52, 7)) + `}`)
	if v := s.wantEnd(second, cases.Succeeded, cases.ReasonCompleted); *v.Documents.Failed != 7 {
		t.Errorf("%+v", v.Documents)
	}
	if n := len(s.pipe.PostsOfRun("c", 2)); n != 1 {
		t.Errorf("posted %d times", n)
	}
}

func TestLateEventDoesNotEndTheRerun(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Default(pipelinetest.Async(4))
	first := s.start(`{"case_id":"c"}`, "?deadline=1s")
	s.wantEnd(first, cases.TimedOut, cases.ReasonDeadline)
	second := s.start(`{"case_id":"c"}`, "")
	s.until(second, "it runs", func(v view) bool { return v.State == cases.Running })
	s.publish(`{"case_id":"c","status":"succeeded","result":{"success":true}}`)
	s.publish(`{"case_id":"c","run":1,"status":"succeeded"}`)
	v := s.until(first, "both are kept", func(v view) bool { return v.Late != nil && v.Late.Count == 2 })
	if v.State != cases.TimedOut {
		t.Errorf("%+v", v)
	}
	if v := s.look(second); ended(v) || v.Late != nil {
		t.Errorf("the rerun: %+v", v)
	}
}

func TestPurgedQueue(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the sweep waits longer than the longest look, half a minute with its slack")
	}
	s := newSystem(t, map[string]string{"CHECK_TIMEOUT": "1s"})
	s.pipe.Default(pipelinetest.Async(4))
	c := s.start(`{"case_id":"c"}`, "")
	s.until(c, "it runs", func(v view) bool { return v.State == cases.Running })
	s.purgeChecks()
	looks := s.look(c).Checks.Count
	v := s.until(c, "it is looked at again", func(v view) bool { return v.Checks.Count > looks+2 })
	if ended(v) {
		t.Errorf("%+v", v)
	}
	if !strings.Contains(s.log.String(), "lost task rescheduled") {
		t.Error("nobody noticed")
	}
}
