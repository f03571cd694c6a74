package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// The save of a mark may seem to fail and take effect. Its own delivery then finds the mark, and
// may go on; no other may.
func TestMarkOfTheSameAttemptIsADuplicate(t *testing.T) {
	mark := DispatchBegun{Seq: 1, Nonce: "n1"}
	for name, test := range map[string]struct {
		l    *life
		want VerdictKind
	}{
		"in flight":               {begin(rules, nil).do(0, mark), Duplicate},
		"given up":                {begin(rules, nil).do(0, mark).outcome(DispatchUncertain), Stale},
		"answered":                {begin(rules, nil).do(0, mark).outcome(DispatchAccepted), Stale},
		"of another in flight":    {begin(rules, nil).do(0, DispatchBegun{Seq: 1, Nonce: "n2"}), Stale},
		"queued, as is the first": {begin(rules, nil), Applied},
	} {
		if test.l.do(time.Second, mark); test.l.v.Kind != test.want {
			t.Errorf("%s: got %s, want %s", name, test.l.v.Kind, test.want)
		}
	}
}

// The first attempt is accepted after all, while the second is in flight. Should that one start
// nothing, there is nothing to send: the pipeline has the run.
func TestLateAcceptanceIsTheLastAttempt(t *testing.T) {
	l := begin(idempotent, nil).inFlight().outcome(DispatchUncertain)
	l.poll(unknown, rules.StartGrace+10*time.Second)
	l.inFlight().do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchAccepted})
	if l.outcome(DispatchUnreachable); l.c.Dispatch.Phase != PhaseAnswered || l.c.State != Running {
		t.Errorf("it is %s, dispatch %q, want it running and answered", l.c.State, l.c.Dispatch.Phase)
	}
}

// After a report of success that names the run, a busy answer that says failed is about the run,
// though the one before may still be at work.
func TestAnnouncedRunWasSeenAtWork(t *testing.T) {
	first := accepted(rules).do(time.Second, Cancel{})
	l := begin(rules, &first.c).inFlight().do(time.Second, Event{ID: "e", Status: StatusSucceeded}).
		do(rules.CompletionGrace, CheckOutcome{Kind: CheckSkipped})
	l.want(t, Succeeded, ReasonCompleted, SourceEvent)
	if l.later429(t, true); l.v.Kind != Late || l.c.Outcome.Late == nil || l.c.Outcome.Late.State != Failed {
		t.Errorf("its answer is %s, want it late: %+v", l.v.Kind, l.c.Outcome.Late)
	}
}

// A dispatch that the sweep schedules again is due then, and no longer overdue.
func TestLostDispatchIsDueWhenItIsRescheduled(t *testing.T) {
	l := begin(rules, nil).do(10*time.Minute, Tick{CheckLost: true, DispatchLost: true})
	if !l.c.Dispatch.At.Equal(l.now) || !l.c.Checks.NextAt.Equal(l.now) {
		t.Errorf("due at %v and %v, want %v", l.c.Dispatch.At, l.c.Checks.NextAt, l.now)
	}
	if l.c.Bookkeeping.OverdueAt.Before(l.now) {
		t.Errorf("overdue at %v already, and it is %v", l.c.Bookkeeping.OverdueAt, l.now)
	}
}

// A store keeps microseconds. A task that is due by what a function decided is due at the same time
// by what it then reads.
func TestTasksAreDueAtMicroseconds(t *testing.T) {
	const odd = 123_456_789 * time.Nanosecond
	whole := func(what string, at time.Time) {
		t.Helper()
		if at.IsZero() || !at.Equal(at.Truncate(time.Microsecond)) {
			t.Errorf("%s is due at %v, want whole microseconds", what, at)
		}
	}
	l := &life{r: rules, now: epoch.Add(odd)}
	l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Hour})
	whole("the first check", l.c.Checks.NextAt)
	whole("the dispatch", l.c.Dispatch.At)
	l.inFlight().outcome(DispatchBusy)
	whole("the next attempt", l.c.Dispatch.At)
	l.do(10*time.Minute, Tick{CheckLost: true, DispatchLost: true})
	whole("the check that was lost", l.c.Checks.NextAt)
	whole("the dispatch that was lost", l.c.Dispatch.At)
}
