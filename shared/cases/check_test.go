package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

func TestJobThatIsUnknownForLongIsLost(t *testing.T) {
	l := accepted(rules)
	at := l.now
	l.poll(unknown, time.Hour)
	l.want(t, Failed, ReasonPipelineLost, SourceCheck)
	if after := l.c.Outcome.EndedAt.Sub(at); after < rules.UnreachableAfter ||
		after > rules.UnreachableAfter+rules.CheckMaxInterval+rules.CheckMinInterval {
		t.Errorf("ended after %v", after)
	}
	l = adopt()
	l.poll(unknown, time.Hour)
	l.want(t, Failed, ReasonPipelineLost, SourceCheck)
}

// A run that the pipeline calls running is running, whatever its counts suggest. Only a poll
// without a status starts the completion grace.
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
			l.do(time.Second, shows(3, 3, "")).do(time.Second, shows(3, 3, "running")).
				poll(shows(3, 3, "running"), long)
		}, Running},
		"unknown, then 7 of 0": {
			func(l *life) { l.poll(unknown, 9*time.Minute); l.poll(shows(7, 0, "running"), long) },
			Running,
		},
		"an event, 3 of 3": {
			func(l *life) { l.do(time.Second, running("e", all)).poll(shows(2, 3, ""), long) },
			Running,
		},
		"an event without counts": {func(l *life) {
			l.do(time.Second, shows(3, 3, "")).do(time.Second, running("e", nil)).poll(shows(2, 3, ""), long)
		}, Running},
		"running until its end": {func(l *life) { l.poll(shows(3, 3, "running"), 2*time.Hour) }, TimedOut},
		"an event at the deadline": {
			func(l *life) { l.do(time.Second, shows(3, 3, "")).do(time.Hour, running("e", nil)) },
			TimedOut,
		},
		"a poll at the deadline": {
			func(l *life) { l.do(time.Second, shows(3, 3, "")).do(time.Hour, shows(3, 3, "running")) },
			TimedOut,
		},
		"counted at the deadline": {
			func(l *life) { l.do(time.Second, shows(3, 3, "")).do(time.Hour, Tick{}) },
			Succeeded,
		},
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

func TestCompleteRunSucceedsAfterTheGrace(t *testing.T) {
	l := accepted(rules).read(time.Second, 4, 4)
	if got := l.c.Checks.NextAt.Sub(l.now); got != rules.CompletionGrace {
		t.Errorf("next check in %v", got)
	}
	if rules.ShouldPoll(l.c, l.c.Checks.NextAt) {
		t.Error("the check at the end of the grace polls")
	}
	count := l.c.Checks.Polls
	l.poll(failed, time.Minute)
	l.want(t, Succeeded, ReasonCompleted, SourceCheck)
	if l.c.Checks.Polls != count || l.c.Outcome.HasResult || l.c.Outcome.Reported {
		t.Errorf("%+v", l.c)
	}
	if l = accepted(rules).read(0, 4, 4).read(time.Second, 4, 6); !l.c.Job.CompleteSince.IsZero() {
		t.Error("total grew: it is not complete")
	}
}

// A total that is not known stays unknown, and nothing is estimated from it.
func TestUnknownTotalStaysUnknown(t *testing.T) {
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
	l.do(time.Second, CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 7, Percent: 40, Status: "running"}}).
		do(time.Second, shows(8, 10, "running"))
	if want := (Progress{Completed: 8, Total: 10, Percent: 80}); l.c.Job.Progress != want {
		t.Errorf("%+v, want %+v", l.c.Job.Progress, want)
	}
	if l.do(time.Second, shows(12, 0, "running")); l.c.Job.Progress.Total != 12 {
		t.Errorf("a total that was known is %d with 12 done", l.c.Job.Progress.Total)
	}
}

