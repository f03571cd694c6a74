package reconcile_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// newPipelines is a world with the document pipeline, and with one, render, that names its jobs and
// can cancel a job.
func newPipelines(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	render := w.rules
	render.PollNeedsJob, render.PollsOwnRun, render.CanCancel, render.CancelNeedsJob = true, true, true, true
	w.config.Pipelines = []reconcile.PipelineConfig{
		{Name: "default", Rules: w.rules, Deadline: time.Hour, ReadsEvents: true},
		{Name: "render", Rules: render, Deadline: 20 * time.Minute},
	}
	w.deps.CallbackURL = func(caseID string, run int, until time.Time) string {
		return fmt.Sprintf("https://callback.example/%s?run=%d&until=%d", caseID, run, until.Unix())
	}
	w.rebuild()
	w.pipe.dispatch = func(job reconcile.Job) cases.DispatchOutcome {
		if job.Pipeline == "render" {
			return cases.DispatchOutcome{Kind: cases.DispatchAccepted, JobID: "job-1"}
		}
		return cases.DispatchOutcome{Kind: cases.DispatchAccepted}
	}
	w.pipe.poll = func(string) cases.CheckOutcome { return reading(0, 0, cases.StatusRunning) }
	return w
}

func render(req *reconcile.StartRequest) { req.Pipeline = "render" }

// forget makes the reconciler one whose settings no longer describe render.
func (w *world) forget() {
	w.t.Helper()
	w.config.Pipelines = w.config.Pipelines[:1]
	w.rebuild()
}

func TestARunBelongsToItsPipeline(t *testing.T) {
	w := newPipelines(t)
	c := w.begin(render)
	if c.Pipeline != "render" || c.DeadlineAt.Sub(c.CreatedAt) != 20*time.Minute {
		t.Errorf("%s, %v", c.Pipeline, c.DeadlineAt.Sub(c.CreatedAt))
	}
	w.run(5 * time.Second)
	for _, task := range w.queue.pending {
		if task.Pipeline != "render" {
			t.Errorf("a task of pipeline %q", task.Pipeline)
		}
	}
	jobs := w.pipe.jobs
	if len(jobs) != 1 || jobs[0].Pipeline != "render" || jobs[0].ID != "" ||
		!strings.HasPrefix(jobs[0].CallbackURL, "https://callback.example/c?run=1&until=") {
		t.Errorf("%+v", jobs)
	}
	if len(w.pipe.polled) == 0 || w.pipe.polled[0].ID != "job-1" || w.pipe.polled[0].Pipeline != "render" ||
		w.pipe.polled[0].CallbackURL != "" {
		t.Errorf("%+v", w.pipe.polled)
	}
	if lines := w.lines("progress checked"); len(lines) == 0 || lines[0]["pipeline"] != "render" {
		t.Errorf("%v", lines)
	}
	if view, err := w.Read(t.Context(), "c", 1); err != nil || view.View.Pipeline != "render" {
		t.Errorf("%s %v", view.View.Pipeline, err)
	}
}

