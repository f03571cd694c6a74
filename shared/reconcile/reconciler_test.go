package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/pipeline/report"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

func kindOf(err error) fault.Kind {
	var e *fault.Error
	if !errors.As(err, &e) {
		return -1
	}
	return e.Kind
}

func TestOneCaseFromStartToEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := w.begin()
	if begin.State != cases.Pending || w.queue.count(queue.Check) != 1 || w.queue.count(queue.Dispatch) != 1 {
		t.Fatalf("%+v, %d checks", begin.State, w.queue.count(queue.Check))
	}
	done := 0
	w.pipe.poll = func(string) cases.CheckOutcome { done++; return reading(done, 50, "") }
	w.run(time.Minute)
	if w.queue.count(queue.Check) != 1 || w.queue.count(queue.Dispatch) != 0 {
		t.Fatalf("an open run has %d checks and %d dispatches pending", w.queue.count(queue.Check),
			w.queue.count(queue.Dispatch))
	}
	if len(w.pipe.jobs) != 1 || string(w.pipe.jobs[0].Form) != `{"a":1}` || w.pipe.jobs[0].TraceParent != traceParent {
		t.Fatalf("%+v", w.pipe.jobs)
	}
	polls := w.pipe.polls
	if err := w.publish("m", `{"case_id":"c","run":1,"status":"succeeded","result":{"success":true,`+
		`"webhook_summary":{"total_sets":50,"succeeded":49,"failed":1},"output_url":"http://o"}}`); err != nil {
		t.Fatal(err)
	}
	c := w.want(1, cases.Succeeded, cases.ReasonCompleted)
	if !c.Bookkeeping.Finalized || *c.Outcome.Documents.Failed != 1 || c.Outcome.OutputURL != "http://o" {
		t.Errorf("%+v", c)
	}
	if len(w.topic.ended) != 1 || string(w.topic.ended[0].Result) == "null" {
		t.Errorf("published %+v", w.topic.ended)
	}
	if w.queue.count(queue.Check) != 0 {
		t.Error("the pending check was not deleted")
	}
	if _, err := w.store.Value(t.Context(), "c", 1, store.Form); !errors.Is(err, store.ErrNotFound) {
		t.Error("the form of a run that succeeded is kept:", err)
	}
	w.run(time.Hour)
	if w.pipe.polls != polls {
		t.Error("asked after the end")
	}
	lines := w.lines("progress checks ended")
	if len(lines) != 1 ||
		lines[0]["logging.googleapis.com/trace"] != "projects/p/traces/4bf92f3577b34da6a3ce929d0e0e4736" ||
		lines[0]["logging.googleapis.com/insertId"] != "c:1:ended" || lines[0]["checks"] != float64(polls) {
		t.Errorf("%v", lines)
	}
	if strings.Contains(w.log.String(), `"a":1`) || strings.Contains(w.log.String(), "http://o") {
		t.Error("content in the log")
	}
}

func TestEndsByDispatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
		w.run(20 * time.Second) // checks go on meanwhile
		w.pipe.poll = func(string) cases.CheckOutcome { return reading(4, 4, "") }
		w.run(time.Minute)
		if c := w.get(1); c.State != cases.Running || c.Job.Progress.Completed != 4 {
			t.Errorf("while it was open: %s %+v", c.State, c.Job.Progress)
		}
		res, err := report.ParseResult(
			[]byte(`{"success":true,"webhook_summary":{"total_sets":52,"succeeded":51,"failed":1}}`))
		if err != nil {
			t.Fatal(err)
		}
		return cases.DispatchOutcome{Kind: cases.DispatchSucceeded, Result: res.Kept()}
	}
	w.begin()
	w.run(time.Hour)
	c := w.want(1, cases.Succeeded, cases.ReasonCompleted)
	if c.Outcome.End.Source != cases.SourceDispatch || *c.Outcome.Documents.Failed != 1 ||
		w.queue.count(queue.Check) != 0 {
		t.Errorf("%+v %+v", c.Outcome.End, c.Outcome.Documents)
	}
	s, err := w.Read(t.Context(), "c", 0)
	if err != nil || !s.Current || !strings.Contains(string(s.View.Result), `"failed":1`) {
		t.Errorf("%+v %v", s, err)
	}
}