func TestProgressNeverGoesBackwards(t *testing.T) {
	l := accepted(rules)
	for _, step := range []struct {
		in   Reading
		want Progress
	}{
		{Reading{10, 50, -1, "a", "", ""}, Progress{10, 50, 20, "a"}},
		{Reading{12, 50, 30, "b", "", ""}, Progress{12, 50, 30, "b"}},
		{Reading{12, 100, -1, "b", "", ""}, Progress{12, 100, 30, "b"}}, // total grows: the percentage stays
		{Reading{3, 100, 99, "c", "", ""}, Progress{12, 100, 30, "b"}},
		{Reading{40, 0, -1, "", "", ""}, Progress{40, 100, 40, ""}},
		{Reading{41, 20, 250, "", "", ""}, Progress{41, 41, 99.9, ""}},
	} {
		l.do(time.Second, CheckOutcome{Kind: CheckReading, Reading: step.in})
		if l.c.Job.Progress != step.want {
			t.Errorf("after %+v: %+v, want %+v", step.in, l.c.Job.Progress, step.want)
		}
	}
}

// While a run is open, and after any other end, it is at most 99.9.
func TestPercentIs100OnlyAfterASuccess(t *testing.T) {
	part := func(completed, total int, percent float64, status Status) CheckOutcome {
		return CheckOutcome{
			Kind:    CheckReading,
			Reading: Reading{Completed: completed, Total: total, Percent: percent, Status: status},
		}
	}
	for name, x := range map[string]struct {
		in   []Input
		want Progress
	}{
		"2,499 of 2,500":       {[]Input{part(2499, 2500, -1, "")}, Progress{2499, 2500, 99.9, ""}},
		"it says 100":          {[]Input{part(1, 4, 100, "")}, Progress{1, 4, 99.9, ""}},
		"it says 99.96":        {[]Input{part(1, 4, 99.96, "")}, Progress{1, 4, 99.9, ""}},
		"it says 250":          {[]Input{part(1, 4, 250, "")}, Progress{1, 4, 99.9, ""}},
		"3 of 3, and it runs":  {[]Input{part(3, 3, -1, "running")}, Progress{3, 3, 99.9, ""}},
		"3 of 3, in the grace": {[]Input{part(3, 3, -1, "")}, Progress{3, 3, 99.9, ""}},
		"an event of 3 of 3": {
			[]Input{running("e", &Reading{Completed: 3, Total: 3, Percent: -1})},
			Progress{3, 3, 99.9, ""},
		},
		"total grows": {
			[]Input{part(3, 3, -1, ""), part(3, 6, -1, ""), part(4, 60, -1, "")},
			Progress{4, 60, 99.9, ""},
		},
		"4 of 4, failed":    {[]Input{part(4, 4, 100, "failed")}, Progress{4, 4, 99.9, ""}},
		"3 of 4, failed":    {[]Input{part(3, 4, -1, ""), Event{ID: "e", Status: "failed"}}, Progress{3, 4, 75, ""}},
		"3 of 4, cancelled": {[]Input{part(3, 4, -1, ""), Cancel{}}, Progress{3, 4, 75, ""}},
		"every one failed": {
			[]Input{Event{
				ID:     "e",
				Status: "succeeded",
				Result: result(t, `{"webhook_summary":{"total_sets":4,"succeeded":0,"failed":4}}`),
			}},
			Progress{},
		},

		"succeeded without counts": {[]Input{Event{ID: "e", Status: "succeeded"}}, Progress{0, 0, 100, ""}},
		"1 of 100, then succeeded": {
			[]Input{part(1, 100, -1, ""), Event{ID: "e", Status: "succeeded"}},
			Progress{100, 100, 100, ""},
		},
		"its status says succeeded": {[]Input{part(17, 18, -1, "succeeded")}, Progress{18, 18, 100, ""}},
		"7 of an unknown total": {
			[]Input{part(7, 0, -1, "running"), Event{ID: "e", Status: "succeeded"}},
			Progress{7, 7, 100, ""},
		},
		"more documents than counted": {
			[]Input{
				part(3, 4, -1, ""),
				Event{
					ID:     "e",
					Status: "succeeded",
					Result: result(t, `{"webhook_summary":{"total_sets":9,"succeeded":8,"failed":1}}`),
				},
			},
			Progress{9, 9, 100, ""},
		},
		"fewer documents": {
			[]Input{
				part(3, 4, -1, ""),
				Event{
					ID:     "e",
					Status: "succeeded",
					Result: result(t, `{"webhook_summary":{"total_sets":2,"succeeded":2}}`),
				},
			},
			Progress{4, 4, 100, ""},
		},
		"only documents are counted": {
			[]Input{Event{
				ID:     "e",
				Status: "succeeded",
				Result: result(t, `{"webhook_summary":{"total_sets":2,"succeeded":2}}`),
			}},
			Progress{2, 2, 100, ""},
		},
		"the grace ends it": {[]Input{part(3, 3, -1, ""), CheckOutcome{Kind: CheckSkipped}}, Progress{3, 3, 100, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			l := accepted(rules)
			for _, in := range x.in {
				before := l.c
				l.do(time.Minute, in)
				checkInvariants(t, l.r, before, l.c, l.v)
			}
			if l.c.Job.Progress != x.want {
				t.Errorf("%s: %+v, want %+v", l.c.State, l.c.Job.Progress, x.want)
			}
		})
	}
}

