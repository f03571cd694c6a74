package cases_test

import (
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
	open := func() *life { return begin(rules, nil).open() }
	heard := accepted(rules).read(time.Second, 3, 4).do(time.Second, Event{ID: "e", Status: "failed"})
	cancelled := accepted(rules).read(time.Second, 3, 4).do(time.Second, Cancel{})
	rerun := func(prior *life) *life { return begin(rules, &prior.c).open() }
	again := func() *life {
		l := begin(idempotent, nil).open().outcome(DispatchUncertain)
		l.look(unknown, rules.StartGrace+10*time.Second)
		return l.open() // the second attempt
	}
	for name, x := range map[string]struct {
		l    func() *life
		seen bool
	}{
		"nothing was seen":                    {open, false},
		"it was unknown":                      {func() *life { return open().do(time.Second, unknown) }, false},
		"polls failed":                        {func() *life { return open().do(time.Second, unable) }, false},
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
				if l.c.State.Ended() || d.Phase != PhaseQueued || d.Seq != seq+1 || l.c.Known {
					t.Errorf("%s, failed %v: it is not sent again: %s", name, saysFailed, dump(l.c))
				}
			case saysFailed:
				if l.c.State != Failed || l.c.End.Reason != ReasonPipelineFailed || l.c.End.Source != SourceDispatch || l.c.End.Message != "too many" || !l.c.HasResult || l.v.Keep != KeepResult {
					t.Errorf("%s: its report is not taken: %s", name, dump(l.c))
				}
			default:
				if l.c.State.Ended() || d.Phase != PhaseUncertain || d.ClosedAt != l.now {
					t.Errorf("%s: %s", name, dump(l.c))
				}
				l.do(2*time.Second, DispatchBegun{Seq: d.Seq, Nonce: "second"}).do(rules.StartGrace+time.Hour, unknown)
				if l.c.Dispatch.Phase == PhaseOpen || l.c.Dispatch.Phase == PhaseQueued {
					t.Errorf("%s: it is sent again: %s", name, dump(l.c))
				}
			}
		}
	}
}

// TestBusyAnswerOfAnUncertainDispatch: an answer that comes after its dispatch was given up counts the same.
func TestBusyAnswerOfAnUncertainDispatch(t *testing.T) {
	given := func() *life {
		return begin(rules, nil).open().do(time.Second, DispatchBegun{Seq: 1, Nonce: "r", RetryCount: 1})
	}
	if l := given().later429(t, true); l.c.Dispatch.Phase != PhaseQueued {
		t.Errorf("%s", dump(l.c))
	}
	l := given().read(time.Second, 4, 4).later429(t, false)
	if l.v.Kind != Ignored || l.c.Dispatch.Phase != PhaseUncertain {
		t.Errorf("%s %s", l.v.Kind, dump(l.c))
	}
	l.look(shows(4, 4, ""), time.Minute) // what was counted stays counted
	l.want(t, Succeeded, ReasonCompleted, SourceCheck)
}

// TestBusyAnswerThatSaysFailedEndsNothing: until it was seen at work, only the deadline ends a run whose pipeline says 429.
func TestBusyAnswerThatSaysFailedEndsNothing(t *testing.T) {
	l := begin(rules, nil)
	for !l.c.State.Ended() {
		l.now = later(l.now, l.c.Dispatch.At)
		if l.open(); l.c.Dispatch.Phase == PhaseOpen {
			l.later429(t, true)
		}
	}
	l.want(t, TimedOut, ReasonDeadline, SourceDeadline)
}

// TestBusyAnswerAfterTheEnd: it is a report only if the run was seen at work.
func TestBusyAnswerAfterTheEnd(t *testing.T) {
	l := begin(rules, nil).open().do(time.Second, Cancel{}).later429(t, true)
	if l.v.Kind != Ignored {
		t.Errorf("nothing was started, and that is %s", l.v.Kind)
	}
	l = begin(rules, nil).open().read(time.Second, 1, 4).do(time.Second, Cancel{}).later429(t, true)
	if l.v.Kind != LateWord || l.c.Late.State != Failed || l.c.Late.Message != "too many" {
		t.Errorf("%s %+v", l.v.Kind, l.c.Late)
	}
}

// TestNothingStartedIsTheNextBaseline: what was seen while nothing was started is another run's, and stays no news when the run is sent again.
func TestNothingStartedIsTheNextBaseline(t *testing.T) {
	first := accepted(rules).read(time.Second, 3, 10).do(time.Second, Cancel{})
	l := begin(rules, &first.c).open().read(time.Second, 5, 10).later429(t, false).open().outcome(DispatchAccepted)
	l.look(shows(10, 10, ""), 10*time.Minute) // run 1 gets done
	if l.c.State != Running {
		t.Errorf("run 2 ended with the work of run 1: %s", dump(l.c))
	}
}