func TestEveryEndComesByItself(t *testing.T) {
	t.Parallel()
	outcome := func(kind cases.DispatchKind) func(reconcile.Job) cases.DispatchOutcome {
		return func(reconcile.Job) cases.DispatchOutcome {
			return cases.DispatchOutcome{Kind: kind, Message: "said so"}
		}
	}
	poll := func(found cases.CheckOutcome) func(string) cases.CheckOutcome {
		return func(string) cases.CheckOutcome { return found }
	}
	unknown, unable := cases.CheckOutcome{Kind: cases.CheckUnknown}, cases.CheckOutcome{
		Kind: cases.CheckFailed, Message: "refused",
	}
	for _, test := range []struct {
		name     string
		dispatch cases.DispatchKind
		poll     cases.CheckOutcome
		state    cases.State
		reason   cases.Reason
		within   time.Duration
	}{
		{"unreachable", cases.DispatchUnreachable, unable, cases.Failed,
			cases.ReasonPipelineUnreachable, 10 * time.Minute},
		{"busy for ever", cases.DispatchBusy, unable, cases.TimedOut, cases.ReasonDeadline, time.Hour},
		{"refused", cases.DispatchRefused, unable, cases.Failed, cases.ReasonPipelineRefused, time.Second},
		{"its own report", cases.DispatchFailed, unable, cases.Failed, cases.ReasonPipelineFailed, time.Second},
		{"uncertain, unknown", cases.DispatchUncertain, unknown, cases.Failed,
			cases.ReasonStartUnknown, 3 * time.Minute},
		{"uncertain, known", cases.DispatchUncertain, reading(4, 4, ""), cases.Succeeded,
			cases.ReasonCompleted, 2 * time.Minute},
		{"accepted, then down", cases.DispatchAccepted, unable, cases.Failed,
			cases.ReasonPipelineUnreachable, 11 * time.Minute},
		{"accepted, then forgotten", cases.DispatchAccepted, unknown, cases.Failed,
			cases.ReasonPipelineLost, 11 * time.Minute},
		{"stuck", cases.DispatchAccepted, reading(1, 4, ""), cases.TimedOut, cases.ReasonDeadline, time.Hour},
		{"its status says failed", cases.DispatchAccepted, reading(1, 4, "failed"), cases.Failed,
			cases.ReasonPipelineFailed, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.pipe.dispatch, w.pipe.poll = outcome(test.dispatch), poll(test.poll)
			w.begin()
			w.run(2 * time.Hour)
			c := w.want(1, test.state, test.reason)
			if took := c.Outcome.EndedAt.Sub(c.CreatedAt); took > test.within {
				t.Errorf("took %v", took)
			}
			if w.queue.count(queue.Check)+w.queue.count(queue.Dispatch) != 0 {
				t.Error("tasks are left")
			}
			if !c.Bookkeeping.Finalized || len(w.topic.ended) != 1 || len(w.lines("progress checks ended")) != 1 {
				t.Errorf("told %d times, %d lines", len(w.topic.ended), len(w.lines("progress checks ended")))
			}
			polls := w.pipe.polls
			w.run(time.Hour)
			if w.pipe.polls != polls {
				t.Error("asked after the end")
			}
			if rep, err := w.Sweep(t.Context()); err != nil || rep != (reconcile.Report{}) {
				t.Errorf("a sweep in health found %+v, %v", rep, err)
			}
		})
	}
}

func TestStalledIsLoggedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(20 * time.Minute)
	if c := w.get(1); !c.Job.Stalled || len(w.lines("progress stalled")) != 1 {
		t.Errorf("stalled %v, %d lines", c.Job.Stalled, len(w.lines("progress stalled")))
	}
}

func TestLinesSayWhetherProgressMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(time.Minute) // the pipeline shows the same all the time
	if err := w.publish("a",
		`{"case_id":"c","run":1,"status":"running","progress":{"completed":1,"total":4}}`); err != nil {
		t.Fatal(err)
	}
	if err := w.publish("b",
		`{"case_id":"c","run":1,"status":"running","progress":{"completed":2,"total":4}}`); err != nil {
		t.Fatal(err)
	}
	for message, want := range map[string][]bool{
		"progress checked": {true}, "an event of the pipeline": {false, true},
	} {
		var moved []bool
		for _, line := range w.lines(message) {
			moved = append(moved, line["moved"] == true)
		}
		if len(moved) < len(want) || !slices.Equal(moved[:len(want)], want) ||
			slices.Contains(moved[len(want):], true) {
			t.Errorf("%s: moved %v, want %v and then nothing", message, moved, want)
		}
	}
}