func TestStartChoosesThePipeline(t *testing.T) {
	w := newPipelines(t)
	if c := w.begin(); c.Pipeline != "default" {
		t.Errorf("the default is %q", c.Pipeline)
	}
	_, err := w.Start(t.Context(), reconcile.StartRequest{CaseID: "d", Form: []byte(`{}`), Pipeline: "none"})
	if kindOf(err) != fault.Invalid {
		t.Errorf("an unknown pipeline: %v", err)
	}
	req := reconcile.StartRequest{CaseID: "d", Form: []byte(`{}`), Pipeline: "render", Key: "k"}
	if _, err := w.Start(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	req.Pipeline = "default"
	if _, err := w.Start(t.Context(), req); kindOf(err) != fault.Unprocessable {
		t.Errorf("the same key with another pipeline: %v", err)
	}
}

func TestAdoptNamesTheJob(t *testing.T) {
	w := newPipelines(t)
	w.begin(func(req *reconcile.StartRequest) { req.Pipeline, req.Adopt, req.JobID = "render", true, "theirs" })
	w.run(5 * time.Second)
	if len(w.pipe.jobs) != 0 || len(w.pipe.polled) == 0 || w.pipe.polled[0].ID != "theirs" {
		t.Errorf("%d dispatched, polled %+v", len(w.pipe.jobs), w.pipe.polled)
	}
}

func TestAPipelineThatIsGone(t *testing.T) {
	w := newPipelines(t)
	w.begin(render)
	w.run(5 * time.Second)
	w.forget()
	polls := w.pipe.polls
	w.run(time.Hour)
	if w.pipe.polls != polls {
		t.Errorf("polled %d times", w.pipe.polls-polls)
	}
	w.want(1, cases.TimedOut, cases.ReasonDeadline)
	if len(w.lines("run not polled: its pipeline is not described any more")) == 0 {
		t.Error("nothing is said")
	}
	if _, err := w.Rerun(t.Context(), "c", 1, ""); kindOf(err) != fault.Conflict {
		t.Errorf("a rerun: %v", err)
	}
	w = newPipelines(t)
	w.begin(render)
	w.forget()
	w.run(15 * time.Minute)
	if w.want(1, cases.Failed, cases.ReasonPipelineUnreachable); len(w.pipe.jobs) != 0 {
		t.Error("it was dispatched")
	}
	w = newPipelines(t)
	w.begin(render)
	w.run(5 * time.Second)
	if _, err := w.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	w.forget()
	if w.run(time.Minute); w.get(1).Stop.State != cases.StopFailed || len(w.pipe.stopped) != 0 {
		t.Errorf("%+v", w.get(1).Stop)
	}
}

func TestEventsCountOnlyWhereThePipelineReportsByThem(t *testing.T) {
	w := newPipelines(t)
	w.begin(render)
	w.run(5 * time.Second)
	if err := w.publish("m", `{"case_id":"c","run":1,"status":"failed"}`); err != nil {
		t.Fatal(err)
	}
	if c := w.get(1); c.State.Ended() {
		t.Errorf("it ended: %+v", c.Outcome.End)
	}
}

func TestAnUnmappedStatusIsLoggedOnce(t *testing.T) {
	w := newPipelines(t)
	w.pipe.poll = func(string) cases.CheckOutcome {
		in := reading(0, 0, cases.StatusRunning)
		in.Reading.Unmapped = "warming"
		return in
	}
	w.begin(render)
	w.run(time.Minute)
	lines := w.lines("the pipeline gave a status that its description does not list; it counts as running")
	if len(lines) != 1 || lines[0]["status"] != "warming" || lines[0]["severity"] != "WARNING" {
		t.Errorf("%v", lines)
	}
}

func TestDurationsAreOfOnePipeline(t *testing.T) {
	w := newPipelines(t)
	w.pipe.poll = func(string) cases.CheckOutcome { return reading(0, 0, cases.StatusSucceeded) }
	w.begin(render)
	w.run(time.Minute)
	w.want(1, cases.Succeeded, cases.ReasonCompleted)
	for pipeline, want := range map[string]int64{"render": 1, "default": 0} {
		if stats, err := w.store.Store.DurationStats(t.Context(), pipeline); err != nil || stats.Version != want {
			t.Errorf("%s: version %d, %v, want %d", pipeline, stats.Version, err, want)
		}
	}
}

func TestACancelReachesTheJob(t *testing.T) {
	ends := map[string]func(*world){
		"cancelled": func(w *world) {
			if _, err := w.Cancel(w.t.Context(), "c", 1); err != nil {
				w.t.Error(err)
			}
		},
		"superseded": func(w *world) {
			w.begin(render, func(req *reconcile.StartRequest) { req.Supersede = true })
		},
		"timed out": func(w *world) { w.run(20 * time.Minute) },
		"timed out, by the sweep": func(w *world) {
			w.queue.purge()
			w.pass(time.Hour)
			if _, err := w.Sweep(w.t.Context()); err != nil {
				w.t.Error(err)
			}
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w := newPipelines(t)
			w.begin(render)
			w.run(5 * time.Second)
			end(w)
			w.run(10 * time.Second)
			if len(w.pipe.stopped) != 1 || w.pipe.stopped[0].ID != "job-1" || w.pipe.stopped[0].Run != 1 ||
				w.pipe.stopped[0].Pipeline != "render" {
				t.Fatalf("%+v", w.pipe.stopped)
			}
			if c := w.get(1); c.Stop.State != cases.StopConfirmed || !c.Bookkeeping.Finalized {
				t.Errorf("%+v", c.Stop)
			}
			ended := w.topic.ended
			if len(ended) != 1 || ended[0].Stop == nil || *ended[0].Stop != cases.StopRequested {
				t.Errorf("the ended event says %+v", ended)
			}
			if len(w.lines("job cancelled")) != 1 {
				t.Error("it is not logged")
			}
		})
	}
	t.Run("not of the document pipeline", func(t *testing.T) {
		w := newPipelines(t)
		w.begin()
		w.run(5 * time.Second)
		ends["cancelled"](w)
		w.run(time.Minute)
		if len(w.pipe.stopped) != 0 || w.get(1).Stop.State != cases.StopNone {
			t.Errorf("%+v", w.get(1).Stop)
		}
	})
}

