package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// A poll that finds what was known makes a version, and no event; each change of what an event says makes one.
func TestShown(t *testing.T) {
	l := begin(rules, nil)
	want := func(what string, event bool) {
		t.Helper()
		if got := l.c.Viewers.Shown.Version == l.c.Version; got != event || l.c.Viewers.Shown.Version > l.c.Version {
			t.Errorf("%s: version %d, the last event is of %d; an event: %t", what, l.c.Version, l.c.Viewers.Shown.Version, event)
		}
	}
	want("the start", true)
	l.inFlight()
	want("it is sent", false)
	l.outcome(DispatchAccepted)
	want("it runs", true)
	l.read(time.Second, 1, 40)
	want("progress", true)
	for range 3 {
		l.read(100*time.Millisecond, 1, 40)
		want("the same again", false)
	}
	l.do(0, CheckOutcome{Seq: l.c.Checks.Seq, Kind: CheckFailed, Message: "no answer"})
	want("the pipeline cannot be polled", false)
	l.do(0, CheckOutcome{Seq: l.c.Checks.Seq, Kind: CheckReading, Reading: Reading{Completed: 1, Total: 40, Percent: -1, Current: "another"}})
	want("another document", true)
	l.read(100*time.Millisecond, 1, 41)
	want("another total", true)
	version := l.c.Version
	l.do(10*time.Second, Viewed{})
	if l.c.Version == version {
		t.Fatal("it does not count as watched")
	}
	want("somebody watches", false)
	l.read(rules.StallAfter, 1, 41)
	if !l.c.Job.Stalled {
		t.Fatal("it is not stalled")
	}
	want("stalled", true)
	l.read(time.Minute, 1, 41)
	want("stalled for longer", false)
	shown := l.c.Viewers.Shown
	if l.do(0, Cancel{}); l.c.Viewers.Shown != shown || l.c.Outcome.EndVersion != l.c.Version {
		t.Errorf("the end is shown as %+v, it was %+v", l.c.Viewers.Shown, shown)
	}
}

// That a countdown goes on is no event. An estimate that differs much from the one that was shown is.
func TestShownEstimate(t *testing.T) {
	for _, test := range []struct {
		name    string
		elapsed time.Duration // when 10 of 40 were done
		after   time.Duration // the next poll, which finds the same
		event   bool
	}{
		// A quarter is done: the estimated end moves by four times what passes, and what is left is three times what passed.
		{"as it was", 100 * time.Second, 0, false},
		{"a bit later", 100 * time.Second, 20 * time.Second, false},       // off by 80 s, of 360
		{"much later", 100 * time.Second, 30 * time.Second, true},         // off by 120 s, of 390
		{"seconds in the beginning", 2 * time.Second, time.Second, false}, // off by 4 s, of 9
		{"more seconds", 2 * time.Second, 2 * time.Second, true},          // off by 8 s, of 12
	} {
		l := begin(rules, nil).inFlight().outcome(DispatchAccepted)
		l.read(test.elapsed, 10, 40)
		shown := l.c.Viewers.Shown
		l.read(test.after, 10, 40)
		if got := l.c.Viewers.Shown != shown; got != test.event {
			t.Errorf("%s: estimated %v, was %v", test.name, l.c.Viewers.Shown.EndsAt, shown.EndsAt)
		}
	}
	l := begin(rules, nil).inFlight().outcome(DispatchAccepted).read(10*time.Second, 10, 40)
	shown := l.c.Viewers.Shown
	l.do(0, CheckOutcome{Seq: l.c.Checks.Seq, Kind: CheckUnknown})
	if l.c.Viewers.Shown == shown || !l.c.Viewers.Shown.EndsAt.IsZero() {
		t.Errorf("without an estimate: %+v", l.c.Viewers.Shown)
	}
}