func TestRunWhoseProgressStandsStillIsStalled(t *testing.T) {
	l := accepted(rules).read(time.Second, 1, 4)
	l.poll(CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 1, Total: 4, Percent: -1}}, 6*time.Minute)
	if !l.c.Job.Stalled || l.c.State.Ended() {
		t.Fatal("not stalled")
	}
	if l.read(time.Second, 2, 4); l.c.Job.Stalled {
		t.Error("it moved")
	}
	// Waiting in our own queue is not the pipeline's stall.
	l = begin(rules, nil)
	l.poll(failed, 20*time.Minute)
	if l.c.Job.Stalled || l.c.Checks.Polls != 0 {
		t.Errorf("%+v", l.c.Checks)
	}
}

func TestRerunIgnoresWhatTheRunBeforeLeft(t *testing.T) {
	first := accepted(rules).read(time.Second, 30, 52).do(time.Second, Event{ID: "e", Status: "failed"})
	for name, shown := range map[string][2]int{"its last reading": {30, 52}, "its completion": {52, 52}} {
		l := begin(rules, &first.c).inFlight().outcome(DispatchAccepted)
		for range 5 {
			l.read(10*time.Second, shown[0], shown[1])
			if l.c.Job.Progress.Total != 0 || !l.c.Job.CompleteSince.IsZero() {
				t.Fatalf("%s was taken for news", name)
			}
		}
		l.read(time.Second, 1, 52).read(time.Second, 52, 52)
		if l.c.Job.Progress.Completed != 52 || l.c.Job.CompleteSince.IsZero() {
			t.Errorf("after %s: news were not taken", name)
		}
	}
	// Without an answer, the old run's reading is no sign that the new one was started.
	l := begin(rules, &first.c).inFlight().outcome(DispatchUncertain)
	l.poll(CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 30, Total: 52, Percent: -1}}, time.Hour)
	l.want(t, Failed, ReasonStartUnknown, SourceCheck)

	// The old run may have ended before it was ever polled: then its result says what is shown.
	first = begin(rules, nil).inFlight().
		do(0, DispatchOutcome{
			Nonce:  "n1",
			Kind:   DispatchSucceeded,
			Result: result(t, `{"success":true,"webhook_summary":{"total_sets":52,"succeeded":52}}`),
		})
	if l = begin(rules, &first.c).inFlight().outcome(DispatchAccepted).
		read(0, 52, 52); !l.c.Job.CompleteSince.IsZero() {
		t.Error("the old result was taken for the new one")
	}
	third := begin(rules, &l.do(0, Cancel{}).c)
	if third.c.Job.Baseline == nil || third.c.PriorUnreported == false {
		t.Error("a run without news of its own hands on what it was handed")
	}
}

