package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

func TestTimeDoesNotRunBackwards(t *testing.T) {
	l := accepted(rules)
	at := l.now
	l.do(-time.Hour, Cancel{})
	if !l.c.Outcome.EndedAt.Equal(at) {
		t.Errorf("ended at %v, last changed at %v", l.c.Outcome.EndedAt, at)
	}
}

func TestSweepReschedulesEndsAndTidies(t *testing.T) {
	l := accepted(rules).do(0, Cancel{})
	if !l.c.Bookkeeping.OverdueAt.Equal(l.c.Outcome.EndedAt) {
		t.Error("an end that is not finalized is to be overdue now")
	}
	l.do(time.Hour, CheckOutcome{
		Kind:        CheckUnknown,
		BeganAt:     l.now.Add(time.Hour),
		ReadVersion: l.c.Outcome.EndVersion - 1,
	})
	if l.c.Bookkeeping.PolledAfterEnd != 0 {
		t.Error("it read an open run: the end was not saved yet, however long that took")
	}
	l.do(0, CheckOutcome{Kind: CheckSkipped, ReadVersion: l.c.Version})
	if l.c.Bookkeeping.PolledAfterEnd != 0 {
		t.Error("it asked nothing")
	}
	l.do(0, CheckOutcome{Kind: CheckUnknown, ReadVersion: l.c.Version})
	if l.c.Bookkeeping.PolledAfterEnd != 1 {
		t.Fatal("a poll after the end was not noticed")
	}
	l.do(0, Finalized{})
	if l.do(0, Finalized{}); l.v.Kind != Ignored {
		t.Error(l.v.Kind)
	}
	l.do(time.Minute, Tick{})
	if l.c.Bookkeeping.PolledAfterEnd != 0 || l.c.Bookkeeping.Leaked != 1 ||
		!l.c.Bookkeeping.OverdueAt.Equal(rules.FormExpiresAt(l.c)) {
		t.Errorf("%s", dump(l.c))
	}
	l.do(24*time.Hour, Tick{FormDropped: true})
	if !l.v.DropForm || l.c.Bookkeeping.FormKept || !l.c.Bookkeeping.OverdueAt.Equal(rules.ExpiresAt(l.c)) {
		t.Errorf("%+v %s", l.v, dump(l.c))
	}
	if l.do(0, Tick{FormDropped: true}); l.v.Kind != Ignored {
		t.Error(l.v.Kind)
	}
	l = begin(rules, nil).inFlight()
	if l.do(time.Minute, Tick{DispatchLost: true}); l.v.Kind != Ignored {
		t.Error("the task of a dispatch that is being sent may be gone:", l.v.Kind)
	}
}
