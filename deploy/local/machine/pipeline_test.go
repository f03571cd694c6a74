package machine_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// A pipeline can report the end by its answer, by an event, or not at all: then a check finds it.
func TestEachWayToReportTheEnd(t *testing.T) {
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
			t.Errorf("%s ended by %s, want %s", id, v.End.Source, want)
		}
		if id != "silent" && (v.Documents == nil || *v.Documents.Failed != 1 || *v.Documents.Total != 4) {
			t.Errorf("%s has the documents %+v, want 4 with one failure", id, v.Documents)
		}
		posts := s.pipe.Posts(id)
		if len(posts) != 1 {
			t.Fatalf("%s was started %d times, want once", id, len(posts))
		}
		if !strings.HasSuffix(string(posts[0].Body), `"amount":1.50,"z":1,"a":2}`) {
			t.Errorf("the pipeline got the form %s, want it unchanged at its end", posts[0].Body)
		}
		if key := posts[0].Header.Get("Idempotency-Key"); key != id+":1" {
			t.Errorf("the Idempotency-Key is %q, want %s:1", key, id)
		}
		if posts[0].Header.Get("Traceparent") == "" {
			t.Error("the pipeline got no Traceparent")
		}
		s.wantOneEndedLine(c)
		if polls := s.pipe.PollsAfter(id, v.EndedAt.Add(50*time.Millisecond)); len(polls) != 0 {
			t.Errorf("%s was polled after its end: %v", id, polls)
		}
	}
}

func TestEachReactionOfThePipelineHasItsEnd(t *testing.T) {
	s := newSystem(t, map[string]string{"CASE_DEADLINE": "6s"})
	const noDocuments = `{"success":true,"webhook_summary":{"total_sets":3,"succeeded":0,"failed":3}}`
	completed := pipelinetest.Result("51-of-52", 52, 1)
	type end struct {
		state   cases.State
		reason  cases.Reason
		message string // part of the message
	}
	refused := func(message string) end { return end{cases.Failed, cases.ReasonPipelineRefused, message} }
	failed := func(message string) end { return end{cases.Failed, cases.ReasonPipelineFailed, message} }
	unknown := end{cases.Failed, cases.ReasonStartUnknown, ""}
	timedOut := end{cases.TimedOut, cases.ReasonDeadline, ""}
	for name, test := range map[string]struct {
		reaction pipelinetest.Reaction
		want     end
	}{
		"refusal":                 {pipelinetest.Refuse(400, "no such form"), refused("no such form")},
		"refusal-with-detail":     {pipelinetest.RefuseDetail(404, "gone"), refused("gone")},
		"refusal-with-object":     {pipelinetest.RefuseObject(403, "not allowed"), refused("not allowed")},
		"refusal-with-text":       {pipelinetest.RefuseText(400, "plain words"), refused("plain words")},
		"refusal-with-list":       {pipelinetest.RefuseInvalid("body.Form"), refused("Form")},
		"redirect":                {pipelinetest.Redirect(302, "http://127.0.0.1:1/x"), refused("")},
		"failure-with-500":        {pipelinetest.Failed(500, "out of paper"), failed("out of paper")},
		"failure-with-200":        {pipelinetest.Failed(200, "out of ink"), failed("out of ink")},
		"failure-with-detail":     {pipelinetest.FailedDetail(503, "jammed"), failed("jammed")},
		"not-json":                {pipelinetest.NotJSON(), unknown},
		"server-error":            {pipelinetest.Answer(500, "oops"), unknown},
		"reset-without-a-job":     {pipelinetest.Reset(false, 0), unknown},
		"reset-with-a-job":        {pipelinetest.Reset(true, 4), timedOut},
		"no-answer":               {pipelinetest.Hang(true, 4), timedOut},
		"busy-for-ever":           {pipelinetest.Busy(503, "1"), timedOut},
		"rate-limited-for-ever":   {pipelinetest.Busy(429, ""), timedOut},
		"accepted-without-an-end": {pipelinetest.Async(4), timedOut},
		"result-without-documents": {
			pipelinetest.Answer(200, noDocuments),
			end{cases.Failed, cases.ReasonNoDocuments, "every document failed"},
		},
		"51-of-52": {
			pipelinetest.Answer(200, string(completed)),
			end{cases.Succeeded, cases.ReasonCompleted, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			s.pipe.Script(name, test.reaction)
			c := s.start(`{"case_id":"`+name+`","secret":"of the form"}`, "")
			v := s.wantEnd(c, test.want.state, test.want.reason)
			if !strings.Contains(v.End.Message, test.want.message) {
				t.Errorf("the message is %q, want one with %q", v.End.Message, test.want.message)
			}
			if name == "51-of-52" {
				want := &cases.Documents{Total: new(52), Succeeded: new(51), Failed: new(1)}
				if diff := cmp.Diff(want, v.Documents); diff != "" {
					t.Errorf("documents (-want +got):\n%s", diff)
				}
			}
			if n := len(s.pipe.Posts(name)); n != 1 && !strings.Contains(name, "for-ever") {
				t.Errorf("the pipeline was started %d times, want once", n)
			}
		})
	}
	t.Cleanup(func() {
		if strings.Contains(s.log.String(), "of the form") {
			t.Error("the log contains the form")
		}
	})
}

