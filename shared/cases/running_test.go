package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// shows is a poll's answer with a status.
func shows(completed, total int, status Status) CheckOutcome {
	return CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: completed, Total: total, Percent: -1, Status: status}}
}

func running(id string, progress *Reading) Event {
	return Event{ID: id, Status: "running", Progress: progress}
}

// TestStatusBeatsCounts: a run that the pipeline calls running is running, whatever its counts suggest. Only a poll without a status starts the
// completion grace.
func TestStatusBeatsCounts(t *testing.T) {
	const long = 20 * time.Minute // longer than every grace
	all := &Reading{Completed: 3, Total: 3, Percent: -1}
	for name, x := range map[string]struct {
		play  func(l *life)
		state State
	}{
		"running, 3 of 3":   {func(l *life) { l.poll(shows(3, 3, "running"), long) }, Running},
		"running, 7 of 0":   {func(l *life) { l.poll(shows(7, 0, "running"), long) }, Running},
		"running, 0 of 0":   {func(l *life) { l.poll(shows(0, 0, "running"), long) }, Running},
		"running, 5 of 3":   {func(l *life) { l.poll(shows(5, 3, "running"), long) }, Running},
		"no status, 3 of 3": {func(l *life) { l.poll(shows(3, 3, ""), long) }, Succeeded},
		"no status, 5 of 3": {func(l *life) { l.poll(shows(5, 3, ""), long) }, Succeeded},
		"succeeded, 1 of 3": {func(l *life) { l.do(time.Second, shows(1, 3, "succeeded")) }, Succeeded},
		"failed, 0 of 0":    {func(l *life) { l.do(time.Second, shows(0, 0, "failed")) }, Failed},
		"no status, then running": {func(l *life) {
			l.do(time.Second, shows(3, 3, "")).do(time.Second, shows(3, 3, "running")).poll(shows(3, 3, "running"), long)
		}, Running},
		"unknown, then 7 of 0": {func(l *life) { l.poll(unknown, 9*time.Minute); l.poll(shows(7, 0, "running"), long) }, Running},
		"an event, 3 of 3":     {func(l *life) { l.do(time.Second, running("e", all)).poll(shows(2, 3, ""), long) }, Running},
		"an event without counts": {func(l *life) {
			l.do(time.Second, shows(3, 3, "")).do(time.Second, running("e", nil)).poll(shows(2, 3, ""), long)
		}, Running},
		"running until its end":    {func(l *life) { l.poll(shows(3, 3, "running"), 2*time.Hour) }, TimedOut},
		"an event at the deadline": {func(l *life) { l.do(time.Second, shows(3, 3, "")).do(time.Hour, running("e", nil)) }, TimedOut},
		"a poll at the deadline":   {func(l *life) { l.do(time.Second, shows(3, 3, "")).do(time.Hour, shows(3, 3, "running")) }, TimedOut},
		"counted at the deadline":  {func(l *life) { l.do(time.Second, shows(3, 3, "")).do(time.Hour, Tick{}) }, Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			l := accepted(rules)
			x.play(l)
			if l.c.State != x.state {
				t.Errorf("it is %s, want %s: %s", l.c.State, x.state, dump(l.c))
			}
		})
	}
}

// TestRunningEventsKeepARunOpen: events that say running are believed over polls that only count. Each ends the grace; a later poll begins it anew.
func TestRunningEventsKeepARunOpen(t *testing.T) {
	l := accepted(rules)
	for until := l.now.Add(5 * rules.CompletionGrace); l.now.Before(until); {
		l.do(time.Second, running("e", &Reading{Completed: 3, Total: 3, Percent: -1}))
		if l.c.Job.CompleteSince.IsZero() && !l.c.Checks.NextAt.After(l.now) {
			if !rules.ShouldPoll(l.c, l.now) {
				t.Fatal("a check asks nothing, and there is no grace")
			}
			l.do(0, shows(3, 3, ""))
		}
		if l.c.State != Running {
			t.Fatalf("it ended while its events say running: %+v", l.c.Outcome.End)
		}
	}
	l.do(0, shows(3, 3, ""))
	from := l.now
	l.poll(shows(3, 3, ""), time.Hour)
	l.want(t, Succeeded, ReasonCompleted, SourceCheck)
	if waited := l.c.Outcome.EndedAt.Sub(from); waited != rules.CompletionGrace {
		t.Errorf("it ended %v after the last poll, want %v", waited, rules.CompletionGrace)
	}
}

