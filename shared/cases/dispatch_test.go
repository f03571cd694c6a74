package cases_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/casewatch/casewatch/shared/cases"
)

func TestPipelineThatIsNeverReachedFailsTheRun(t *testing.T) {
	l := begin(rules, nil)
	first := l.now
	var waits []time.Duration
	for !l.c.State.Ended() {
		l.now = later(l.now, l.c.Dispatch.At)
		l.do(0, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: fmt.Sprint(l.c.Dispatch.Seq)})
		l.do(0, DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: DispatchUnreachable, Message: "refused"})
		waits = append(waits, l.c.Dispatch.At.Sub(l.now))
	}
	l.want(t, Failed, ReasonPipelineUnreachable, SourceDispatch)
	if got := l.c.Outcome.EndedAt.Sub(first); got != rules.UnreachableAfter {
		t.Errorf("ended after %v", got)
	}
	if want := []time.Duration{
		time.Second,
		1500 * time.Millisecond,
		3 * time.Second,
		6 * time.Second,
		12 * time.Second,
		22500 * time.Millisecond,
		22500 * time.Millisecond,
	}; !cmp.Equal(waits[:7], want) {
		t.Errorf("backed off %v, want %v", waits[:7], want)
	}
	if !l.c.Outcome.Reported || l.c.Checks.Polls != 0 {
		t.Error("a run that was never sent has nothing to report, and nothing to poll")
	}
}

func TestBusyPipelineEndsTheRunOnlyAtTheDeadline(t *testing.T) {
	l := begin(rules, nil)
	for n := 0; !l.c.State.Ended(); n++ {
		l.now = later(l.now, l.c.Dispatch.At)
		l.do(0, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: fmt.Sprint(l.c.Dispatch.Seq)})
		l.do(0, DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: DispatchBusy, RetryAfter: 90 * time.Second})
		if wait := l.c.Dispatch.At.Sub(l.now); !l.c.State.Ended() && wait != 90*time.Second &&
			!l.c.Dispatch.At.Equal(l.c.DeadlineAt) {
			t.Fatalf("did not respect Retry-After: %v", wait)
		}
	}
	l.want(t, TimedOut, ReasonDeadline, SourceDeadline)
	if !l.c.Outcome.EndedAt.Equal(l.c.DeadlineAt) {
		t.Error("ended at", l.c.Outcome.EndedAt)
	}
}

func TestOnlyConsecutiveFailuresEndTheRun(t *testing.T) {
	l := begin(rules, nil).inFlight().outcome(DispatchUnreachable)
	l.do(9*time.Minute, DispatchBegun{Seq: 2, Nonce: "2"}).outcome(DispatchBusy) // it was reached
	l.do(2*time.Minute, DispatchBegun{Seq: 3, Nonce: "3"}).outcome(DispatchUnreachable)
	if l.c.State.Ended() {
		t.Fatal("a busy answer did not reset the failure")
	}
	l = accepted(rules)
	l.poll(failed, 9*time.Minute)
	l.read(l.c.Checks.NextAt.Sub(l.now), 1, 4)
	l.poll(failed, 9*time.Minute)
	if l.c.State.Ended() {
		t.Fatal("a poll that succeeded did not reset the failure")
	}
	l.poll(failed, 2*time.Minute)
	l.want(t, Failed, ReasonPipelineUnreachable, SourceCheck)
	if l.c.Checks.FailedPolls < 20 || l.c.Checks.Polls != l.c.Checks.FailedPolls+1 ||
		l.c.Outcome.End.Message != "connection refused" {
		t.Errorf("%+v %+v", l.c.Checks, l.c.Outcome.End)
	}
}

func TestAnswerEndsAStreakOfFailures(t *testing.T) {
	busy := begin(rules, nil).inFlight().do(time.Second, failed).outcome(DispatchBusy)
	busy.do(12*time.Minute, DispatchBegun{Seq: 2, Nonce: "n"}).outcome(DispatchAccepted)
	held := begin(rules, nil).inFlight().do(time.Second, failed)
	held.do(12*time.Minute, DispatchOutcome{Nonce: "n1", Kind: DispatchAccepted})
	for name, l := range map[string]*life{"429s, then 202": busy, "202 after minutes": held} {
		if l.do(2*time.Second, failed); l.c.State.Ended() {
			t.Errorf("%s, and one failed poll: %+v", name, l.c.Outcome.End)
		}
	}
	l := begin(idempotent, nil).inFlight().outcome(DispatchUnreachable).inFlight().
		outcome(DispatchUncertain) // it answered, with a 500
	l.poll(unknown, rules.StartGrace+10*time.Second)
	l.do(11*time.Minute, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: "z"}).outcome(DispatchUnreachable)
	if l.c.State.Ended() {
		t.Errorf("unreachable, though it answered in between: %+v", l.c.Outcome.End)
	}
}