// TestFailuresAreLoggedWithTheirCause: what went wrong with the pipeline is a warning that says so
// and why, and an answer is called one.
func TestFailuresAreLoggedWithTheirCause(t *testing.T) {
	t.Parallel()
	const cause = "dial tcp 10.0.0.7:8000: connect: connection refused"
	for kind, want := range map[cases.DispatchKind]string{
		cases.DispatchUnreachable: "WARNING dispatch failed", cases.DispatchUncertain: "WARNING dispatch failed",
		cases.DispatchBusy: "INFO the pipeline answered", cases.DispatchAccepted: "INFO the pipeline answered",
		cases.DispatchRefused:   "INFO the pipeline answered",
		cases.DispatchSucceeded: "INFO the pipeline answered", cases.DispatchFailed: "INFO the pipeline answered",
	} {
		for _, out := range []cases.DispatchOutcome{
			{Kind: kind, Message: "not reached", Cause: cause}, {Kind: kind, Message: "not reached"},
		} {
			w := newWorld(t)
			w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome { return out }
			w.begin()
			w.run(0)
			severity, message, _ := strings.Cut(want, " ")
			lines := slices.Concat(w.lines("dispatch failed"), w.lines("the pipeline answered"))
			if len(lines) != 1 || lines[0]["severity"] != severity || lines[0]["message"] != message ||
				lines[0]["outcome"] != string(kind) {
				t.Fatalf("%s: %v, want %s", kind, lines, want)
			}
			wantCause(t, lines[0], severity, out.Cause)
		}
	}
	for kind, want := range map[cases.CheckKind]string{
		cases.CheckFailed: "WARNING poll failed", cases.CheckBusy: "INFO progress checked",
		cases.CheckReading: "INFO progress checked", cases.CheckUnknown: "INFO progress checked",
	} {
		for _, found := range []cases.CheckOutcome{
			{Kind: kind, Message: "not reached", Cause: cause}, {Kind: kind, Message: "not reached"},
		} {
			w := newWorld(t)
			w.pipe.poll = func(string) cases.CheckOutcome { return found }
			w.begin()
			w.run(2 * time.Second)
			severity, message, _ := strings.Cut(want, " ")
			lines := slices.Concat(w.lines("poll failed"), w.lines("progress checked"))
			if len(lines) != 1 || lines[0]["severity"] != severity || lines[0]["message"] != message ||
				lines[0]["found"] != string(kind) {
				t.Fatalf("%s: %v, want %s", kind, lines, want)
			}
			wantCause(t, lines[0], severity, found.Cause)
		}
	}
}

// wantCause wants a line to say what it was told, a warning at least what people are.
func wantCause(t *testing.T, line map[string]any, severity, cause string) {
	t.Helper()
	var want any
	switch {
	case cause != "":
		want = cause
	case severity == "WARNING":
		want = "not reached"
	}
	if line["cause"] != want {
		t.Errorf("%v: the cause is not %v", line, want)
	}
}

func TestStaleDeliveries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(time.Minute)
	c, polls, jobs, created := w.get(1), w.pipe.polls, len(w.pipe.jobs), w.queue.created
	for _, seq := range []int64{c.Checks.Seq - 1, c.Checks.Seq - 2, 1} {
		if err := w.Check(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: seq}); err != nil {
			t.Errorf("check %d: %v", seq, err)
		}
	}
	if err := w.Dispatch(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: 1}, 0); err != nil {
		t.Error(err)
	}
	if w.pipe.polls != polls || len(w.pipe.jobs) != jobs ||
		w.queue.created != created || w.get(1).Version != c.Version {
		t.Error("a stale delivery asked or scheduled something")
	}
	for _, err := range []error{
		w.Check(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: c.Checks.Seq + 1}),
		w.Dispatch(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: 9}, 0),
	} {
		if kindOf(err) != fault.Unavailable {
			t.Error("a task ahead of its record is to come again:", err)
		}
	}
	for _, err := range []error{w.Check(t.Context(), queue.Body{CaseID: "x", Run: 1, Seq: 1}),
		w.Dispatch(t.Context(), queue.Body{CaseID: "c", Run: 2, Seq: 1}, 0)} {
		if kindOf(err) != fault.NotFound {
			t.Error(err)
		}
	}
}

func TestDispatchRedelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := queue.Body{CaseID: "c", Run: 1, Seq: 1}
	w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
		if err := w.Dispatch(t.Context(), body, 0); err != nil || w.get(1).Dispatch.Phase != cases.PhaseInFlight {
			t.Error("a duplicate of a delivery that runs:", err)
		}
		if err := w.Dispatch(t.Context(), body, 1); err != nil || w.get(1).Dispatch.Phase != cases.PhaseUncertain {
			t.Error("a later delivery means that this one is lost:", err)
		}
		return cases.DispatchOutcome{Kind: cases.DispatchSucceeded}
	}
	w.begin()
	w.deliver(0)
	w.want(1, cases.Succeeded, cases.ReasonCompleted)
	if len(w.pipe.jobs) != 1 {
		t.Errorf("sent %d times", len(w.pipe.jobs))
	}
}

func TestCrashBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	// Each store method fails once, before or after it took effect, at each of its calls; the queue's
	// deliveries and the sweep heal it.
	for _, method := range []string{"Get", "Update", "Value", "Begin", "Current"} {
		for n := 1; n <= 12; n++ {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %d after %v", method, n, after), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					done := 0
					w.pipe.poll = func(string) cases.CheckOutcome {
						if done++; done > 3 {
							return reading(4, 4, "succeeded")
						}
						return reading(done, 4, "")
					}
					if f := failing(method, n, n); after {
						w.store.after = f
					} else {
						w.store.before = f
					}
					req := reconcile.StartRequest{CaseID: "c", Form: []byte(`{}`), Key: "k"}
					if _, err := w.Start(t.Context(), req); err != nil {
						if kindOf(err) != fault.Unavailable {
							t.Fatal(err)
						}
						if _, err := w.Start(t.Context(), req); err != nil {
							t.Fatal("a repeat does not heal it:", err)
						}
					}
					for range 12 {
						w.run(time.Minute)
						if _, err := w.Sweep(t.Context()); err != nil && kindOf(err) != fault.Unavailable {
							t.Fatal(err)
						}
					}
					c := w.get(1)
					if !c.State.Ended() || !c.Bookkeeping.Finalized || len(w.pipe.jobs) > 1 || len(w.topic.ended) == 0 {
						t.Fatalf("%s %+v settled %v, %d starts, told %d times", c.State, c.Outcome.End,
							c.Bookkeeping.Finalized, len(w.pipe.jobs), len(w.topic.ended))
					}
					if c.Bookkeeping.PolledAfterEnd+c.Bookkeeping.Leaked != 0 {
						t.Error("asked after the end")
					}
				})
			}
		}
	}
}

func TestAnswerIsSavedWhenTheStoreComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
			w.store.mu.Lock()
			w.store.before = failing("Update", 1, 2)
			w.store.mu.Unlock()
			return cases.DispatchOutcome{Kind: cases.DispatchSucceeded}
		}
		w.begin()
		if _, err := w.deliver(0); err != nil {
			t.Fatal(err)
		}
		w.want(1, cases.Succeeded, cases.ReasonCompleted)

		// A request that ends while the store is down gives the answer up, after one more try.
		w = newWorld(t)
		w.begin()
		ctx, cancel := context.WithCancel(t.Context())
		w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
			cancel()
			w.store.mu.Lock()
			w.store.before = failing("Update", 1, 1)
			w.store.mu.Unlock()
			return cases.DispatchOutcome{Kind: cases.DispatchSucceeded}
		}
		if err := w.Dispatch(ctx, queue.Body{CaseID: "c", Run: 1, Seq: 1}, 0); kindOf(err) != fault.Unavailable {
			t.Fatal(err)
		}
		if w.get(1).Dispatch.Phase != cases.PhaseInFlight ||
			len(w.lines("the pipeline's answer was lost; checks will find the outcome")) != 1 {
			t.Error("the loss is not on record")
		}
		ctx, cancel = context.WithCancel(t.Context())
		w = newWorld(t)
		w.begin()
		w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
			cancel()
			return cases.DispatchOutcome{Kind: cases.DispatchSucceeded}
		}
		if err := w.Dispatch(ctx, queue.Body{CaseID: "c", Run: 1, Seq: 1}, 0); err != nil {
			t.Fatal("an answer was lost to the end of its request:", err)
		}
		w.want(1, cases.Succeeded, cases.ReasonCompleted)
	})
}

func TestMarkIsSavedWhenTheStoreComesBack(t *testing.T) {
	t.Parallel()
	const outage = 20 * time.Second
	for _, after := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			back := time.Now().Add(outage)
			f := func(called string) error {
				if called == "Update" && time.Now().Before(back) {
					return errDown
				}
				return nil
			}
			if w.store.before = f; after {
				w.store.before, w.store.after = nil, f
			}
			if _, err := w.deliver(0); err != nil || len(w.pipe.jobs) != 1 || w.get(1).State != cases.Running {
				t.Errorf("after %v: %v, sent %d times, %s", after, err, len(w.pipe.jobs), w.get(1).State)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begin()
		w.store.before = failing("Update", 1, 1000)
		begun := time.Now()
		if _, err := w.deliver(0); kindOf(err) != fault.Unavailable || len(w.pipe.jobs) != 0 {
			t.Error("sent without its mark:", err)
		}
		if took := time.Since(begun); took > time.Minute {
			t.Error("gives up only after", took)
		}
	})
}

// Who delivered the task has gone before the mark is known to be saved: no mark may be left for a
// request that nobody sends.
func TestMarkIsSavedWhenNobodyWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	ctx, cancel := context.WithCancel(t.Context())
	w.store.after = func(called string) error {
		if called == "Update" && ctx.Err() == nil {
			cancel()
			return errDown
		}
		return nil
	}
	if err := w.Dispatch(ctx, queue.Body{CaseID: "c", Run: 1, Seq: 1}, 0); err != nil || len(w.pipe.jobs) != 1 {
		t.Errorf("%v, sent %d times", err, len(w.pipe.jobs))
	}
}

