package cases_test

import (
	"encoding/json"
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// far is a run that was polled a second ago, and is next checked half a minute later.
func far() *life { return accepted(rules).read(10*time.Minute, 1, 40).do(time.Second, Event{}) }

// A viewer brings the next check forward to the shortest interval after the last, under a new
// number. Those after it follow closely while the lease holds.
func TestViewerKeepsChecksClose(t *testing.T) {
	l := far()
	seq, read := l.c.Checks.Seq, l.c.UpdatedAt
	if wait := l.c.Checks.NextAt.Sub(l.now); wait < 10*time.Second {
		t.Fatalf("the next check is in %v: nothing is to be brought forward", wait)
	}
	l.do(0, Viewed{CheckPending: true})
	if at := l.c.Checks.NextAt; l.c.Checks.Seq != seq+1 || !at.Equal(read.Add(rules.CheckMinInterval)) ||
		!l.c.UpdatedAt.Equal(read) {
		t.Errorf("check #%d at %v, want #%d at %v; changed at %v", l.c.Checks.Seq, at, seq+
			1, read.Add(rules.CheckMinInterval), l.c.UpdatedAt)
	}
	writes := 0
	for until := l.now.Add(time.Minute); l.now.Before(until); {
		l.read(l.c.Checks.NextAt.Sub(l.now), 1, 40)
		if wait := l.c.Checks.NextAt.Sub(l.now); wait != rules.CheckMinInterval {
			t.Fatalf("the next check is in %v", wait)
		}
		if l.do(0, Viewed{CheckPending: true}); l.v.Changed() {
			writes++
		}
	}
	if writes > 4 {
		t.Errorf("a minute with a viewer costs %d writes, besides the checks'", writes)
	}
	l.read(30*time.Second, 1, 40) // no viewer renews the lease
	if wait := l.c.Checks.NextAt.Sub(l.now); wait < 10*time.Second {
		t.Errorf("without viewers the next check is in %v", wait)
	}
}

// Checks keep the shortest interval by the clock of the queue, where the clocks of those who check
// and view are behind it: what was brought forward is not brought forward again after each check.
func TestViewerWithAClockThatIsBehind(t *testing.T) {
	const behind = 5 * time.Second
	l := far()
	l.do(0, Viewed{CheckPending: true})
	due := l.c.Checks.NextAt
	for range 10 {
		l.now = due.Add(-behind)
		l.read(0, 1, 40)
		seq := l.c.Checks.Seq
		if l.do(0, Viewed{CheckPending: true}); l.c.Checks.Seq != seq {
			t.Fatalf("check #%d after #%d", l.c.Checks.Seq, seq)
		}
		if wait := l.c.Checks.NextAt.Sub(due); wait < rules.CheckMinInterval {
			t.Fatalf("the next check is %v after the last", wait)
		}
		due = l.c.Checks.NextAt
	}
	late := far() // and the first that is brought forward
	due = late.c.Checks.NextAt
	late.now = due.Add(-behind)
	late.read(0, 1, 40)
	if late.do(0, Viewed{CheckPending: true}); late.c.Checks.NextAt.Sub(due) < rules.CheckMinInterval {
		t.Errorf("the next check is %v after the last", late.c.Checks.NextAt.Sub(due))
	}
}

// However many times a lease is renewed, its version has nothing new for readers.
func TestLeasesChangeNoContent(t *testing.T) {
	l := far()
	news := l.c.Version
	for range 3 {
		if l.do(16*time.Second, Viewed{CheckPending: true}); !l.v.Changed() || l.c.ContentVersion() != news {
			t.Fatalf("%s: version %d, the last content is %d, want %d", l.v.Kind, l.c.Version, l.c.ContentVersion(),
				news)
		}
	}
	if l.read(0, 2, 40); l.c.ContentVersion() != l.c.Version {
		t.Errorf("a check's version is %d, the last content is %d", l.c.Version, l.c.ContentVersion())
	}
}

func TestViewerBringsALateCheckForwardToNow(t *testing.T) {
	l := far().do(10*time.Second, Viewed{CheckPending: true})
	if !l.c.Checks.NextAt.Equal(l.now) {
		t.Errorf("in %v", l.c.Checks.NextAt.Sub(l.now))
	}
}

// A check that is due may be under way, and one that soon is comes soon enough.
func TestViewerLeavesADueCheck(t *testing.T) {
	for _, left := range []time.Duration{rules.CheckMinInterval, time.Second, 0, -time.Minute} {
		l := far()
		seq := l.c.Checks.Seq
		l.do(l.c.Checks.NextAt.Sub(l.now)-left, Viewed{CheckPending: true})
		if l.v.Kind != Applied || l.c.Checks.Seq != seq {
			t.Errorf("%v before it is due: %s, check #%d after #%d", left, l.v.Kind, l.c.Checks.Seq, seq)
		}
	}
}

// Where closer polls would show nothing, or must not be, a viewer changes nothing.
func TestViewerChangesNothingInVain(t *testing.T) {
	for name, l := range map[string]*life{
		"not sent":             begin(rules, nil),
		"not taken":            begin(rules, nil).inFlight().outcome(DispatchBusy),
		"only the result":      accepted(rules).read(time.Second, 4, 4),
		"it fails":             far().do(30*time.Second, failed).do(30*time.Second, failed).do(30*time.Second, failed),
		"at its deadline":      accepted(rules).do(time.Hour, Event{}),
		"ended":                accepted(rules).do(time.Second, Cancel{}),
		"ended, and finalized": accepted(rules).do(time.Second, Cancel{}).do(0, Finalized{}),
		"there is no such":     {r: rules, now: epoch},
	} {
		if l.r.AcceptsViewer(l.c, l.now) {
			t.Errorf("%s: a viewer would count", name)
		}
		if l.do(0, Viewed{CheckPending: true}); l.v.Changed() {
			t.Errorf("%s: %s", name, dump(l.c))
		}
	}
	viewed := far().do(0, Viewed{CheckPending: true})
	for n, shortest := range []time.Duration{
		rules.CheckMinInterval,
		rules.CheckMinInterval,
		2 * rules.CheckMinInterval,
		4 * rules.CheckMinInterval,
	} {
		if viewed.do(0, failed); viewed.c.Checks.NextAt.Sub(viewed.now) < shortest {
			t.Errorf("after %d failures the next check is in %v", n+1, viewed.c.Checks.NextAt.Sub(viewed.now))
		}
	}
}

func TestLeaseIsKeptInTheRecord(t *testing.T) {
	l := far().do(0, Viewed{CheckPending: true})
	again := l.copy()
	if err := json.Unmarshal([]byte(dump(l.c)), &again.c); err != nil {
		t.Fatal(err)
	}
	if again.do(time.Second, Viewed{CheckPending: true}); again.v.Changed() {
		t.Errorf("the lease is renewed again: %s", dump(again.c))
	}
}

// A run that does not move tells nothing of when it ends.
func TestNoEstimateWhileStalled(t *testing.T) {
	l := accepted(rules).read(10*time.Second, 1, 4)
	if l.c.View(l.now, nil, nil).ETASeconds == nil {
		t.Fatal("no estimate while it moves")
	}
	l.read(rules.StallAfter, 1, 4)
	if v := l.c.View(l.now, nil, nil); !v.Stalled || v.ETASeconds != nil {
		t.Errorf("stalled %v, and it takes %v s", v.Stalled, *v.ETASeconds)
	}
	if l.read(time.Second, 2, 4); l.c.View(l.now, nil, nil).ETASeconds == nil {
		t.Error("no estimate when it moves again")
	}
}

// A poll that finds what was known makes a version, and no event. Each change of what an event says
// makes one.
func TestEventIsShownForEachChange(t *testing.T) {
	l := begin(rules, nil)
	want := func(what string, event bool) {
		t.Helper()
		if got := l.c.Viewers.Shown.Version == l.c.Version; got != event || l.c.Viewers.Shown.Version > l.c.Version {
			t.Errorf("%s: version %d, the last event is of %d; an event: %t", what, l.c.Version,
				l.c.Viewers.Shown.Version, event)
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
	l.do(0, CheckOutcome{
		Seq:     l.c.Checks.Seq,
		Kind:    CheckReading,
		Reading: Reading{Completed: 1, Total: 40, Percent: -1, Current: "another"},
	})
	want("another document", true)
	l.read(100*time.Millisecond, 1, 41)
	want("another total", true)
	version := l.c.Version
	l.do(10*time.Second, Viewed{})
	if l.c.Version == version {
		t.Fatal("there is no lease")
	}
	want("somebody follows it", false)
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

// That a countdown goes on is no event. An estimate that differs much from the one that was shown
// is.
func TestCountdownIsNoEvent(t *testing.T) {
	for _, test := range []struct {
		name    string
		elapsed time.Duration // when 10 of 40 were done
		after   time.Duration // the next poll, which finds the same
		event   bool
	}{
		// A quarter is done: the estimated end moves by four times what passes, and what is left is
		// three times what passed.
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