func TestACancelIsTriedAgain(t *testing.T) {
	w := newPipelines(t)
	w.begin(render)
	w.run(5 * time.Second)
	w.pipe.cancel = func(reconcile.Job) cases.CancelOutcome {
		if len(w.pipe.stopped) < 3 {
			return cases.CancelOutcome{Kind: cases.CancelAgain, Message: "503", Cause: "503 from the host"}
		}
		return cases.CancelOutcome{Kind: cases.CancelConfirmed}
	}
	if _, err := w.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	if w.run(time.Minute); len(w.pipe.stopped) != 3 || w.get(1).Stop.State != cases.StopConfirmed {
		t.Errorf("%d requests, %+v", len(w.pipe.stopped), w.get(1).Stop)
	}
	if lines := w.lines("job not cancelled"); len(lines) != 2 || lines[0]["cause"] != "503 from the host" {
		t.Errorf("%v", lines)
	}
	w = newPipelines(t)
	w.begin(render)
	w.run(5 * time.Second)
	w.pipe.cancel = func(reconcile.Job) cases.CancelOutcome { return cases.CancelOutcome{Kind: cases.CancelFailed} }
	if _, err := w.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	if w.run(time.Minute); len(w.pipe.stopped) != 1 || w.get(1).Stop.State != cases.StopFailed {
		t.Errorf("%d requests, %+v", len(w.pipe.stopped), w.get(1).Stop)
	}
}

func TestTheSweepRepairsALostStop(t *testing.T) {
	w := newPipelines(t)
	w.begin(render)
	w.run(5 * time.Second)
	if _, err := w.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	if rep, err := w.Sweep(t.Context()); err != nil || rep.Rescheduled != 0 {
		t.Errorf("the task is only late: %+v %v", rep, err)
	}
	w.queue.purge()
	if rep, err := w.Sweep(t.Context()); err != nil || rep.Rescheduled != 1 || rep.Overdue != 0 {
		t.Errorf("%+v %v", rep, err)
	}
	if w.run(time.Second); w.get(1).Stop.State != cases.StopConfirmed {
		t.Errorf("%+v", w.get(1).Stop)
	}
}

// Whatever a process dies in, the job is cancelled in the end.
func TestACancelSurvivesCrashes(t *testing.T) {
	w := newPipelines(t)
	w.begin(render)
	w.run(5 * time.Second)
	w.queue.setDown(true)
	if _, err := w.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	w.queue.setDown(false)
	w.pass(time.Hour)
	if _, err := w.Sweep(t.Context()); err != nil || w.queue.count(queue.Stop) != 1 {
		t.Fatalf("%d pending, %v", w.queue.count(queue.Stop), err)
	}
	w.pipe.cancel = func(reconcile.Job) cases.CancelOutcome { return cases.CancelOutcome{Kind: cases.CancelAgain} }
	stop := w.get(1).Stop
	w.queue.setDown(true)
	body := queue.Body{Kind: queue.Stop, CaseID: "c", Run: 1, Seq: stop.Seq}
	if err := w.Stop(t.Context(), body); kindOf(err) != fault.Unavailable {
		t.Errorf("the next task does not exist: %v", err)
	}
	w.queue.setDown(false)
	if err := w.Stop(t.Context(), body); err != nil || len(w.pipe.stopped) != 1 {
		t.Errorf("a delivery one behind only makes sure of the next task: %v, %d requests", err, len(w.pipe.stopped))
	}
	if n := w.queue.count(queue.Stop); n != 2 {
		t.Errorf("%d tasks, want the one that was delivered and the next", n)
	}
	body.Seq = 99
	if err := w.Stop(t.Context(), body); kindOf(err) != fault.Unavailable {
		t.Errorf("a record that is older than the task: %v", err)
	}
}