// The save of the answer that ends the run took effect, and seemed to fail: whoever saved it still tells the end.
func TestAnswerIsToldWhoseSaveSeemedToFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for kind, state := range map[cases.DispatchKind]cases.State{
			cases.DispatchRefused: cases.Failed, cases.DispatchSucceeded: cases.Succeeded,
		} {
			w := newWorld(t)
			w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome { return cases.DispatchOutcome{Kind: kind} }
			w.begin()
			w.store.after = failing("Update", 2, 2)
			_, err := w.deliver(0)
			if err != nil || w.get(1).State != state || len(w.topic.ended) != 1 || !w.get(1).Bookkeeping.Finalized {
				t.Errorf("%s: %v, %s, told %d times", kind, err, w.get(1).State, len(w.topic.ended))
			}
		}
	})
}

// TestEndDeletesADispatchThatIsNotNeeded: an event says that the run works while its next dispatch
// is pending, and another how it ended.
func TestEndDeletesADispatchThatIsNotNeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
		return cases.DispatchOutcome{Kind: cases.DispatchBusy, RetryAfter: time.Minute}
	}
	w.begin()
	w.run(0)
	if n := w.queue.count(queue.Dispatch); n != 1 {
		t.Fatalf("%d dispatches are pending", n)
	}
	for _, status := range []string{"running", "succeeded"} {
		if err := w.publish(status, `{"case_id":"c","run":1,"status":"`+status+`"}`); err != nil {
			t.Fatal(err)
		}
	}
	w.want(1, cases.Succeeded, cases.ReasonCompleted)
	if n := w.queue.count(queue.Dispatch); n != 0 {
		t.Errorf("%d dispatches are pending after the end", n)
	}
}

func TestDispatchBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
		return cases.DispatchOutcome{Kind: cases.DispatchBusy}
	}
	w.begin()
	w.deliver(0)
	w.queue.purge()
	clear(w.queue.taken) // as if the one that follows had never been created
	body := queue.Body{CaseID: "c", Run: 1, Seq: 1}
	if err := w.Dispatch(t.Context(), body, 0); err != nil || w.queue.count(queue.Dispatch) != 1 {
		t.Error("one behind makes sure that the next exists:", err)
	}
	w.run(10 * time.Second)
	jobs, created := len(w.pipe.jobs), w.queue.created
	if err := w.Dispatch(t.Context(), body, 0); err != nil || len(w.pipe.jobs) != jobs || w.queue.created != created {
		t.Error("further behind does nothing:", err)
	}
	w.queue.setDown(true)
	w.pass(time.Minute)
	if err := w.Dispatch(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: w.get(1).Dispatch.Seq - 1},
		0); kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
}

func TestFormCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.store.before = failing("Value", 1, 1)
	if _, err := w.deliver(0); kindOf(err) != fault.Unavailable || len(w.pipe.jobs) != 0 {
		t.Fatal("sent without its form:", err)
	}
	w.run(time.Minute)
	if c := w.get(1); len(w.pipe.jobs) != 1 || c.State != cases.Running {
		t.Error("the redelivery did not send it", c.State)
	}
}

func TestQueueDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.queue.setDown(true)
	_, err := w.Start(t.Context(), reconcile.StartRequest{CaseID: "c", Form: []byte(`{}`)})
	if kindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "recorded but not yet queued") {
		t.Fatal(err)
	}
	w.queue.setDown(false)
	answer, err := w.Start(t.Context(), reconcile.StartRequest{CaseID: "c", Form: []byte(`{}`), Supersede: true})
	if err != nil || answer.Begun || answer.Case.Run != 1 || w.queue.count(queue.Dispatch) != 1 {
		t.Fatalf("a repeat did not heal it: %+v %v", answer, err)
	}
	w.deliver(0)
	w.queue.setDown(true)
	if _, err := w.deliver(time.Minute); kindOf(err) != fault.Unavailable {
		t.Fatal("a check whose next cannot be scheduled is to come again:", err)
	}
	w.queue.setDown(false)
	polls := w.pipe.polls
	if _, err := w.deliver(time.Minute); err != nil || w.pipe.polls != polls || w.queue.count(queue.Check) != 1 {
		t.Errorf("the repeated delivery only makes sure that the next exists: %v, %d", err, w.queue.count(queue.Check))
	}
	w.queue.setDown(true)
	if _, err := w.Cancel(t.Context(), "c", 0); err != nil {
		t.Fatal("an end that is recorded is an end:", err)
	}
	if c := w.get(1); c.Bookkeeping.Finalized || c.State != cases.Cancelled {
		t.Error("not settled is not to be said settled")
	}
	w.pass(time.Minute)
	if rep, err := w.Sweep(t.Context()); kindOf(err) != fault.Unavailable || rep.Republished != 0 {
		t.Errorf("%+v %v", rep, err)
	}
	w.queue.setDown(false)
	rep, err := w.Sweep(t.Context())
	if err != nil || rep.Republished != 1 || rep.Leaked != 1 || len(w.topic.ended) != 1 {
		t.Errorf("%+v %v", rep, err)
	}
	if rep, err = w.Sweep(t.Context()); err != nil || rep != (reconcile.Report{}) {
		t.Errorf("%+v %v", rep, err)
	}
}

func TestTopicDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.topic.down = true
	if err := w.publish("m", `{"case_id":"c","run":1,"status":"failed"}`); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Second)
	if err := w.publish("m", `{"case_id":"c","run":1,"status":"failed"}`); kindOf(err) != fault.Unavailable {
		t.Fatal(err)
	}
	w.topic.down = false
	if err := w.publish("m", `{"case_id":"c","run":1,"status":"failed"}`); err != nil || len(w.topic.ended) != 1 ||
		w.get(1).Outcome.Late != nil {
		t.Fatal("a redelivered event did not tell the end:", err)
	}
	w.topic.down = true
	if err := w.publish("n", `[]`); kindOf(err) != fault.Unavailable {
		t.Error("an invalid event that cannot be forwarded is to come again:", err)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.deliver(0)
	for _, test := range []struct{ id, data string }{
		{"bad", `{"case_id":"c","status":"what"}`}, {"unknown", `{"case_id":"nobody","status":"failed"}`},
		{"no run", `{"case_id":"c","run":7,"status":"failed"}`},
	} {
		if err := w.publish(test.id, test.data); err != nil {
			t.Errorf("%s: %v", test.id, err)
		}
	}
	if len(w.topic.invalid) != 1 || w.get(1).State.Ended() {
		t.Errorf("%v", w.topic.invalid)
	}
	if err := w.publish("p", `{"case_id":"c","status":"running","progress":{"completed":7,"total":9}}`); err != nil ||
		w.get(1).Job.Progress.Completed != 7 {
		t.Error(err, w.get(1).Job.Progress)
	}
	if err := w.publish("e", `{"case_id":"c","status":"failed","error":{"code":"E","message":"broke"}}`); err != nil {
		t.Error(err)
	}
	if c := w.want(1, cases.Failed, cases.ReasonPipelineFailed); c.Outcome.End.Message != "broke" {
		t.Errorf("%+v", c.Outcome.End)
	}
	for range 3 {
		if err := w.publish("e", `{"case_id":"c","status":"failed"}`); err != nil {
			t.Error(err)
		}
	}
	if err := w.publish("late", `{"case_id":"c","run":1,"status":"succeeded","result":{"n":"\u0000"}}`); err != nil {
		t.Error(err)
	}
	s, err := w.Read(t.Context(), "c", 1)
	view := s.View
	if err != nil || view.Late == nil || view.Late.Count != 1 || string(view.Late.Result) != `{"n":"\u0000"}` ||
		view.State != cases.Failed {
		t.Errorf("%+v %v", view.Late, err)
	}
}

func TestLateEventDuringARerun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begin()
		w.run(2 * time.Hour)
		w.want(1, cases.TimedOut, cases.ReasonDeadline)
		second := w.begin()
		if second.Run != 2 {
			t.Fatal(second.Run)
		}
		w.deliver(0)
		if err := w.publish("late", `{"case_id":"c","status":"succeeded","result":{"success":true}}`); err != nil {
			t.Fatal(err)
		}
		if w.get(2).State.Ended() || w.get(2).Outcome.Late != nil || w.get(1).Outcome.Late == nil {
			t.Errorf("run 2: %s %v, run 1: %v", w.get(2).State, w.get(2).Outcome.Late, w.get(1).Outcome.Late)
		}
		err := w.publish("own", `{"case_id":"c","run":2,"status":"succeeded","result":{"success":true}}`)
		if err != nil {
			t.Fatal(err)
		}
		w.want(2, cases.Succeeded, cases.ReasonCompleted)
		// After that an event without a run may be of either: it is late of the newer, and fills in nothing.
		if err := w.publish("more", `{"case_id":"c","status":"failed"}`); err != nil || w.get(2).Outcome.Late == nil {
			t.Error(err, w.get(2).Outcome.Late)
		}
		// One from before the first run is nobody's.
		if err := w.Complete(t.Context(), reconcile.Message{
			ID: "old", Published: epoch.Add(-time.Hour), Data: []byte(`{"case_id":"c","status":"failed"}`),
		}); err != nil {
			t.Error(err)
		}
		if w.get(1).Outcome.Late.Count != 1 {
			t.Error("an event from before the run was counted")
		}
	})
}

func TestRerunAfterItsOwnWordTakesUnnamedEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.deliver(0)
	before := w.clock()
	if err := w.publish("1", `{"case_id":"c","status":"failed"}`); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Second)
	w.begin()
	// Not sent yet: a repeated report cannot be about it.
	if err := w.publish("2", `{"case_id":"c","status":"failed"}`); err != nil || w.get(2).State.Ended() ||
		w.get(1).Outcome.Late == nil {
		t.Error(err, w.get(2).State)
	}
	w.deliver(0)
	if err := w.Complete(t.Context(), reconcile.Message{
		ID: "3", Published: before, Data: []byte(`{"case_id":"c","status":"failed"}`),
	}); err != nil || w.get(2).State.Ended() {
		t.Error("published before the run began:", err)
	}
	if err := w.publish("4", `{"case_id":"c","status":"succeeded"}`); err != nil {
		t.Fatal(err)
	}
	w.want(2, cases.Succeeded, cases.ReasonCompleted)
}