func TestUncertainStartEndsAfterItsGrace(t *testing.T) {
	l := begin(rules, nil).inFlight().outcome(DispatchUncertain)
	at := l.now
	l.poll(unknown, time.Hour)
	l.want(t, Failed, ReasonStartUnknown, SourceCheck)
	if after := l.c.Outcome.EndedAt.Sub(at); after < rules.StartGrace ||
		after > rules.StartGrace+2*rules.CheckMinInterval {
		t.Errorf("ended after %v", after)
	}

	l = begin(rules, nil).inFlight().outcome(DispatchUncertain).read(time.Second, 1, 4)
	if l.c.State != Running || !l.c.Job.Seen {
		t.Error("a reading shows that it was started")
	}

	l = begin(idempotent, nil).inFlight().outcome(DispatchUncertain)
	l.poll(unknown, rules.StartGrace+10*time.Second)
	if d := l.c.Dispatch; d.Phase != PhaseQueued || d.Seq != 2 || d.Attempts != 1 {
		t.Fatalf("not dispatched again: %+v", d)
	}
	if !rules.ShouldPoll(l.c, l.now) {
		t.Error("the first attempt may still show up: poll for it")
	}
	l.inFlight()
	if l.c.Dispatch.Attempts != 2 {
		t.Error("two attempts may have arrived")
	}
	l.do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchAccepted})
	if l.c.Dispatch.Phase != PhaseInFlight || l.c.State != Running {
		t.Error("the first attempt's answer counts, and leaves the second one open")
	}
}

func TestLostAttemptIsNotRepeated(t *testing.T) {
	l := begin(rules, nil).inFlight()
	if l.do(time.Second, DispatchBegun{Seq: 1, Nonce: "x", RetryCount: 0}); l.v.Kind != Stale {
		t.Error("a duplicate of an open delivery counted:", l.v.Kind)
	}
	l.do(time.Second, DispatchBegun{Seq: 1, Nonce: "y", RetryCount: 1})
	if l.c.Dispatch.Phase != PhaseUncertain || l.c.Dispatch.Nonce != "n1" {
		t.Fatalf("%+v", l.c.Dispatch)
	}
	l.do(time.Minute, DispatchOutcome{Nonce: "n1", Kind: DispatchSucceeded, Result: result(t, `{"success":true}`)})
	l.want(t, Succeeded, ReasonCompleted, SourceDispatch)
	if l.do(0, DispatchOutcome{
		Nonce:  "n1",
		Kind:   DispatchSucceeded,
		Result: result(t, `{"success":true}`),
	}); l.v.Kind != Duplicate {
		t.Error("saving the same answer again:", l.v.Kind)
	}
}

func TestFewThingsEndARunWhoseRequestIsInFlight(t *testing.T) {
	l := begin(rules, nil).inFlight().read(time.Second, 4, 4)
	l.poll(unknown, 12*time.Minute)
	l.poll(failed, 12*time.Minute)
	if l.c.State.Ended() {
		t.Fatal("ended while its dispatch was open", l.c.Outcome.End)
	}
	l.poll(failed, 10*time.Minute) // PipelineTimeout passes: only now do failures count
	if l.c.Dispatch.Phase != PhaseUncertain {
		t.Fatal("an open dispatch is open for ever")
	}
	l.poll(failed, time.Hour)
	l.want(t, Failed, ReasonPipelineUnreachable, SourceCheck)
	if d := l.c.Outcome.EndedAt.Sub(l.c.Dispatch.UncertainSince); d < rules.UnreachableAfter {
		t.Errorf("failures while it was open counted: %v", d)
	}
}

// What was counted before a request was sent again does not end the run while that request may be
// answered.
func TestRequestInFlightOutlivesAnOldCount(t *testing.T) {
	l := begin(idempotent, nil).inFlight().outcome(DispatchUncertain)
	l.poll(unknown, rules.StartGrace+10*time.Second)
	if l.read(time.Second, 4, 4); l.c.Dispatch.Phase != PhaseQueued || l.c.Job.CompleteSince.IsZero() {
		t.Fatalf("%s", dump(l.c))
	}
	l.inFlight().poll(CheckOutcome{Kind: CheckFailed}, rules.CompletionGrace+time.Minute)
	if l.c.State != Running {
		t.Errorf("%s", dump(l.c))
	}
	if l.outcome(DispatchSucceeded); l.c.Outcome.End.Source != SourceDispatch {
		t.Errorf("%+v", l.c.Outcome.End)
	}
}