func TestAJobThatStartsAfterTheEndIsCancelled(t *testing.T) {
	w := newPipelines(t)
	w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
		if _, err := w.Cancel(t.Context(), "c", 1); err != nil {
			t.Error(err)
		}
		if w.get(1).Stop.State != cases.StopNone {
			t.Error("there is no name to cancel it by yet")
		}
		return cases.DispatchOutcome{Kind: cases.DispatchAccepted, JobID: "late"}
	}
	w.begin(render)
	w.run(time.Minute)
	c := w.want(1, cases.Cancelled, cases.ReasonCancelled)
	if c.Job.ID != "late" || c.Stop.State != cases.StopConfirmed || len(w.pipe.stopped) != 1 ||
		w.pipe.stopped[0].ID != "late" {
		t.Errorf("%+v, %+v", c.Stop, w.pipe.stopped)
	}
}

func (w *world) report(body string, header ...string) error {
	h := map[string][]string{}
	if len(header) == 2 {
		h[header[0]] = []string{header[1]}
	}
	return w.Callback(w.t.Context(), reconcile.CallbackReport{CaseID: "c", Run: 1, Header: h, Body: []byte(body)})
}

// says makes the body of a callback its status.
func says(body []byte) (reconcile.Callback, error) {
	return reconcile.Callback{Reading: cases.Reading{Percent: -1, Status: cases.Status(body)}}, nil
}

func TestACallbackEndsTheRun(t *testing.T) {
	for status, want := range map[string]struct {
		state  cases.State
		reason cases.Reason
	}{
		"failed":    {cases.Failed, cases.ReasonPipelineFailed},
		"cancelled": {cases.Cancelled, cases.ReasonCancelled},
	} {
		t.Run(status, func(t *testing.T) {
			w := newPipelines(t)
			w.pipe.callback = says
			w.begin(render)
			w.run(5 * time.Second)
			for range 2 { // a repeat changes nothing
				if err := w.report(status); err != nil {
					t.Fatal(err)
				}
			}
			c := w.want(1, want.state, want.reason)
			if c.Outcome.End.Source != cases.SourceCallback || c.Outcome.Late != nil || len(w.topic.ended) != 1 ||
				w.queue.count(queue.Check) != 0 || c.Stop.State != cases.StopNone {
				t.Errorf("%+v, %+v, %d published, %d checks", c.Outcome.End, c.Outcome.Late, len(w.topic.ended),
					w.queue.count(queue.Check))
			}
		})
	}
}

func TestACallbackAndAPollEndTheRunOnce(t *testing.T) {
	w := newPipelines(t)
	w.pipe.callback = says
	w.begin(render)
	w.run(time.Second)
	w.pipe.poll = func(string) cases.CheckOutcome {
		if err := w.report("failed"); err != nil {
			t.Error(err)
		}
		return reading(0, 0, cases.StatusFailed)
	}
	w.run(time.Minute)
	if c := w.want(1, cases.Failed, cases.ReasonPipelineFailed); len(w.topic.ended) != 1 || c.Outcome.Late == nil {
		t.Errorf("%d published, late %+v", len(w.topic.ended), c.Outcome.Late)
	}
}

func TestACallbackOfSuccessHasTheResultFetched(t *testing.T) {
	w := newPipelines(t)
	w.pipe.callback = func([]byte) (reconcile.Callback, error) {
		return reconcile.Callback{Reading: cases.Reading{Status: cases.StatusSucceeded}, Fetch: true}, nil
	}
	w.pipe.poll = func(string) cases.CheckOutcome {
		in := reading(0, 0, cases.StatusRunning)
		in.RetryAfter = 10 * time.Minute
		return in
	}
	w.begin(render)
	w.run(30 * time.Second)
	polls := w.pipe.polls
	w.pipe.poll = func(string) cases.CheckOutcome {
		in := reading(0, 0, cases.StatusSucceeded)
		in.Result = &cases.Result{Raw: []byte(`{"a":1}`), Size: 7}
		return in
	}
	if err := w.report("succeeded"); err != nil {
		t.Fatal(err)
	}
	if n := w.queue.count(queue.Check); n != 1 || w.get(1).State != cases.Running {
		t.Fatalf("%d checks are pending, %s", n, w.get(1).State)
	}
	w.run(3 * time.Second)
	c := w.want(1, cases.Succeeded, cases.ReasonCompleted)
	if w.pipe.polls != polls+1 || !c.Outcome.HasResult || c.Outcome.End.Source != cases.SourceCheck {
		t.Errorf("%d polls, %+v", w.pipe.polls-polls, c.Outcome)
	}
}