func TestStartOften(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	begun := make(chan bool, 50)
	for range 50 {
		wg.Go(func() {
			answer, err := w.Start(t.Context(), reconcile.StartRequest{CaseID: "c", Form: []byte(`{}`)})
			if err != nil || answer.Case.Run != 1 {
				t.Errorf("run %d, %v", answer.Case.Run, err)
			}
			begun <- answer.Begun
		})
	}
	wg.Wait()
	close(begun)
	n := 0
	for b := range begun {
		if b {
			n++
		}
	}
	if n != 1 || w.queue.count(queue.Dispatch) != 1 || w.queue.count(queue.Check) != 1 {
		t.Errorf("%d began, %d dispatches, %d checks", n, w.queue.count(queue.Dispatch), w.queue.count(queue.Check))
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := func(key, form string, supersede bool) (reconcile.StartAnswer, error) {
		return w.Start(t.Context(),
			reconcile.StartRequest{CaseID: "c", Form: []byte(form), Key: key, Supersede: supersede})
	}
	if a, err := start("k1", `{}`, false); err != nil || !a.Begun {
		t.Fatal(a, err)
	}
	w.run(10 * time.Second)
	if a, err := start("k1", `{}`, true); err != nil || a.Begun || a.Case.Run != 1 || !a.Current {
		t.Errorf("the key means its run, whatever else is asked: %+v %v", a, err)
	}
	if _, err := start("k1", `{"b":2}`, false); kindOf(err) != fault.Unprocessable {
		t.Error(err)
	}
	if a, err := start("k2", `{}`, true); err != nil || !a.Begun || a.Case.Run != 2 {
		t.Fatal(a, err)
	}
	if a, err := start("k1", `{}`, true); err != nil || a.Begun || a.Case.Run != 1 || a.Current {
		t.Errorf("%+v %v", a, err)
	}
	w.want(1, cases.Cancelled, cases.ReasonSuperseded)
	if !w.get(1).Bookkeeping.Finalized || len(w.topic.ended) != 1 {
		t.Error("the superseded run is not told")
	}
	w.run(2 * time.Hour)
	if a, err := start("k2", `{}`, false); err != nil || a.Begun || a.Case.Run != 2 {
		t.Errorf("the key of an ended run: %+v %v", a, err)
	}
	// A key whose run is gone means nothing any more.
	w.pass(w.rules.Retention + time.Hour)
	if rep, err := w.Sweep(t.Context()); err != nil || rep.Purged != 2 {
		t.Fatal(rep, err)
	}
	if a, err := start("k2", `{"c":3}`, false); err != nil || !a.Begun || a.Case.Run != 1 {
		t.Errorf("%+v %v", a, err)
	}
}

func TestSupersedeAndAdopt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(10 * time.Second)
	a, err := w.Start(t.Context(),
		reconcile.StartRequest{CaseID: "c", Form: []byte(`{}`), Supersede: true, Adopt: true})
	if err != nil || a.Case.Run != 2 || a.Case.Dispatch.Phase != cases.PhaseNone {
		t.Fatal(a, err)
	}
	if a, err = w.Start(t.Context(), reconcile.StartRequest{CaseID: "c", Form: []byte(`{}`)}); err != nil || a.Begun {
		t.Error("an open run is kept:", a, err)
	}
	w.pipe.poll = func(string) cases.CheckOutcome { return reading(4, 4, "succeeded") }
	w.run(time.Minute)
	w.want(2, cases.Succeeded, cases.ReasonCompleted)
	if len(w.pipe.jobs) != 1 {
		t.Error("an adopted run was sent")
	}
	// Superseding while the topic is down still begins the new run.
	w.begin()
	w.run(10 * time.Second)
	w.topic.down = true
	if a, err = w.Start(t.Context(), reconcile.StartRequest{
		CaseID: "c", Form: []byte(`{}`), Supersede: true,
	}); err != nil || a.Case.Run != 4 {
		t.Error(a, err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.Cancel(t.Context(), "c", 0); kindOf(err) != fault.NotFound {
		t.Error(err)
	}
	w.begin()
	w.run(10 * time.Second)
	for range 2 {
		if v, err := w.Cancel(t.Context(), "c", 1); err != nil || v.State != cases.Cancelled {
			t.Fatal(v.State, err)
		}
	}
	if w.queue.count(queue.Check) != 0 || len(w.topic.ended) != 1 {
		t.Error("not settled")
	}
	w.begin()
	w.deliver(0)
	if _, err := w.Cancel(t.Context(), "c", 1); err != nil {
		t.Error("it was cancelled before:", err)
	}
	if _, err := w.Cancel(t.Context(), "c", 3); kindOf(err) != fault.Conflict {
		t.Error(err)
	}
	if err := w.publish("m", `{"case_id":"c","run":2,"status":"failed"}`); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Cancel(t.Context(), "c", 0); kindOf(err) != fault.Conflict {
		t.Error(err)
	}
	w.begin()
	if _, err := w.Cancel(t.Context(), "c", 2); kindOf(err) != fault.Conflict {
		t.Error(err)
	}
	// Cancelled before it was sent: its dispatch is deleted, and nothing was ever started.
	jobs := len(w.pipe.jobs)
	if _, err := w.Cancel(t.Context(), "c", 3); err != nil || w.queue.count(queue.Dispatch) != 0 {
		t.Error(err)
	}
	w.run(time.Hour)
	if len(w.pipe.jobs) != jobs {
		t.Error("a cancelled run was sent")
	}
}

// before makes a queue do something before it creates a task.
type before struct {
	*fakeQueue
	create func(t queue.Task) error
}

func (q *before) Create(ctx context.Context, t queue.Task) (bool, error) {
	if err := q.create(t); err != nil {
		return false, err
	}
	return q.fakeQueue.Create(ctx, t)
}

func TestRepeatedSupersedeMeansTheRunOfItsFirstTry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(10 * time.Second)
	down := true
	w.deps.Queue = &before{w.queue, func(task queue.Task) error {
		if down && task.Kind == queue.Check && task.Run == 2 {
			return errDown
		}
		return nil
	}}
	w.rebuild()
	req := reconcile.StartRequest{CaseID: "c", Form: []byte(`{"a":2}`), Supersede: true}
	if _, err := w.Start(t.Context(), req); kindOf(err) != fault.Unavailable {
		t.Fatal(err)
	}
	w.deliver(0) // its dispatch was queued, and goes out
	down = false
	if a, err := w.Start(t.Context(), req); err != nil || a.Case.Run != 2 || len(w.pipe.jobs) != 2 {
		t.Errorf("run %d, %v, sent %d times", a.Case.Run, err, len(w.pipe.jobs))
	}
}

func TestDeliveryThatLosesTheRaceStillArms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.deliver(0)
	down, first := false, true
	w.deps.Queue = &before{w.queue, func(queue.Task) error {
		if down {
			return errDown
		}
		return nil
	}}
	w.rebuild()
	body := queue.Body{CaseID: "c", Run: 1, Seq: w.get(1).Checks.Seq}
	w.pipe.poll = func(string) cases.CheckOutcome {
		if first {
			first, down = false, true
			if err := w.Check(t.Context(), body); kindOf(err) != fault.Unavailable { // it saves, and cannot schedule
				t.Error(err)
			}
			down = false
		}
		return reading(1, 4, "")
	}
	w.queue.purge()
	if err := w.Check(t.Context(), body); err != nil || w.queue.count(queue.Check) != 1 ||
		w.get(1).Checks.Seq != body.Seq+1 {
		t.Errorf("%v, %d checks pend", err, w.queue.count(queue.Check))
	}
}

func TestEndThatSeemedNotSavedIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		once := func() func(string) error { return failing("Update", 1, 1) }
		result := `{"case_id":"c","status":"succeeded","result":{"success":true}}`

		w := newWorld(t) // by a check
		w.begin()
		w.deliver(0)
		w.pipe.poll = func(string) cases.CheckOutcome { return reading(4, 4, "succeeded") }
		w.store.after = once()
		if _, err := w.deliver(time.Minute); kindOf(err) != fault.Unavailable {
			t.Fatal(err)
		}
		w.run(time.Minute)
		if len(w.topic.ended) != 1 {
			t.Errorf("by a check: told %d times", len(w.topic.ended))
		}

		w = newWorld(t) // by an event
		w.begin()
		w.deliver(0)
		w.store.after = once()
		if err := w.publish("m", result); kindOf(err) != fault.Unavailable {
			t.Fatal(err)
		}
		w.pass(time.Second)
		if err := w.publish("m", result); err != nil || len(w.topic.ended) != 1 {
			t.Errorf("by an event: %v, told %d times", err, len(w.topic.ended))
		}

		w = newWorld(t) // by the answer
		w.begin()
		w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
			w.store.mu.Lock()
			w.store.after = once()
			w.store.mu.Unlock()
			return cases.DispatchOutcome{Kind: cases.DispatchSucceeded}
		}
		if _, err := w.deliver(0); err != nil || len(w.topic.ended) != 1 {
			t.Errorf("by the answer: %v, told %d times", err, len(w.topic.ended))
		}
		lines := w.lines("progress checks ended")
		if len(lines) != 1 || lines[0]["time"] != w.get(1).Outcome.EndedAt.Format(time.RFC3339Nano) {
			t.Errorf("%v", lines)
		}
	})
}
