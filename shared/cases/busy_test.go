package cases_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// busy is a poll that is answered with 429, or with 503 and Retry-After.
func busy(after time.Duration) CheckOutcome {
	return CheckOutcome{Kind: CheckBusy, RetryAfter: after, Message: "the pipeline answered 429"}
}

// later429 is the answer to a dispatch that says: not now.
func (l *life) later429(t testing.TB, saysFailed bool) *life {
	out := DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: DispatchBusy, SaysFailed: saysFailed, Message: "too many"}
	if saysFailed {
		out.Result = result(t, `{"success":false,"error":"too many"}`)
	}
	return l.do(time.Second, out)
}

// TestBusyAnswer: 429 to a dispatch means that nothing was started, whatever its body says, unless progress of this run was seen since the request
// was sent. Then it is never sent again: a body that says failed is the pipeline's report, and without one checks find out.
func TestBusyAnswer(t *testing.T) {
	open := func() *life { return begin(rules, nil).inFlight() }
	heard := accepted(rules).read(time.Second, 3, 4).do(time.Second, Event{ID: "e", Status: "failed"})
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
		"nothing was seen":                    {open, false},
		"it was unknown":                      {func() *life { return open().do(time.Second, unknown) }, false},
		"polls failed":                        {func() *life { return open().do(time.Second, failed) }, false},
		"polls were answered 429":             {func() *life { return open().do(time.Second, busy(0)) }, false},
		"a poll showed progress":              {func() *life { return open().read(time.Second, 1, 4) }, true},
		"a poll showed nothing done":          {func() *life { return open().read(time.Second, 0, 4) }, true},
		"a poll showed a status":              {func() *life { return open().do(time.Second, shows(0, 0, "running")) }, true},
		"a poll showed all done":              {func() *life { return open().read(time.Second, 4, 4) }, true},
		"a poll, and then it was unknown":     {func() *life { return open().read(time.Second, 1, 4).do(time.Second, unknown) }, true},
		"an event said so":                    {func() *life { return open().do(time.Second, running("e", nil)) }, true},
		"what the run before left":            {func() *life { return rerun(heard).read(time.Second, 3, 4) }, false},
		"the completion of the run before":    {func() *life { return rerun(heard).read(time.Second, 4, 4) }, false},
		"a rerun's own progress":              {func() *life { return rerun(heard).read(time.Second, 1, 4) }, true},
		"the run before may still be at work": {func() *life { return rerun(cancelled).read(time.Second, 4, 5) }, false},
		"an event names the rerun":            {func() *life { return rerun(cancelled).do(time.Second, running("e", nil)) }, true},
		"an attempt before was accepted":      {func() *life { return again().do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchAccepted}) }, true},
		"no attempt before shows":             {again, false},
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
				if l.c.State != Failed || l.c.Outcome.End.Reason != ReasonPipelineFailed || l.c.Outcome.End.Source != SourceDispatch || l.c.Outcome.End.Message != "too many" || !l.c.Outcome.HasResult || l.v.Keep != KeepResult {
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

// TestBusyAnswerOfAnUncertainDispatch: an answer that comes after its dispatch was given up counts the same.
func TestBusyAnswerOfAnUncertainDispatch(t *testing.T) {
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

// TestBusyAnswerThatSaysFailedEndsNothing: until it was seen at work, only the deadline ends a run whose pipeline says 429.
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

// TestBusyAnswerAfterTheEnd: it is a report only if the run was seen at work.
func TestBusyAnswerAfterTheEnd(t *testing.T) {
	l := begin(rules, nil).inFlight().do(time.Second, Cancel{}).later429(t, true)
	if l.v.Kind != Ignored {
		t.Errorf("nothing was started, and that is %s", l.v.Kind)
	}
	l = begin(rules, nil).inFlight().read(time.Second, 1, 4).do(time.Second, Cancel{}).later429(t, true)
	if l.v.Kind != Late || l.c.Outcome.Late.State != Failed || l.c.Outcome.Late.Message != "too many" {
		t.Errorf("%s %+v", l.v.Kind, l.c.Outcome.Late)
	}
}

// TestNothingStartedIsTheNextBaseline: what was seen while nothing was started is another run's, and stays no news when the run is sent again.
func TestNothingStartedIsTheNextBaseline(t *testing.T) {
	first := accepted(rules).read(time.Second, 3, 10).do(time.Second, Cancel{})
	l := begin(rules, &first.c).inFlight().read(time.Second, 5, 10).later429(t, false).inFlight().outcome(DispatchAccepted)
	l.poll(shows(10, 10, ""), 10*time.Minute) // run 1 gets done
	if l.c.State != Running {
		t.Errorf("run 2 ended with the work of run 1: %s", dump(l.c))
	}
}

// TestBusyPoll: 429 to a poll proves that the pipeline can be reached, and tells nothing of the run.
func TestBusyPoll(t *testing.T) {
	l := accepted(rules)
	l.poll(failed, 9*time.Minute)
	count, failures := l.c.Checks.Polls, l.c.Checks.FailedPolls
	l.do(time.Second, busy(0))
	if l.c.Checks.Polls != count+1 || l.c.Checks.FailedPolls != failures || l.c.Checks.ConsecutiveFailures != 0 || !l.c.Checks.FailingSince.IsZero() {
		t.Errorf("%+v", l.c.Checks)
	}
	l.poll(failed, 9*time.Minute)
	if l.c.State.Ended() {
		t.Error("it did not end the streak of failures")
	}
	l.poll(busy(0), 2*time.Hour)
	l.want(t, TimedOut, ReasonDeadline, SourceDeadline)

	l = begin(rules, nil).inFlight().outcome(DispatchUncertain).do(time.Second, busy(0))
	if l.c.State != Pending || l.c.Job.Seen {
		t.Errorf("a run is known that was not seen: %s", dump(l.c))
	}

	// The time for which a job is unknown goes on.
	l = accepted(rules).do(time.Second, unknown)
	since := l.c.Checks.UnknownSince
	for !l.c.State.Ended() {
		l.do(later(l.now, l.c.Checks.NextAt).Sub(l.now), busy(0))
		if !l.c.State.Ended() {
			l.do(l.c.Checks.NextAt.Sub(l.now), unknown)
		}
	}
	l.want(t, Failed, ReasonPipelineLost, SourceCheck)
	if lost := l.c.Outcome.EndedAt.Sub(since); lost > rules.UnreachableAfter+2*rules.CheckMaxInterval {
		t.Errorf("it was lost after %v", lost)
	}
	l = begin(rules, nil).inFlight().outcome(DispatchUncertain).do(time.Second, unknown).do(time.Minute, busy(0)).do(time.Minute+time.Second, unknown)
	l.want(t, Failed, ReasonStartUnknown, SourceCheck)

	// An attempt that is to be repeated is not unreachable since before.
	l = begin(idempotent, nil).inFlight().outcome(DispatchUncertain)
	l.poll(unknown, rules.StartGrace+10*time.Second)
	l.inFlight().outcome(DispatchUnreachable).do(9*time.Minute, busy(0))
	if l.do(2*time.Minute, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: "z"}).outcome(DispatchUnreachable); l.c.State.Ended() {
		t.Errorf("unreachable, though it answered a poll: %+v", l.c.Outcome.End)
	}
}

// TestRetryAfterOfAPoll: the next check comes when the pipeline asked for it, or at what ends the run without a poll, whichever is first.
func TestRetryAfterOfAPoll(t *testing.T) {
	for name, x := range map[string]struct {
		l     *life
		after time.Duration
		want  time.Duration // until the next check; 0: by the usual schedule
	}{
		"longer than the longest interval": {accepted(rules), 7 * time.Minute, 7 * time.Minute},
		"as a fraction":                    {accepted(rules), 7500 * time.Millisecond, 7500 * time.Millisecond},
		"shorter than the least interval":  {accepted(rules), time.Second, rules.CheckMinInterval},
		"beyond the deadline":              {accepted(rules), 3 * time.Hour, time.Hour - 2*time.Second},
		"none":                             {accepted(rules), 0, 0},
		"while nothing can be read":        {accepted(rules).do(0, failed).do(0, failed), time.Minute, time.Minute},
		"while it is unknown":              {accepted(rules).do(0, unknown), 20 * time.Minute, 20 * time.Minute},
		"after a succeeded event":          {begin(rules, nil).inFlight().do(0, Event{ID: "e", Status: "succeeded"}), time.Minute, rules.CompletionGrace - time.Second},
		"somebody watches":                 {accepted(rules).do(0, Viewed{}), time.Minute, time.Minute},
	} {
		l := x.l
		l.do(l.c.Checks.NextAt.Sub(l.now), busy(x.after)) // when it is due
		wait := l.c.Checks.NextAt.Sub(l.now)
		if x.want != 0 && wait != x.want {
			t.Errorf("%s: the next check is in %v, want %v", name, wait, x.want)
		}
		if x.want == 0 && (wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval) {
			t.Errorf("%s: the next check is in %v", name, wait)
		}
		if asked := l.c.Checks.NextAt.Sub(l.now) >= x.after; asked && x.after > 10*time.Second {
			seq := l.c.Checks.Seq
			for range 5 {
				l.do(time.Second, Viewed{CheckPending: true})
			}
			if l.c.Checks.Seq != seq {
				t.Errorf("%s: a viewer brought it forward", name)
			}
			if l.r.AcceptsViewer(l.c, l.now) {
				t.Errorf("%s: a viewer would write without effect", name)
			}
		}
	}
	// Once it is answered again, all is as before.
	l := accepted(rules).do(time.Second, busy(time.Minute)).read(time.Minute, 1, 40)
	if wait := l.c.Checks.NextAt.Sub(l.now); wait > rules.CheckMaxInterval {
		t.Errorf("waits %v after an answer", wait)
	}
	if !l.r.AcceptsViewer(l.c, l.now) {
		t.Error("a viewer has no effect after an answer")
	}
	// The check at the end of a completion grace polls nothing; by a clock that is behind it may, and is then followed by one that does not.
	l = accepted(rules).read(0, 4, 4)
	over := l.c.Checks.NextAt
	if l.do(over.Sub(l.now)-time.Second, busy(time.Minute)); l.c.State.Ended() || !l.c.Checks.NextAt.Equal(over.Add(rules.CheckMinInterval)) {
		t.Errorf("the next check is %v after the grace", l.c.Checks.NextAt.Sub(over))
	}
	if rules.ShouldPoll(l.c, over.Add(-time.Second)) {
		t.Error("by a clock that is behind it is polled before the time that it named")
	}
	if l.do(0, CheckOutcome{Kind: CheckSkipped}); l.c.Checks.BusyUntil.IsZero() || l.poll(busy(0), time.Minute) > 0 {
		t.Errorf("a check that polls nothing forgets the time: %s", dump(l.c))
	}
	l.want(t, Succeeded, ReasonCompleted, SourceCheck)
	// A clock that is behind does not poll before the time.
	l = accepted(rules)
	due := l.c.Checks.NextAt
	l.now = due.Add(-20 * time.Second)
	if l.do(0, busy(time.Minute)); l.c.Checks.NextAt.Before(due.Add(time.Minute)) {
		t.Errorf("the next check is %v after the last was due", l.c.Checks.NextAt.Sub(due))
	}
}

// TestBusyIsTold: the timeline and the reason for the next check say that the pipeline asked for it, once for many answers in a row.
func TestBusyIsTold(t *testing.T) {
	l := accepted(rules).do(time.Second, failed).do(time.Second, busy(time.Minute)).do(time.Minute, busy(time.Minute))
	if why := l.r.Why(l.c); why == nil || why.Awaits != "busy" {
		t.Errorf("%+v", why)
	}
	l.do(time.Minute, busy(0))
	if why := l.r.Why(l.c); why == nil || why.Awaits != "end" {
		t.Errorf("%+v", why)
	}
	l.read(time.Minute, 1, 4).do(time.Second, busy(time.Minute)).do(time.Minute, failed)
	want := `unreachable by check (connection refused)
reachable by check
busy by check (the pipeline answered 429)
reachable by check
busy by check (the pipeline answered 429)
unreachable by check (connection refused)`
	if got := story(l.c); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant at its end\n%s", got, want)
	}
}

// TestCheckAtTheDeadlinePollsNothing: where the clock of the instance is behind, the check that is due at the deadline begins
// before it.
func TestCheckAtTheDeadlinePollsNothing(t *testing.T) {
	c := accepted(rules).c
	c.Checks.NextAt = c.DeadlineAt
	if rules.ShouldPoll(c, c.DeadlineAt.Add(-2*time.Second)) {
		t.Error("it polls, want it to do no more than look at the time")
	}
}