func TestCallbacksThatAreNotTakenIn(t *testing.T) {
	w := newPipelines(t)
	w.begin(render)
	w.run(5 * time.Second)
	for name, test := range map[string]struct {
		read  func([]byte) (reconcile.Callback, error)
		body  string
		want  fault.Kind
		saved int // in the dead-letter topic
	}{
		"not signed": {
			func([]byte) (reconcile.Callback, error) {
				return reconcile.Callback{}, fmt.Errorf("x: %w", reconcile.ErrSignature)
			},
			"{}", fault.Unauthorized, 0,
		},
		"not readable": {
			func([]byte) (reconcile.Callback, error) { return reconcile.Callback{}, errors.New("no JSON") },
			"secret", fault.Invalid, 1,
		},
		"of another job": {
			func([]byte) (reconcile.Callback, error) {
				return reconcile.Callback{JobID: "another", Reading: cases.Reading{Status: cases.StatusFailed}}, nil
			},
			"{}", fault.Invalid, 1,
		},
		"an event that is none":              {nil, "{}", fault.Invalid, 1},
		"an event of another case":           {nil, `{"case_id":"d","status":"failed"}`, fault.Invalid, 1},
		"an event of another run":            {nil, `{"case_id":"c","run":2,"status":"failed"}`, fault.Invalid, 1},
		"an event of a run that is not kept": {nil, `{"case_id":"c","status":"failed"}`, fault.NotFound, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w.pipe.callback, w.topic.invalid = test.read, nil
			run := 1
			if test.want == fault.NotFound {
				run = 7
			}
			err := w.Callback(t.Context(), reconcile.CallbackReport{CaseID: "c", Run: run, Body: []byte(test.body)})
			if kindOf(err) != test.want || len(w.topic.invalid) != test.saved {
				t.Errorf("got %v, forwarded %v; want %v and %d", err, w.topic.invalid, test.want, test.saved)
			}
		})
	}
	if c := w.get(1); c.State != cases.Running {
		t.Errorf("%s", c.State)
	}
	if strings.Contains(w.log.String(), "secret") {
		t.Error("the log repeats the body")
	}
	w.pipe.callback = func([]byte) (reconcile.Callback, error) { return reconcile.Callback{}, errors.New("no JSON") }
	w.topic.down = true
	if err := w.report("x"); kindOf(err) != fault.Unavailable {
		t.Errorf("nothing was recorded: %v", err)
	}
	w.topic.down = false
	w.store.before = failing("Update", 1, 100)
	w.pipe.callback = says
	if err := w.report("failed"); kindOf(err) != fault.Unavailable {
		t.Errorf("nothing was recorded: %v", err)
	}
}

func TestTheIdOfACallback(t *testing.T) {
	w := newPipelines(t)
	w.pipe.callback = says
	w.begin(render)
	w.run(5 * time.Second)
	if err := w.report("failed", "Webhook-Id", "msg_1"); err != nil {
		t.Fatal(err)
	}
	if ids := w.get(1).Outcome.ReportIDs; !slices.Equal(ids, []string{"callback:msg_1"}) {
		t.Errorf("%v", ids)
	}
	if err := w.report("failed", "Webhook-Id", strings.Repeat("x", 1000)); err != nil {
		t.Fatal(err)
	}
	if ids := w.get(1).Outcome.ReportIDs; len(ids) != 2 || len(ids[1]) > 100 {
		t.Errorf("%v", ids)
	}
}

func TestACallbackOfTheDocumentPipelineIsAnEvent(t *testing.T) {
	w := newPipelines(t)
	w.begin()
	w.run(5 * time.Second)
	if err := w.report(`{"case_id":"c","status":"succeeded","result":{"output_url":"https://o.example"}}`); err != nil {
		t.Fatal(err)
	}
	if c := w.want(1, cases.Succeeded, cases.ReasonCompleted); c.Outcome.End.Source != cases.SourceCallback ||
		!c.Outcome.HasResult {
		t.Errorf("%+v", c.Outcome)
	}
}