func TestConfirmedRunIsNotSentAgain(t *testing.T) {
	for name, x := range map[string]struct {
		*life
		phase Phase
	}{
		"event, then busy": {
			begin(rules, nil).inFlight().do(0, Event{ID: "r", Status: "running"}).outcome(DispatchBusy),
			PhaseUncertain,
		},
		"event, then unreachable": {
			begin(rules, nil).inFlight().do(0, Event{ID: "r", Status: "running"}).outcome(DispatchUnreachable),
			PhaseAnswered,
		},
		"busy, then event": {
			begin(rules, nil).inFlight().outcome(DispatchBusy).do(0, Event{ID: "r", Status: "running"}),
			PhaseAnswered,
		},
	} {
		l := x.life
		l.do(2*time.Second, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: "second"})
		if l.v.Kind != Stale || l.c.Dispatch.Phase != x.phase {
			t.Errorf("%s: %s, %+v", name, l.v.Kind, l.c.Dispatch)
		}
		if l.do(0, Cancel{}); l.c.Outcome.Reported {
			t.Errorf("%s: its report is still to come", name)
		}
	}
}

func TestWhatWasSeenIsForgottenWhenNothingWasStarted(t *testing.T) {
	l := begin(rules, nil).inFlight().outcome(DispatchBusy)
	l.do(0, CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 4, Total: 4, Status: "succeeded"}})
	if l.c.State != Pending || l.c.Job.Progress.Total != 0 {
		t.Errorf("a reading of something else counted: %s", dump(l.c))
	}
	// A false reading while it was open does not keep the run from being sent.
	l = begin(rules, nil).inFlight().read(0, 1, 4).outcome(DispatchUnreachable)
	if l.c.Job.Seen || l.c.Dispatch.Phase != PhaseQueued || l.c.Dispatch.Attempts != 0 {
		t.Errorf("%+v", l.c.Dispatch)
	}
	// An event that says it runs does: sending it again would start it twice.
	l = begin(rules, nil).do(0, Event{ID: "e", Status: "running"})
	if l.c.Dispatch.Phase != PhaseAnswered || l.do(0, DispatchBegun{Seq: 1, Nonce: "n"}).v.Kind != Stale {
		t.Errorf("%+v", l.c.Dispatch)
	}
}

func TestCountsAreForgottenWhenNothingWasStarted(t *testing.T) {
	l := begin(rules, nil).inFlight().do(time.Second, DispatchBegun{Seq: 1, Nonce: "r", RetryCount: 1})
	l.read(time.Second, 4, 4).do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchUnreachable})
	if l.do(40*time.Second, CheckOutcome{Kind: CheckSkipped}); l.c.State.Ended() {
		t.Errorf("%+v", l.c.Outcome.End)
	}
}

// What was seen while nothing was started is of another run, and tells nothing when the run is sent
// again.
func TestWhatWasSeenIsTheBaselineWhenNothingWasStarted(t *testing.T) {
	first := accepted(rules).read(time.Second, 3, 10).do(time.Second, Cancel{})
	l := begin(rules, &first.c).inFlight().read(time.Second, 5, 10).later429(t, false).inFlight().
		outcome(DispatchAccepted)
	l.poll(shows(10, 10, ""), 10*time.Minute) // run 1 gets done
	if l.c.State != Running {
		t.Errorf("run 2 ended with the work of run 1: %s", dump(l.c))
	}
}

