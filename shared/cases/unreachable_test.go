package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// Each of these breaks a streak of failed polls, and the time for which the job is unknown: the
// grace begins again.
func TestSignOfTheRunBeginsGracesAgain(t *testing.T) {
	for name, sign := range map[string]Input{
		"a running event": running("e", nil),
		"a reading":       shows(1, 4, StatusNotGiven),
	} {
		for finding, in := range map[string]CheckOutcome{"failed polls": failed, "unknown": unknown} {
			l := accepted(rules)
			l.poll(in, 9*time.Minute)
			l.do(time.Second, sign)
			if ch := l.c.Checks; ch.ConsecutiveFailures != 0 || !ch.FailingSince.IsZero() ||
				!ch.UnknownSince.IsZero() {
				t.Errorf("%s after %s leaves %+v", name, finding, ch)
			}
			if l.poll(in, 9*time.Minute); l.c.State.Ended() {
				t.Errorf("%s between %s: it ended with %+v", name, finding, l.c.Outcome.End)
			}
		}
	}
}

// What is left of the run before tells nothing of this one, but the pipeline was reached.
func TestOldReadingEndsAStreakOfFailures(t *testing.T) {
	first := accepted(rules).read(time.Second, 3, 4).do(time.Second, Event{ID: "e", Status: StatusFailed})
	l := begin(rules, &first.c).inFlight().outcome(DispatchAccepted)
	l.poll(failed, 9*time.Minute)
	if l.read(time.Second, 3, 4); l.c.Job.Baseline == nil {
		t.Fatal("what the run before left was taken for news")
	}
	if l.poll(failed, 9*time.Minute); l.c.State.Ended() {
		t.Errorf("it ended with %+v, want it open: the pipeline was reached in between", l.c.Outcome.End)
	}
}

// A check is due when the time for which a pipeline may be unreachable is over, and not up to
// CheckMaxInterval later.
func TestUnreachableRunEndsInTime(t *testing.T) {
	l := accepted(rules).do(time.Second, failed)
	first := l.now
	l.poll(failed, time.Hour)
	l.want(t, Failed, ReasonPipelineUnreachable, SourceCheck)
	if after := l.c.Outcome.EndedAt.Sub(first); after != rules.UnreachableAfter {
		t.Errorf("it ended %v after the first failed poll, want %v", after, rules.UnreachableAfter)
	}

	l = begin(rules, nil).inFlight().do(time.Second, failed).do(time.Second, unknown).outcome(DispatchUncertain)
	l.poll(failed, time.Hour)
	l.want(t, Failed, ReasonPipelineUnreachable, SourceCheck)
	uncertain := l.c.Dispatch.UncertainSince
	if from := later(uncertain, l.c.Checks.FailingSince); l.c.Outcome.EndedAt.Sub(from) != rules.UnreachableAfter {
		t.Errorf("it ended %v after the request was given up, want %v", l.c.Outcome.EndedAt.Sub(uncertain),
			rules.UnreachableAfter)
	}

	// While a request is in flight failed polls end nothing: no check is due for that.
	l = begin(rules, nil).inFlight()
	for l.now.Before(epoch.Add(20 * time.Minute)) {
		l.do(later(l.now, l.c.Checks.NextAt).Sub(l.now), failed)
		last := l.c.Checks.LastAt
		if over := l.c.Checks.FailingSince.Add(rules.UnreachableAfter); last.Before(over) &&
			l.c.Checks.NextAt.Equal(over) {
			t.Errorf("a check is due at %v, where failures in flight last for UnreachableAfter", over)
		}
	}
}

// A run that is queued again has a new streak: the failed polls of the attempt before neither slow
// down its checks nor hold its viewers back, and the timeline tells the next failure.
func TestRequeuedRunHasNoStreakOfFailures(t *testing.T) {
	l := begin(rules, nil).inFlight().do(time.Second, failed).outcome(DispatchBusy)
	if ch := l.c.Checks; ch.ConsecutiveFailures != 0 || !ch.FailingSince.IsZero() {
		t.Errorf("queued again with %+v", ch)
	}
	l.inFlight()
	if why := l.r.Why(l.c); why.Awaits != "end" {
		t.Errorf("sent again it awaits %q, want the end", why.Awaits)
	}
	if !l.r.AcceptsViewer(l.c, l.now) {
		t.Error("sent again a viewer has no effect")
	}
	if got, want := story(l.do(time.Second, failed).c), `began
sent by dispatch (attempt 1)
unreachable by check (connection refused)
not_started by dispatch (said so)
sent by dispatch (attempt 2)
unreachable by check (connection refused)`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// An attempt that was answered ends the row of attempts that started nothing: after it the back-off
// begins anew.
func TestAnsweredAttemptEndsTheBackoff(t *testing.T) {
	l := begin(idempotent, nil)
	for range 4 {
		l.inFlight().outcome(DispatchUnreachable)
	}
	if wait := l.c.Dispatch.At.Sub(l.now); wait < 4*time.Second {
		t.Fatalf("after four attempts the next is in %v: it does not back off", wait)
	}
	l.inFlight().outcome(DispatchUncertain)
	if d := l.c.Dispatch; d.Backoffs != 0 || !d.UnreachableSince.IsZero() {
		t.Errorf("after an answer: %d attempts in a row started nothing, since %v", d.Backoffs, d.UnreachableSince)
	}
	l.poll(unknown, rules.StartGrace+10*time.Second)
	l.inFlight().outcome(DispatchUnreachable)
	if wait := l.c.Dispatch.At.Sub(l.now); wait != time.Second {
		t.Errorf("the attempt after is in %v, want 1s", wait)
	}
}

// A run that is lost says whether the pipeline ever knew it.
func TestLostRunSaysIfItWasKnown(t *testing.T) {
	for want, l := range map[string]*life{
		"the pipeline does not know this case":   adopt(),
		"the pipeline no longer knows this case": accepted(rules),
	} {
		l.poll(unknown, time.Hour)
		l.want(t, Failed, ReasonPipelineLost, SourceCheck)
		if got := l.c.Outcome.End.Message; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