// in returns a copy of the system that reports failures to a subtest.
func (s *system) in(t *testing.T) *system {
	sub := *s
	sub.t = t
	return &sub
}

func TestForgottenJobIsLost(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Script("c", pipelinetest.Async(4))
	c := s.start(`{"case_id":"c"}`, "")
	s.until(c, "it runs", func(v view) bool { return v.State == cases.Running && v.Checks.Count > 0 })
	s.pipe.Forget("c")
	s.wantEnd(c, cases.Failed, cases.ReasonPipelineLost)
}

func TestPipelineIsDownFromTheStart(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Close()
	c := s.start(`{"case_id":"c"}`, "")
	s.wantEnd(c, cases.Failed, cases.ReasonPipelineUnreachable)
}

func TestPipelineIsDownAfterItAcceptedTheCase(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Script("c", pipelinetest.Async(4))
	c := s.start(`{"case_id":"c"}`, "")
	s.until(c, "it runs", func(v view) bool { return v.State == cases.Running })
	s.pipe.ScriptPolls("c", slices.Repeat([]pipelinetest.Reaction{pipelinetest.Reset(false, 0)}, 1000)...)
	v := s.wantEnd(c, cases.Failed, cases.ReasonPipelineUnreachable)
	s.sweep()
	time.Sleep(2 * time.Second) // ten times the longest interval between checks
	if polls := s.pipe.PollsAfter("c", *v.EndedAt); len(polls) != 0 {
		t.Errorf("the pipeline was polled %d times after the end, want never", len(polls))
	}
	if posts := s.pipe.Posts("c"); len(posts) != 1 {
		t.Errorf("the pipeline was started %d times, want once", len(posts))
	}
}

// sweep calls the sweep function and returns its report.
func (s *system) sweep() string {
	s.t.Helper()
	code, body := s.do("POST", s.base+"/sweep", "", "Authorization: Bearer "+s.token("scheduler"))
	if code != http.StatusOK {
		s.t.Fatalf("the sweep is answered %d %s, want 200", code, body)
	}
	return string(body)
}

func TestEventsAfterTheEndDoNotChangeIt(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Default(pipelinetest.Async(4))
	c := s.start(`{"case_id":"c"}`, "")
	s.until(c, "it runs", func(v view) bool { return v.State == cases.Running })
	s.publish(`{"case_id":"c","run":1,"status":"running","progress":{"completed":3,"total":4}}`)
	s.publish(`{"case_id":"c","run":1,"status":"running","progress":{"completed":2,"total":4}}`)
	s.until(c, "the progress of the event is shown", func(v view) bool { return v.Progress.Completed == 3 })
	for _, invalid := range []string{`{`, `[]`, `{"case_id":"c"}`, `{"case_id":"c","status":"done"}`, "\xff\x00"} {
		s.publish(invalid)
	}
	s.publish(`{"case_id":"c","run":1,"status":"failed","error":{"code":"E1","message":"broke"}}`)
	first := s.wantEnd(c, cases.Failed, cases.ReasonPipelineFailed)
	s.publish(`{"case_id":"c","run":1,"status":"succeeded","result":{"success":true,"n":"\u0000 ☃"}}`)
	s.publish(`{"case_id":"c","run":1,"status":"running","progress":{"completed":4,"total":4}}`)
	s.publish(`{"case_id":"c","run":1,"status":"succeeded"}`)
	v := s.until(c, "both late reports are kept", func(v view) bool { return v.Late != nil && v.Late.Count == 2 })
	if v.State != cases.Failed || *v.End != *first.End || v.Progress != first.Progress || string(v.Result) != "null" {
		t.Errorf("the case changed after its end to %+v, want %+v", v, first)
	}
	wantResult := `{"success":true,"n":"\u0000 ☃"}`
	if v.Late.State != cases.Succeeded || string(v.Late.Result) != wantResult {
		t.Errorf("the late report is %+v with %s, want a success with %s", v.Late, v.Late.Result, wantResult)
	}
	s.wantOneEndedLine(c)
}

// FastAPI repeats parts of the form in its validation errors. They must not appear in a message.
func TestMessageDoesNotRepeatTheForm(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Default(pipelinetest.Async(4))
	const detail = `"detail":[{"loc":["body","Form"],"msg":"Field required","input":{"ssn":"123-45"}}]`
	const want = "body.Form: Field required"
	for id, event := range map[string]string{
		"error":  `"error":{` + detail + `}`,
		"result": `"result":{"success":false,` + detail + `}`,
	} {
		c := s.start(`{"case_id":"`+id+`"}`, "")
		s.until(c, "it runs", func(v view) bool { return v.State == cases.Running })
		s.publish(`{"case_id":"` + id + `","run":1,"status":"failed",` + event + `}`)
		if v := s.wantEnd(c, cases.Failed, cases.ReasonPipelineFailed); v.End.Message != want {
			t.Errorf("the message of the %s is %q, want %q", id, v.End.Message, want)
		}
	}
}