// TestPollsForTheEnd: when all is counted and the status says running, the end may come at any time: polls begin close and get farther apart.
func TestPollsForTheEnd(t *testing.T) {
	l := accepted(rules).read(10*time.Second, 4, 4)
	if at := l.c.Checks.NextAt; !at.Equal(l.c.Job.CompleteSince.Add(rules.CompletionGrace)) {
		t.Errorf("without a status the next poll is at %v", at)
	}
	l = accepted(rules)
	var waits []time.Duration
	for range 12 {
		l.do(max(0, l.c.Checks.NextAt.Sub(l.now)), shows(4, 4, "running"))
		waits = append(waits, l.c.Checks.NextAt.Sub(l.now))
	}
	if first, last := waits[0], waits[len(waits)-1]; first != rules.CheckMinInterval || last != rules.CheckMaxInterval {
		t.Errorf("waits %v", waits)
	}
	if l.c.State != Running || !l.c.Job.CompleteSince.IsZero() {
		t.Errorf("%s", dump(l.c))
	}
	l.do(time.Second, shows(4, 4, "succeeded"))
	if l.want(t, Succeeded, ReasonCompleted, SourceCheck); !l.c.Outcome.Reported {
		t.Error("its own report is not taken for one")
	}
}

// TestUncountedProgress: a total that is not known stays unknown, and estimates nothing.
func TestUncountedProgress(t *testing.T) {
	l := accepted(rules).do(10*time.Second, shows(7, 0, "running"))
	if want := (Progress{Completed: 7}); l.c.Job.Progress != want {
		t.Errorf("%+v, want %+v", l.c.Job.Progress, want)
	}
	if left, ok := l.c.Remaining(l.now); ok {
		t.Errorf("it will take %v, says nothing", left)
	}
	if wait := l.c.Checks.NextAt.Sub(l.now); wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval {
		t.Errorf("waits %v", wait)
	}
	l.do(time.Second, CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 7, Percent: 40, Status: "running"}}).do(time.Second, shows(8, 10, "running"))
	if want := (Progress{Completed: 8, Total: 10, Percent: 80}); l.c.Job.Progress != want {
		t.Errorf("%+v, want %+v", l.c.Job.Progress, want)
	}
	if l.do(time.Second, shows(12, 0, "running")); l.c.Job.Progress.Total != 12 {
		t.Errorf("a total that was known is %d with 12 done", l.c.Job.Progress.Total)
	}
}

// TestRerunIsNotFailedByTheRunBefore: what the run before was at work on, and then failed at, is still shown when the next has begun.
func TestRerunIsNotFailedByTheRunBefore(t *testing.T) {
	for name, first := range map[string]*life{
		"polled":   accepted(rules).do(time.Second, shows(3, 4, "running")).do(time.Second, Event{ID: "e", Status: "failed"}),
		"by event": accepted(rules).do(time.Second, running("r", &Reading{Completed: 3, Total: 4, Percent: -1})).do(time.Second, Event{ID: "e", Status: "failed"}),
	} {
		l := begin(rules, &first.c).inFlight().outcome(DispatchAccepted)
		for range 3 {
			if l.do(5*time.Second, shows(3, 4, "failed")); l.c.State != Running {
				t.Fatalf("%s: run 2 was failed by what run 1 left: %s", name, dump(l.c))
			}
		}
		if l.do(time.Second, shows(0, 4, "running")).do(time.Second, shows(3, 4, "failed")); l.c.State != Failed {
			t.Errorf("%s: its own failure is not taken: %s", name, dump(l.c))
		}
	}
	failed := accepted(rules).do(time.Second, shows(3, 4, "failed"))
	if l := begin(rules, &failed.c).inFlight().outcome(DispatchAccepted).do(time.Second, shows(3, 4, "running")); l.c.Job.Baseline != nil {
		t.Error("that it runs again is news")
	}
}

// TestOpenDispatchOutlivesAnOldCount: what was counted before a request was sent again does not end the run while that may be answered.
func TestOpenDispatchOutlivesAnOldCount(t *testing.T) {
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