// The pipeline still shows what the run before worked on, and how it then failed, when the next run
// has begun.
func TestRerunIsNotFailedByTheRunBefore(t *testing.T) {
	for name, first := range map[string]*life{
		"polled": accepted(rules).do(time.Second, shows(3, 4, "running")).
			do(time.Second, Event{ID: "e", Status: "failed"}),
		"by event": accepted(rules).do(time.Second, running("r", &Reading{Completed: 3, Total: 4, Percent: -1})).
			do(time.Second, Event{ID: "e", Status: "failed"}),
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
	if l := begin(rules, &failed.c).inFlight().outcome(DispatchAccepted).
		do(time.Second, shows(3, 4, "running")); l.c.Job.Baseline != nil {
		t.Error("that it runs again is news")
	}
}

func TestResultOfTheRunBeforeIsNotTaken(t *testing.T) {
	shown := CheckOutcome{
		Kind:    CheckReading,
		Reading: Reading{Completed: 4, Total: 4, Percent: -1, Status: "succeeded"},
		Result:  result(t, `{"output_url":"of run 1"}`),
	}
	first := accepted(rules).do(time.Second, shown)
	l := begin(rules, &first.c).inFlight().outcome(DispatchAccepted).
		do(time.Second, Event{ID: "e", Status: "succeeded"})
	if l.do(0, shown); l.c.Outcome.HasResult || l.c.Outcome.Late != nil {
		t.Errorf("a poll of the old run brought %+v, %+v", l.v, l.c.Outcome.Late)
	}
	if l.do(0, Event{
		ID:     "own",
		Status: "succeeded",
		Result: result(t, `{"output_url":"of run 2"}`),
	}); l.v.Kind != Filled ||
		l.c.Outcome.OutputURL != "of run 2" {
		t.Errorf("%+v %s", l.v, l.c.Outcome.OutputURL)
	}
}

// A busy answer to a poll shows that the pipeline can be reached, and tells nothing of the run.
func TestBusyPollShowsThatThePipelineIsReachable(t *testing.T) {
	l := accepted(rules)
	l.poll(failed, 9*time.Minute)
	count, failures := l.c.Checks.Polls, l.c.Checks.FailedPolls
	l.do(time.Second, busy(0))
	if l.c.Checks.Polls != count+1 || l.c.Checks.FailedPolls != failures || l.c.Checks.ConsecutiveFailures != 0 ||
		!l.c.Checks.FailingSince.IsZero() {
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
	l = begin(rules, nil).inFlight().outcome(DispatchUncertain).do(time.Second, unknown).do(time.Minute, busy(0)).
		do(time.Minute+time.Second, unknown)
	l.want(t, Failed, ReasonStartUnknown, SourceCheck)

	// An attempt that is to be repeated is not unreachable since before.
	l = begin(idempotent, nil).inFlight().outcome(DispatchUncertain)
	l.poll(unknown, rules.StartGrace+10*time.Second)
	l.inFlight().outcome(DispatchUnreachable).do(9*time.Minute, busy(0))
	if l.do(2*time.Minute, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: "z"}).
		outcome(DispatchUnreachable); l.c.State.Ended() {
		t.Errorf("unreachable, though it answered a poll: %+v", l.c.Outcome.End)
	}
}

// Where the clock of an instance is behind, the check that is due at the deadline begins before it.
func TestCheckAtTheDeadlineDoesNotPoll(t *testing.T) {
	c := accepted(rules).c
	c.Checks.NextAt = c.DeadlineAt
	if rules.ShouldPoll(c, c.DeadlineAt.Add(-2*time.Second)) {
		t.Error("it polls, want it not to")
	}
}

func TestResultThatComesWithTheTimeoutIsTaken(t *testing.T) {
	l := begin(rules, nil).inFlight().do(rules.PipelineTimeout-6*time.Second, Event{ID: "s", Status: "succeeded"})
	l.do(6*time.Second, CheckOutcome{
		Kind:    CheckReading,
		Reading: Reading{Completed: 4, Total: 4, Status: "succeeded"},
		Result:  result(t, `{"output_url":"u"}`),
	})
	if l.want(t, Succeeded, ReasonCompleted, SourceCheck); !l.c.Outcome.HasResult {
		t.Error("the result was dropped")
	}
}