func TestConcurrentStartsOfOneCaseStartOneRun(t *testing.T) {
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
		t.Errorf("the answers are %v, want one 202 and 49 times 200, all with run 1", codes)
	}
	c := s.start(`{"case_id":"c"}`, "")
	s.until(c, "the case was checked", func(v view) bool { return v.Checks.Count > 3 })
	if n := len(s.pipe.Posts("c")); n != 1 {
		t.Errorf("the pipeline was started %d times, want once", n)
	}
}

// The progress endpoint can still report the old run after a rerun. That progress must not end the
// new run.
func TestProgressOfTheOldRunDoesNotEndTheRerun(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Script("c", pipelinetest.Async(52))
	first := s.start(`{"case_id":"c"}`, "")
	s.until(first, "it runs", func(v view) bool { return v.State == cases.Running })
	s.pipe.SetProgress("c", 30, 52, "")
	s.until(first, "30 are done", func(v view) bool { return v.Progress.Completed == 30 })
	s.publish(`{"case_id":"c","run":1,"status":"succeeded","result":` + string(pipelinetest.Result("c", 52, 0)) + `}`)
	s.wantEnd(first, cases.Succeeded, cases.ReasonCompleted)

	// The pipeline accepts the second run, but its progress is still that of the first.
	s.pipe.Script("c", pipelinetest.Answer(202, `{}`))
	s.pipe.SetProgress("c", 52, 52, "")
	second := s.start(`{"case_id":"c"}`, "")
	if second.run != 2 {
		t.Fatalf("the second run is %d, want 2", second.run)
	}
	v := s.until(second, "checks took longer than the grace", func(v view) bool { return v.Checks.Count > 8 })
	if ended(v) || v.Progress.Completed != 0 {
		t.Fatalf("the second run is %+v, want it open without progress of the first", v)
	}
	s.publish(`{"case_id":"c","run":2,"status":"succeeded","result":` + string(pipelinetest.Result("c", 52, 7)) + `}`)
	if v := s.wantEnd(second, cases.Succeeded, cases.ReasonCompleted); *v.Documents.Failed != 7 {
		t.Errorf("the documents are %+v, want 7 failures", v.Documents)
	}
	if n := len(s.pipe.PostsOfRun("c", 2)); n != 1 {
		t.Errorf("run 2 was started %d times, want once", n)
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
	v := s.until(first, "both events are kept", func(v view) bool { return v.Late != nil && v.Late.Count == 2 })
	if v.State != cases.TimedOut {
		t.Errorf("the first run is %s, want %s", v.State, cases.TimedOut)
	}
	if v := s.status(second); ended(v) || v.Late != nil {
		t.Errorf("the second run is %+v, want it open without a late report", v)
	}
}

func TestSweepReschedulesPurgedChecks(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: the sweep waits for about half a minute before it reschedules a check")
	}
	s := newSystem(t, map[string]string{"CHECK_TIMEOUT": "1s"})
	s.pipe.Default(pipelinetest.Async(4))
	c := s.start(`{"case_id":"c"}`, "")
	s.until(c, "it runs", func(v view) bool { return v.State == cases.Running })
	s.purgeChecks()
	count := s.status(c).Checks.Count
	v := s.until(c, "the case is checked again", func(v view) bool { return v.Checks.Count > count+2 })
	if ended(v) {
		t.Errorf("the case is %+v, want it open", v)
	}
	if !strings.Contains(s.log.String(), "lost task rescheduled") {
		t.Error("the sweep did not log that it rescheduled a check")
	}
}

// purgeChecks purges the queue of checks with Google's client.
func (s *system) purgeChecks() {
	s.t.Helper()
	client, err := cloudtasks.NewClient(s.t.Context(),
		option.WithEndpoint(s.m.Tasks.Addr()),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	cfg := s.m.Config
	name := fmt.Sprintf("projects/%s/locations/%s/queues/%s", cfg.Project, cfg.Queue.Location, cfg.Queue.Check)
	// A purge does not stop a running check, which then schedules the next one. So the purge is
	// repeated until the queue is empty.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := client.PurgeQueue(s.t.Context(), &cloudtaskspb.PurgeQueueRequest{Name: name}); err != nil {
			s.t.Fatal(err)
		}
		if n := s.m.Tasks.Counts()[name]; n.Pending == 0 && n.Running == 0 {
			return
		}
	}
	s.t.Fatal("the queue is not empty after 10 s")
}

// BenchmarkEventToEnd measures the time from the publication of an event until status shows the end
// of its case. It reports the median.
func BenchmarkEventToEnd(b *testing.B) {
	s := newSystem(b, nil)
	s.pipe.Default(pipelinetest.Async(4))
	var took []time.Duration
	for b.Loop() {
		c := s.start(`{}`, "")
		s.until(c, "it runs", func(v view) bool { return v.State == "running" })
		began := time.Now()
		s.publish(`{"case_id":"` + c.id + `","run":1,"status":"succeeded","result":{"success":true}}`)
		s.until(c, "it ended", func(v view) bool { return v.EndedAt != nil })
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
}
