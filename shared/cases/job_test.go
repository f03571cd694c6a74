package cases_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

func TestAJobWhoseNameIsNotKnownIsNotPolled(t *testing.T) {
	l := begin(named, nil).inFlight()
	if l.r.ShouldPoll(l.c, l.now.Add(time.Second)) {
		t.Error("there is no name to ask for")
	}
	if l.answers(DispatchAccepted, "j"); l.c.Job.ID != "j" || !l.r.ShouldPoll(l.c, l.now.Add(time.Second)) {
		t.Errorf("%s", dump(l.c))
	}
	l.r.Gone = true
	if l.r.ShouldPoll(l.c, l.now.Add(time.Second)) {
		t.Error("there is no such pipeline any more")
	}
	if n := l.poll(failed, 2*time.Hour); n != 0 {
		t.Errorf("polled %d times", n)
	}
	l.want(t, TimedOut, ReasonDeadline, SourceDeadline)
}

func TestAStartWhoseAnswerWasLost(t *testing.T) {
	idem := named
	idem.Idempotent = true
	for name, test := range map[string]struct {
		r      Rules
		before func(*life) *life
		want   func(*testing.T, *life)
	}{
		"ends as start_unknown": {named, nil, func(t *testing.T, l *life) {
			l.want(t, Failed, ReasonStartUnknown, SourceCheck)
			if at := l.c.Dispatch.UncertainSince.Add(rules.StartGrace); !l.c.Outcome.EndedAt.Equal(at) {
				t.Errorf("ended at %v, want %v", l.c.Outcome.EndedAt, at)
			}
			if !strings.Contains(l.c.Outcome.End.Message, "name is not known") {
				t.Error(l.c.Outcome.End.Message)
			}
		}},
		"is repeated where that is safe": {idem, nil, func(t *testing.T, l *life) {
			if l.c.Dispatch.Seq != 2 || l.c.State.Ended() {
				t.Errorf("%s", dump(l.c))
			}
		}},
		"goes on once a callback came": {
			named,
			func(l *life) *life { return l.do(time.Second, Event{ID: "e", Status: "running", Callback: true}) },
			func(t *testing.T, l *life) {
				if l.c.State != Running {
					t.Errorf("%s", dump(l.c))
				}
			},
		},
		"is polled once a callback named the job": {
			named,
			func(l *life) *life {
				return l.do(time.Second, Event{ID: "e", Status: "running", Callback: true, JobID: "j"})
			},
			func(t *testing.T, l *life) {
				if l.c.Job.ID != "j" || !l.r.ShouldPoll(l.c, l.c.Checks.NextAt) {
					t.Errorf("%s", dump(l.c))
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := begin(test.r, nil).inFlight().outcome(DispatchUncertain)
			if test.before != nil {
				test.before(l)
			}
			for n := 0; n < 100 && !l.c.State.Ended() && l.now.Sub(epoch) < 5*time.Minute; n++ {
				if l.c.Dispatch.Phase == PhaseQueued {
					break
				}
				l.now = l.c.Checks.NextAt
				l.do(0, CheckOutcome{Kind: CheckSkipped})
			}
			test.want(t, l)
		})
	}
}

func TestTheAnswerOfTheStartIsReadLikeAPolls(t *testing.T) {
	l := begin(named, nil).inFlight()
	l.do(time.Second, DispatchOutcome{
		Nonce: l.c.Dispatch.Nonce, Kind: DispatchAccepted, JobID: "j",
		Reading: &Reading{Completed: 1, Total: 4, Percent: -1, Status: StatusRunning, Unmapped: "warming"},
	})
	if l.c.State != Running || l.c.Job.Progress.Total != 4 || !slices.Equal(l.c.Job.Unmapped, []string{"warming"}) {
		t.Errorf("%s", dump(l.c))
	}
	begin(named, nil).inFlight().answers(DispatchSucceeded, "j").want(t, Succeeded, ReasonCompleted, SourceDispatch)
	begin(named, nil).inFlight().answers(DispatchCancelled, "j").want(t, Cancelled, ReasonCancelled, SourceDispatch)
}

func TestAStatusThatNoListNamesIsKeptOnce(t *testing.T) {
	l := job(named)
	for n := range 20 {
		in := shows(0, 0, StatusRunning)
		in.Reading.Unmapped = string(rune('a' + n/2))
		l.do(time.Second, in)
	}
	if got := strings.Join(l.c.Job.Unmapped, ""); got != "abcdefgh" {
		t.Errorf("%q", got)
	}
	noted := 0
	for _, n := range l.c.Timeline {
		if n.What == NoteUnmapped {
			noted++
		}
	}
	if noted != 8 {
		t.Errorf("noted %d times", noted)
	}
	if l.c.State != Running {
		t.Error(l.c.State)
	}
}

func TestAReadingNamesTheJobOnce(t *testing.T) {
	l := begin(byRun, nil).inFlight().outcome(DispatchAccepted)
	in := shows(1, 4, StatusRunning)
	for _, id := range []string{"", "j", "k"} {
		in.JobID = id
		l.do(time.Second, in)
	}
	if l.c.Job.ID != "j" {
		t.Errorf("%q", l.c.Job.ID)
	}
}

func missing() CheckOutcome {
	in := shows(0, 0, StatusSucceeded)
	in.ResultMissing, in.Message = true, "the result was answered 503"
	return in
}

func TestAResultElsewhereIsAwaited(t *testing.T) {
	t.Run("it comes", func(t *testing.T) {
		l := job(named).do(time.Second, missing())
		if l.c.State != Running || l.c.Job.Stalled || !l.c.Checks.NextAt.Before(l.now.Add(30*time.Second)) {
			t.Fatalf("%s", dump(l.c))
		}
		in := shows(0, 0, StatusSucceeded)
		in.Result = result(t, `{"a":1}`)
		l.do(time.Second, in).want(t, Succeeded, ReasonCompleted, SourceCheck)
		if !l.c.Outcome.HasResult {
			t.Error("no result")
		}
	})
	t.Run("it does not come", func(t *testing.T) {
		l := job(named).do(time.Second, missing())
		since := l.now
		if n := l.poll(missing(), time.Hour); n < 2 || !l.now.Equal(since.Add(30*time.Second)) {
			t.Errorf("polled %d times in %v", n, l.now.Sub(since))
		}
		l.want(t, Succeeded, ReasonCompleted, SourceCheck)
		if got := l.c.Outcome.End.Message; got != "completed without a result: the result was answered 503" {
			t.Error(got)
		}
		if !l.c.Outcome.Reported {
			t.Error("the pipeline reported the end")
		}
		l.do(time.Second, Event{ID: "e", Status: StatusSucceeded, Callback: true, Result: result(t, `{"a":1}`)})
		if l.v.Kind != Filled || l.c.Outcome.End.Message != "" {
			t.Errorf("%s %s", l.v.Kind, dump(l.c))
		}
	})
	t.Run("polls fail meanwhile", func(t *testing.T) {
		for _, in := range []CheckOutcome{failed, unknown, busy(time.Hour)} {
			l := job(named).do(time.Second, missing())
			since := l.now
			l.poll(in, 12*time.Minute)
			l.want(t, Succeeded, ReasonCompleted, SourceCheck)
			if l.c.Outcome.EndedAt.Sub(since) > 31*time.Second {
				t.Errorf("%s: after %v", in.Kind, l.c.Outcome.EndedAt.Sub(since))
			}
		}
	})
	t.Run("it runs after all", func(t *testing.T) {
		l := job(named).do(time.Second, missing()).do(time.Second, shows(0, 0, StatusRunning))
		if !l.c.Job.ResultMissingSince.IsZero() || l.c.Job.ResultProblem != "" {
			t.Errorf("%s", dump(l.c))
		}
		l.do(2*time.Hour, Tick{}).want(t, TimedOut, ReasonDeadline, SourceSweep)
	})
	t.Run("the deadline cuts it short", func(t *testing.T) {
		job(named).do(time.Second, missing()).do(2*time.Hour, Tick{}).want(t, Succeeded, ReasonCompleted, SourceCheck)
	})
}

func TestACallbackOfSuccessBringsTheCheckForward(t *testing.T) {
	says := Event{ID: "e", Status: StatusSucceeded, Callback: true, Fetch: true, PendingCheck: 2}
	far := func() *life {
		l := job(named)
		in := shows(0, 0, StatusRunning)
		in.RetryAfter = 20 * time.Minute
		return l.do(time.Second, in)
	}
	l := far()
	seq := l.c.Checks.Seq
	l.do(time.Minute, says)
	if l.c.State != Running || l.c.Checks.Seq != seq+1 || l.c.Checks.NextAt.After(l.now.Add(2*time.Second)) {
		t.Fatalf("%s", dump(l.c))
	}
	if !l.r.ShouldPoll(l.c, l.c.Checks.NextAt) {
		t.Error("the check does not poll")
	}
	l = far()
	says.PendingCheck = 1
	if l.do(time.Minute, says); l.c.Checks.Seq != seq || l.c.State != Running {
		t.Errorf("a task that was not seen cannot be replaced: %s", dump(l.c))
	}
	says.Result, says.Fetch = result(t, `{"a":1}`), false
	far().do(time.Minute, says).want(t, Succeeded, ReasonCompleted, SourceCallback)
	says.Result, says.Fetch = nil, true
	far().do(time.Hour, says).want(t, Succeeded, ReasonCompleted, SourceCallback)
	gone := far()
	gone.r.Gone = true
	gone.do(time.Minute, says).want(t, Succeeded, ReasonCompleted, SourceCallback)
	begin(named, nil).inFlight().outcome(DispatchUncertain).do(0, says).
		want(t, Succeeded, ReasonCompleted, SourceCallback)
	l = begin(named, nil).inFlight().do(0, says)
	if l.c.State != Running {
		t.Error("its name is still to come, and with it the result")
	}
}

func TestACallbackWhileTheRequestIsInFlight(t *testing.T) {
	says := Event{ID: "e", Status: StatusSucceeded, Callback: true}
	l := begin(rules, nil).inFlight().do(time.Second, says)
	if l.c.State != Running {
		t.Fatalf("the answer is to bring the result: %s", dump(l.c))
	}
	l.outcome(DispatchAccepted).want(t, Succeeded, ReasonCompleted, SourceCallback)
	if !l.c.Outcome.Reported {
		t.Error("it reported its end")
	}
}

func TestACallbackAboutAnotherJobIsRejected(t *testing.T) {
	for _, status := range []Status{StatusRunning, StatusSucceeded, StatusFailed, StatusCancelled} {
		l := job(named).do(0, Event{ID: "e", Status: status, Callback: true, JobID: "another"})
		if l.v.Kind != Rejected {
			t.Errorf("%s: %s", status, l.v.Kind)
		}
		if l.do(0, Event{ID: "e", Status: status, Callback: true, JobID: "j"}); l.v.Kind == Rejected {
			t.Errorf("%s: its own is rejected", status)
		}
	}
}

func TestThePipelineSaysWhenToPoll(t *testing.T) {
	in := shows(0, 0, StatusRunning)
	in.RetryAfter = 5 * time.Minute
	l := job(named).do(time.Second, in)
	if !l.c.Checks.NextAt.Equal(l.c.Checks.LastAt.Add(5 * time.Minute)) {
		t.Errorf("next in %v", l.c.Checks.NextAt.Sub(l.c.Checks.LastAt))
	}
	if l.do(time.Second, Viewed{CheckPending: true}); l.v.Kind != Ignored {
		t.Error("viewers do not bring it forward")
	}
	l.now = l.c.Checks.NextAt
	if l.do(0, shows(0, 0, StatusRunning)); l.c.Checks.NextAt.After(l.now.Add(30 * time.Second)) {
		t.Errorf("next in %v", l.c.Checks.NextAt.Sub(l.now))
	}
	for _, n := range l.c.Timeline {
		if n.What == NoteBusy || n.What == NoteReachable {
			t.Errorf("the pipeline was never busy: %+v", n)
		}
	}
}

func TestProgressWithoutCounts(t *testing.T) {
	percent := func(p float64) CheckOutcome {
		return CheckOutcome{Kind: CheckReading, Reading: Reading{Percent: p, Status: StatusRunning}}
	}
	l := job(named).do(time.Minute, percent(20))
	rest, ok := l.c.Remaining(l.now)
	if want := 4 * l.now.Sub(l.c.Job.StartedAt); !ok || (rest-want).Abs() > time.Second {
		t.Errorf("percent alone: %v %v, want %v", rest, ok, want)
	}
	if l.c.Durations.Estimate.EndAt.IsZero() {
		t.Error("the schedule has no estimate")
	}
	if l.do(time.Minute, percent(10)); l.c.Job.Progress.Percent != 20 {
		t.Errorf("it went back: %+v", l.c.Job.Progress)
	}
	quiet := named
	quiet.NoProgress = true
	l = job(quiet)
	l.poll(shows(0, 0, StatusRunning), 20*time.Minute)
	if l.c.Job.Stalled {
		t.Error("a pipeline without progress does not stall")
	}
	if _, ok := l.c.Remaining(l.now); ok {
		t.Error("there is nothing to judge by")
	}
	l = job(named)
	if l.poll(shows(0, 0, StatusRunning), 20*time.Minute); !l.c.Job.Stalled {
		t.Error("one that has progress does")
	}
}

func TestARerunElsewhereHasNoBaseline(t *testing.T) {
	prior := job(named).do(time.Second, shows(2, 4, StatusFailed)).c
	for name, test := range map[string]struct {
		r    Rules
		pipe string
		want bool
	}{
		"polls by the case id": {rules, "default", true},
		"another pipeline":     {rules, "other", false},
		"polls by the job":     {named, "default", false},
		"polls by the run":     {byRun, "default", false},
	} {
		t.Run(name, func(t *testing.T) {
			l := &life{r: test.r, now: prior.UpdatedAt}
			l.do(0, Started{CaseID: "c", Run: 2, Pipeline: test.pipe, Deadline: time.Hour, Prior: &prior})
			if got := l.c.Job.Baseline != nil; got != test.want || l.c.Pipeline != test.pipe {
				t.Errorf("baseline %v, want %v", got, test.want)
			}
		})
	}
	l := &life{r: named, now: epoch}
	l.do(0, Started{CaseID: "c", Run: 1, Pipeline: "p", Deadline: time.Hour, Adopt: true, JobID: "j"})
	if l.c.Job.ID != "j" || !l.r.ShouldPoll(l.c, l.now.Add(time.Second)) {
		t.Errorf("an adopted job is polled by its name: %s", dump(l.c))
	}
}