// Busy means that nothing was started, whatever else the answer says, unless progress of this run
// was seen since its request was sent. Then it is never sent again: an answer that says failed is a
// terminal report, and without one checks find out.
func TestBusyAnswerSendsAgainUnlessSeenAtWork(t *testing.T) {
	open := func() *life { return begin(rules, nil).inFlight() }
	reported := accepted(rules).read(time.Second, 3, 4).do(time.Second, Event{ID: "e", Status: "failed"})
	cancelled := accepted(rules).read(time.Second, 3, 4).do(time.Second, Cancel{})
	rerun := func(prior *life) *life { return begin(rules, &prior.c).inFlight() }
	again := func() *life {
		l := begin(idempotent, nil).inFlight().outcome(DispatchUncertain)
		l.poll(unknown, rules.StartGrace+10*time.Second)
		return l.inFlight() // the second attempt
	}
	for name, x := range map[string]struct {
		l    func() *life
		seen bool
	}{
		"nothing was seen":           {open, false},
		"it was unknown":             {func() *life { return open().do(time.Second, unknown) }, false},
		"polls failed":               {func() *life { return open().do(time.Second, failed) }, false},
		"polls were answered 429":    {func() *life { return open().do(time.Second, busy(0)) }, false},
		"a poll showed progress":     {func() *life { return open().read(time.Second, 1, 4) }, true},
		"a poll showed nothing done": {func() *life { return open().read(time.Second, 0, 4) }, true},
		"a poll showed a status": {
			func() *life { return open().do(time.Second, shows(0, 0, "running")) },
			true,
		},
		"a poll showed all done": {func() *life { return open().read(time.Second, 4, 4) }, true},
		"a poll, and then it was unknown": {
			func() *life { return open().read(time.Second, 1, 4).do(time.Second, unknown) },
			true,
		},
		"an event said so": {
			func() *life { return open().do(time.Second, running("e", nil)) },
			true,
		},
		"what the run before left":         {func() *life { return rerun(reported).read(time.Second, 3, 4) }, false},
		"the completion of the run before": {func() *life { return rerun(reported).read(time.Second, 4, 4) }, false},
		"a rerun's own progress":           {func() *life { return rerun(reported).read(time.Second, 1, 4) }, true},
		"the run before may still be at work": {
			func() *life { return rerun(cancelled).read(time.Second, 4, 5) },
			false,
		},
		"an event names the rerun": {
			func() *life { return rerun(cancelled).do(time.Second, running("e", nil)) },
			true,
		},
		"an attempt before was accepted": {
			func() *life { return again().do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchAccepted}) },
			true,
		},
		"no attempt before shows": {again, false},
	} {
		for _, saysFailed := range []bool{false, true} {
			l := x.l()
			seq := l.c.Dispatch.Seq
			l.later429(t, saysFailed)
			d := l.c.Dispatch
			switch {
			case !x.seen:
				if l.c.State.Ended() || d.Phase != PhaseQueued || d.Seq != seq+1 || l.c.Job.Seen {
					t.Errorf("%s, failed %v: it is not sent again: %s", name, saysFailed, dump(l.c))
				}
			case saysFailed:
				if l.c.State != Failed || l.c.Outcome.End.Reason != ReasonPipelineFailed ||
					l.c.Outcome.End.Source != SourceDispatch || l.c.Outcome.End.Message != "too many" ||
					!l.c.Outcome.HasResult || l.v.Keep != KeepResult {
					t.Errorf("%s: its report is not taken: %s", name, dump(l.c))
				}
			default:
				if l.c.State.Ended() || d.Phase != PhaseUncertain || d.UncertainSince != l.now {
					t.Errorf("%s: %s", name, dump(l.c))
				}
				l.do(2*time.Second, DispatchBegun{Seq: d.Seq, Nonce: "second"}).do(rules.StartGrace+time.Hour, unknown)
				if l.c.Dispatch.Phase == PhaseInFlight || l.c.Dispatch.Phase == PhaseQueued {
					t.Errorf("%s: it is sent again: %s", name, dump(l.c))
				}
			}
		}
	}
}

// An answer that arrives after its request was given up counts the same.
func TestBusyAnswerOfAnUncertainDispatchCountsTheSame(t *testing.T) {
	given := func() *life {
		return begin(rules, nil).inFlight().do(time.Second, DispatchBegun{Seq: 1, Nonce: "r", RetryCount: 1})
	}
	if l := given().later429(t, true); l.c.Dispatch.Phase != PhaseQueued {
		t.Errorf("%s", dump(l.c))
	}
	l := given().read(time.Second, 4, 4).later429(t, false)
	if l.v.Kind != Ignored || l.c.Dispatch.Phase != PhaseUncertain {
		t.Errorf("%s %s", l.v.Kind, dump(l.c))
	}
	l.poll(shows(4, 4, ""), time.Minute) // what was counted stays counted
	l.want(t, Succeeded, ReasonCompleted, SourceCheck)
}

// Until the run was seen at work, only the deadline ends one whose pipeline is busy.
func TestBusyAnswerThatSaysFailedEndsNothing(t *testing.T) {
	l := begin(rules, nil)
	for !l.c.State.Ended() {
		l.now = later(l.now, l.c.Dispatch.At)
		if l.inFlight(); l.c.Dispatch.Phase == PhaseInFlight {
			l.later429(t, true)
		}
	}
	l.want(t, TimedOut, ReasonDeadline, SourceDeadline)
}

// TestBusyAnswerAfterTheEndIsAReportIfSeenAtWork: it is a report only if the run was seen at work.
func TestBusyAnswerAfterTheEndIsAReportIfSeenAtWork(t *testing.T) {
	l := begin(rules, nil).inFlight().do(time.Second, Cancel{}).later429(t, true)
	if l.v.Kind != Ignored {
		t.Errorf("nothing was started, and that is %s", l.v.Kind)
	}
	l = begin(rules, nil).inFlight().read(time.Second, 1, 4).do(time.Second, Cancel{}).later429(t, true)
	if l.v.Kind != Late || l.c.Outcome.Late.State != Failed || l.c.Outcome.Late.Message != "too many" {
		t.Errorf("%s %+v", l.v.Kind, l.c.Outcome.Late)
	}
}
