package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

func TestFindingSaysWhatIsLeftToDo(t *testing.T) {
	ended := func() *life { return accepted(rules).do(time.Second, Cancel{}) }
	finalized := func() *life { return ended().do(0, Finalized{}) }
	afterEnd := func() *life {
		l := ended()
		return l.do(time.Second, CheckOutcome{Kind: CheckUnknown, ReadVersion: l.c.Version}).do(0, Finalized{})
	}
	const late = time.Minute // what was due longer ago than this is late
	for name, test := range map[string]struct {
		l     *life
		after time.Duration
		want  Finding
	}{
		"past its deadline":              {accepted(rules), time.Hour, FindingDeadline},
		"its check is late":              {accepted(rules), 2 * time.Minute, FindingCheckLate},
		"its check and dispatch are":     {begin(rules, nil), 2 * time.Minute, FindingCheckLate},
		"only its dispatch is":           {begin(rules, nil), late, FindingDispatchLate},
		"not finalized":                  {ended(), time.Second, FindingNotFinalized},
		"polled after the end":           {afterEnd(), time.Second, FindingPolledAfterEnd},
		"its form is past retention":     {finalized(), 25 * time.Hour, FindingFormExpired},
		"it is past retention, form too": {finalized(), 721 * time.Hour, FindingExpired},
		"its job is still to be cancelled": {
			begin(named, nil).inFlight().answers(DispatchAccepted, "j").do(0, Cancel{}).do(0, Finalized{}),
			2 * time.Minute, FindingStopLate,
		},
		"its job is to be cancelled later": {
			begin(named, nil).inFlight().answers(DispatchAccepted, "j").do(0, Cancel{}).do(0, Finalized{}).
				stop(time.Minute, CancelAgain),
			time.Second, FindingNothing,
		},
		"nothing": {
			finalized().do(time.Hour, Tick{FormDropped: true}),
			time.Hour,
			FindingNothing,
		},
	} {
		now := test.l.now.Add(test.after)
		if got := rules.Finding(test.l.c, now, now.Add(-late)); got != test.want {
			t.Errorf("%s: got %q, want %q: %s", name, got, test.want, dump(test.l.c))
		}
	}
}

func TestDeliveryIsComparedWithTheRecord(t *testing.T) {
	l := accepted(rules)
	for range 3 {
		l.do(time.Second, CheckOutcome{Kind: CheckSkipped})
	}
	for seq, want := range map[int64]Delivery{
		4: DeliveryCurrent,
		3: DeliveryOlder,
		2: DeliveryStale,
		5: DeliveryNewer,
	} {
		if got := l.c.CheckDelivery(seq); got != want {
			t.Errorf("check %d: %s, want %s", seq, got, want)
		}
	}
	if got := l.c.DispatchDelivery(1); got != DeliveryCurrent {
		t.Error(got)
	}
	if got := l.do(0, Cancel{}).c.CheckDelivery(4); got != DeliveryEnded {
		t.Error(got)
	}
}
