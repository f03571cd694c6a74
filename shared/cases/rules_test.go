package cases_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/casewatch/casewatch/shared/cases"
)

func (l *life) want(t *testing.T, state State, reason Reason, source Source) {
	t.Helper()
	var got End
	if l.c.Outcome.End != nil {
		got = *l.c.Outcome.End
	}
	if l.c.State != state || got.Reason != reason || got.Source != source {
		t.Fatalf("got %s, %s by %s; want %s, %s by %s", l.c.State, got.Reason, got.Source, state, reason, source)
	}
}

// look plays checks with the same finding, each when it is due, until the run ends or the time is up. It returns their number.
func (l *life) poll(in CheckOutcome, until time.Duration) int {
	n, end := 0, l.now.Add(until)
	for !l.c.State.Ended() && !l.c.Checks.NextAt.After(end) {
		l.now = later(l.now, l.c.Checks.NextAt)
		if !l.r.ShouldPoll(l.c, l.now) {
			l.do(0, CheckOutcome{Kind: CheckSkipped})
			continue
		}
		l.do(0, in)
		n++
	}
	return n
}

func accepted(r Rules) *life { return begin(r, nil).inFlight().outcome(DispatchAccepted) }

var (
	failed  = CheckOutcome{Kind: CheckFailed, Message: "connection refused"}
	unknown = CheckOutcome{Kind: CheckUnknown}
)

func TestPipelineNeverReached(t *testing.T) {
	l := begin(rules, nil)
	first := l.now
	var waits []time.Duration
	for !l.c.State.Ended() {
		l.now = later(l.now, l.c.Dispatch.At)
		l.do(0, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: fmt.Sprint(l.c.Dispatch.Seq)})
		l.do(0, DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: DispatchUnreachable, Message: "refused"})
		waits = append(waits, l.c.Dispatch.At.Sub(l.now))
	}
	l.want(t, Failed, ReasonPipelineUnreachable, SourceDispatch)
	if got := l.c.Outcome.EndedAt.Sub(first); got != rules.UnreachableAfter {
		t.Errorf("ended after %v", got)
	}
	if want := []time.Duration{time.Second, 1500 * time.Millisecond, 3 * time.Second, 6 * time.Second, 12 * time.Second, 22500 * time.Millisecond, 22500 * time.Millisecond}; !cmp.Equal(waits[:7], want) {
		t.Errorf("backed off %v, want %v", waits[:7], want)
	}
	if !l.c.Outcome.Reported || l.c.Checks.Polls != 0 {
		t.Error("a run that was never sent has nothing to be heard of, and nothing to look at")
	}
}

func TestBusyPipelineEndsOnlyAtTheDeadline(t *testing.T) {
	l := begin(rules, nil)
	for n := 0; !l.c.State.Ended(); n++ {
		l.now = later(l.now, l.c.Dispatch.At)
		l.do(0, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: fmt.Sprint(l.c.Dispatch.Seq)})
		l.do(0, DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: DispatchBusy, RetryAfter: 90 * time.Second})
		if wait := l.c.Dispatch.At.Sub(l.now); !l.c.State.Ended() && wait != 90*time.Second && !l.c.Dispatch.At.Equal(l.c.DeadlineAt) {
			t.Fatalf("did not respect Retry-After: %v", wait)
		}
	}
	l.want(t, TimedOut, ReasonDeadline, SourceDeadline)
	if !l.c.Outcome.EndedAt.Equal(l.c.DeadlineAt) {
		t.Error("ended at", l.c.Outcome.EndedAt)
	}
}

func TestUnreachableCountsConsecutiveFailures(t *testing.T) {
	l := begin(rules, nil).inFlight().outcome(DispatchUnreachable)
	l.do(9*time.Minute, DispatchBegun{Seq: 2, Nonce: "2"}).outcome(DispatchBusy) // it was reached
	l.do(2*time.Minute, DispatchBegun{Seq: 3, Nonce: "3"}).outcome(DispatchUnreachable)
	if l.c.State.Ended() {
		t.Fatal("a busy answer did not reset the failure")
	}
	l = accepted(rules)
	l.poll(failed, 9*time.Minute)
	l.read(l.c.Checks.NextAt.Sub(l.now), 1, 4)
	l.poll(failed, 9*time.Minute)
	if l.c.State.Ended() {
		t.Fatal("a look that succeeded did not reset the failure")
	}
	l.poll(failed, 2*time.Minute)
	l.want(t, Failed, ReasonPipelineUnreachable, SourceCheck)
	if l.c.Checks.FailedPolls < 20 || l.c.Checks.Polls != l.c.Checks.FailedPolls+1 || l.c.Outcome.End.Message != "connection refused" {
		t.Errorf("%+v %+v", l.c.Checks, l.c.Outcome.End)
	}
}

func TestLostJob(t *testing.T) {
	l := accepted(rules)
	at := l.now
	l.poll(unknown, time.Hour)
	l.want(t, Failed, ReasonPipelineLost, SourceCheck)
	if after := l.c.Outcome.EndedAt.Sub(at); after < rules.UnreachableAfter || after > rules.UnreachableAfter+rules.CheckMaxInterval+rules.CheckMinInterval {
		t.Errorf("ended after %v", after)
	}
	l = adopt()
	l.poll(unknown, time.Hour)
	l.want(t, Failed, ReasonPipelineLost, SourceCheck)
}

func TestUncertainStart(t *testing.T) {
	l := begin(rules, nil).inFlight().outcome(DispatchUncertain)
	at := l.now
	l.poll(unknown, time.Hour)
	l.want(t, Failed, ReasonStartUnknown, SourceCheck)
	if after := l.c.Outcome.EndedAt.Sub(at); after < rules.StartGrace || after > rules.StartGrace+2*rules.CheckMinInterval {
		t.Errorf("ended after %v", after)
	}

	l = begin(rules, nil).inFlight().outcome(DispatchUncertain).read(time.Second, 1, 4)
	if l.c.State != Running || !l.c.Job.Seen {
		t.Error("a reading shows that it was started")
	}

	l = begin(idempotent, nil).inFlight().outcome(DispatchUncertain)
	l.poll(unknown, rules.StartGrace+10*time.Second)
	if d := l.c.Dispatch; d.Phase != PhaseQueued || d.Seq != 2 || d.Attempts != 1 {
		t.Fatalf("not dispatched again: %+v", d)
	}
	if !rules.ShouldPoll(l.c, l.now) {
		t.Error("the first attempt may still show up: look for it")
	}
	l.inFlight()
	if l.c.Dispatch.Attempts != 2 {
		t.Error("two attempts may have arrived")
	}
	l.do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchAccepted})
	if l.c.Dispatch.Phase != PhaseInFlight || l.c.State != Running {
		t.Error("the first attempt's answer counts, and leaves the second one open")
	}
}

func TestLostAttemptIsNotRepeated(t *testing.T) {
	l := begin(rules, nil).inFlight()
	if l.do(time.Second, DispatchBegun{Seq: 1, Nonce: "x", RetryCount: 0}); l.v.Kind != Stale {
		t.Error("a duplicate of an open delivery counted:", l.v.Kind)
	}
	l.do(time.Second, DispatchBegun{Seq: 1, Nonce: "y", RetryCount: 1})
	if l.c.Dispatch.Phase != PhaseUncertain || l.c.Dispatch.Nonce != "n1" {
		t.Fatalf("%+v", l.c.Dispatch)
	}
	l.do(time.Minute, DispatchOutcome{Nonce: "n1", Kind: DispatchSucceeded, Result: result(t, `{"success":true}`)})
	l.want(t, Succeeded, ReasonCompleted, SourceDispatch)
	if l.do(0, DispatchOutcome{Nonce: "n1", Kind: DispatchSucceeded, Result: result(t, `{"success":true}`)}); l.v.Kind != Duplicate {
		t.Error("saving the same answer again:", l.v.Kind)
	}
}

func TestOpenDispatchIsEndedByFew(t *testing.T) {
	l := begin(rules, nil).inFlight().read(time.Second, 4, 4)
	l.poll(unknown, 12*time.Minute)
	l.poll(failed, 12*time.Minute)
	if l.c.State.Ended() {
		t.Fatal("ended while its dispatch was open", l.c.Outcome.End)
	}
	l.poll(failed, 10*time.Minute) // PipelineTimeout passes: only now do failures count
	if l.c.Dispatch.Phase != PhaseUncertain {
		t.Fatal("an open dispatch is open for ever")
	}
	l.poll(failed, time.Hour)
	l.want(t, Failed, ReasonPipelineUnreachable, SourceCheck)
	if d := l.c.Outcome.EndedAt.Sub(l.c.Dispatch.UncertainSince); d < rules.UnreachableAfter {
		t.Errorf("failures while it was open counted: %v", d)
	}
}

func TestSucceededEventWaitsForTheAnswer(t *testing.T) {
	wait := func() *life { return begin(rules, nil).inFlight().do(0, Event{ID: "e", Status: "succeeded"}) }
	l := wait()
	if !rules.ShouldPoll(l.c, l.now) {
		t.Error("progress is still of interest")
	}
	l.poll(CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 1, Total: 2, Percent: -1}}, time.Minute)
	l.want(t, Succeeded, ReasonCompleted, SourceEvent)
	if d := l.c.Outcome.EndedAt.Sub(l.c.Job.SucceededSince); d != rules.CompletionGrace {
		t.Errorf("waited %v", d)
	}
	l.do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchSucceeded, Result: result(t, `{"success":true,"output_url":"u"}`)})
	if l.v.Kind != Filled || l.v.Keep != KeepResult || !l.c.Outcome.HasResult || l.c.Outcome.OutputURL != "u" || l.c.Outcome.Late != nil {
		t.Errorf("the missing result was not filled in: %+v", l.v)
	}
	for _, kind := range []DispatchKind{DispatchUncertain, DispatchAccepted, DispatchRefused, DispatchUnreachable} {
		wait().outcome(kind).want(t, Succeeded, ReasonCompleted, SourceEvent)
	}
	l = wait()
	l.do(time.Hour, Tick{}).want(t, Succeeded, ReasonCompleted, SourceEvent)
}

func TestCompletionGrace(t *testing.T) {
	l := accepted(rules).read(time.Second, 4, 4)
	if got := l.c.Checks.NextAt.Sub(l.now); got != rules.CompletionGrace {
		t.Errorf("next look in %v", got)
	}
	if rules.ShouldPoll(l.c, l.c.Checks.NextAt) {
		t.Error("the look at the end of the grace asks")
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

func TestRerunIgnoresWhatTheOldRunLeft(t *testing.T) {
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

	// The old run may have ended before it was ever looked at: then its result says what is shown.
	first = begin(rules, nil).inFlight().do(0, DispatchOutcome{Nonce: "n1", Kind: DispatchSucceeded, Result: result(t, `{"success":true,"webhook_summary":{"total_sets":52,"succeeded":52}}`)})
	if l = begin(rules, &first.c).inFlight().outcome(DispatchAccepted).read(0, 52, 52); !l.c.Job.CompleteSince.IsZero() {
		t.Error("the old result was taken for the new one")
	}
	third := begin(rules, &l.do(0, Cancel{}).c)
	if third.c.Job.Baseline == nil || third.c.PriorUnreported == false {
		t.Error("a run without news of its own hands on what it was handed")
	}
}

func TestNothingStartedMeansNothingSeen(t *testing.T) {
	l := begin(rules, nil).inFlight().outcome(DispatchBusy)
	l.do(0, CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 4, Total: 4, Status: "succeeded"}})
	if l.c.State != Pending || l.c.Job.Progress.Total != 0 {
		t.Errorf("a reading of something else counted: %s", dump(l.c))
	}
	// A false reading while it was open does not keep the run from being sent.
	l = begin(rules, nil).inFlight().read(0, 1, 4).outcome(DispatchUnreachable)
	if l.c.Job.Seen || l.c.Dispatch.Phase != PhaseQueued || l.c.Dispatch.Attempts != 0 {
		t.Errorf("%+v", l.c.Dispatch)
	}
	// An event that says it runs does: sending it again would start it twice.
	l = begin(rules, nil).do(0, Event{ID: "e", Status: "running"})
	if l.c.Dispatch.Phase != PhaseAnswered || l.do(0, DispatchBegun{Seq: 1, Nonce: "n"}).v.Kind != Stale {
		t.Errorf("%+v", l.c.Dispatch)
	}
}

func TestLateReports(t *testing.T) {
	l := accepted(rules).do(time.Hour, CheckOutcome{Kind: CheckSkipped})
	l.want(t, TimedOut, ReasonDeadline, SourceDeadline)
	end := l.c
	l.do(time.Minute, Event{ID: "1", Status: "succeeded", Message: "", Result: nil})
	l.do(time.Minute, Event{ID: "2", Status: "succeeded", Result: result(t, `{"success":true}`)})
	if l.v.Keep != KeepLate {
		t.Error("the first late result was dropped")
	}
	l.do(time.Minute, Event{ID: "3", Status: "failed", Message: "no", Result: result(t, `{"success":false}`)})
	if l.v.Keep != KeepNothing {
		t.Error("a late result was swapped in")
	}
	l.do(time.Minute, Event{ID: "3", Status: "failed", Message: "no"})
	want := &LateReport{State: Succeeded, HasResult: true, Source: SourceEvent, At: end.Outcome.EndedAt.Add(time.Minute), Count: 3}
	if diff := cmp.Diff(want, l.c.Outcome.Late); diff != "" {
		t.Error(diff)
	}
	if l.c.State != TimedOut || l.c.Outcome.EndVersion != end.Version || l.c.Version != end.Version+3 || l.c.Outcome.Documents != nil {
		t.Errorf("the end changed: %s", dump(l.c))
	}
	if l.do(0, Event{ID: "4", Status: "running", Progress: &Reading{Completed: 9, Total: 9}}); l.v.Kind != Ignored {
		t.Error("progress after the end:", l.v.Kind)
	}
	// What a check brings from before the end is a late word too, if it is one.
	l.do(0, CheckOutcome{Kind: CheckReading, Reading: Reading{Status: "failed"}, Message: "late"})
	if l.c.Outcome.Late.Count != 4 {
		t.Errorf("%+v", l.c.Outcome.Late)
	}
	for i := range 20 {
		l.do(0, Event{ID: fmt.Sprint("many", i), Status: "failed"})
	}
	if len(l.c.Outcome.ReportIDs) > 8 || l.c.Outcome.Late.Count != 24 {
		t.Errorf("%d ids kept, %d counted", len(l.c.Outcome.ReportIDs), l.c.Outcome.Late.Count)
	}
}

// A count that the pipeline does not give is not 0: a run has made no document only if that is given, or follows from two counts.
func TestCountsThatAreNotGiven(t *testing.T) {
	for summary, want := range map[string]struct {
		reason    Reason
		documents string
	}{
		`{"total_sets":3}`: {ReasonCompleted, `{"total":3,"succeeded":null,"failed":null}`},
		`{"total_sets":3,"succeeded":null,"failed":null}`: {ReasonCompleted, `{"total":3,"succeeded":null,"failed":null}`},
		`{"failed":3}`:    {ReasonCompleted, `{"total":null,"succeeded":null,"failed":3}`},
		`{"succeeded":0}`: {ReasonCompleted, `{"total":null,"succeeded":0,"failed":null}`},
		`{"total_sets":0,"succeeded":0,"failed":0}`:         {ReasonCompleted, `{"total":0,"succeeded":0,"failed":0}`},
		`{"total_sets":3,"succeeded":5}`:                    {ReasonCompleted, `{"total":3,"succeeded":5,"failed":null}`},
		`{"total_sets":3,"succeeded":1,"failed":1}`:         {ReasonCompleted, `{"total":3,"succeeded":1,"failed":1}`},
		`{"total_sets":3,"failed":1}`:                       {ReasonCompleted, `{"total":3,"succeeded":2,"failed":1}`},
		`{"total_sets":3,"failed":3}`:                       {ReasonNoDocuments, `{"total":3,"succeeded":0,"failed":3}`},
		`{"total_sets":3,"succeeded":0}`:                    {ReasonNoDocuments, `{"total":3,"succeeded":0,"failed":3}`},
		`{"succeeded":0,"failed":3}`:                        {ReasonNoDocuments, `{"total":3,"succeeded":0,"failed":3}`},
		`{"total_sets":3,"succeeded":0,"failed":1}`:         {ReasonNoDocuments, `{"total":3,"succeeded":0,"failed":1}`},
		`{"total_sets":3.0,"succeeded":0,"failed":3}`:       {ReasonNoDocuments, `{"total":3,"succeeded":0,"failed":3}`},
		`{"total_sets":"3","succeeded":"0","failed":3e0}`:   {ReasonNoDocuments, `{"total":3,"succeeded":0,"failed":3}`},
		`{"total_sets":3,"succeeded":0,"output_url":false}`: {ReasonNoDocuments, `{"total":3,"succeeded":0,"failed":3}`},
	} {
		l := accepted(rules).do(0, Event{ID: "e", Status: "succeeded", Result: result(t, `{"success":true,"webhook_summary":`+summary+`}`)})
		got, err := json.Marshal(l.c.View(l.now, nil, nil).Documents)
		if err != nil || l.c.Outcome.End.Reason != want.reason || string(got) != want.documents {
			t.Errorf("%s: got %s, %s, %v, want %s, %s", summary, l.c.Outcome.End.Reason, got, err, want.reason, want.documents)
		}
	}
}

func TestResults(t *testing.T) {
	big := result(t, `{"success":true,"webhook_summary":{"total_sets":52,"succeeded":51,"failed":1},"output_url":"http://o","x":"`+strings.Repeat("x", MaxResult)+`"}`)
	l := accepted(rules).do(0, Event{ID: "e", Status: "succeeded", Result: big})
	l.want(t, Succeeded, ReasonCompleted, SourceEvent)
	if l.c.Outcome.HasResult || l.v.Keep != KeepNothing || !reflect.DeepEqual(l.c.Outcome.Documents, &Documents{Total: new(52), Succeeded: new(51), Failed: new(1)}) || l.c.Outcome.OutputURL != "http://o" || !strings.Contains(l.c.Outcome.End.Message, fmt.Sprint(big.Size)) {
		t.Errorf("%s", dump(l.c))
	}
	if l.do(0, Event{ID: "f", Status: "succeeded", Result: result(t, `{}`)}); l.v.Kind != Late {
		t.Error("a second result took the place of the one that was too large:", l.v.Kind)
	}
	l = accepted(rules).do(0, Event{ID: "e", Status: "succeeded"}).do(0, Event{ID: "f", Status: "succeeded", Result: big})
	if want := fmt.Sprintf("the result of %d bytes is larger than the %d that are kept", big.Size, MaxResult); l.v.Kind != Filled || l.c.Outcome.End.Message != want {
		t.Errorf("%+v %+v", l.v, l.c.Outcome.End)
	}
	l = accepted(rules).do(0, Event{ID: "e", Status: StatusFailed, Message: "out of paper", Result: result(t, `{"success":false}`)})
	if l.c.Outcome.End.Message != "out of paper" || !l.c.Outcome.HasResult {
		t.Errorf("%s", dump(l.c))
	}
	l = accepted(rules).do(0, Event{ID: "e", Status: "failed", Message: strings.Repeat("ü", 2000)})
	if n := len([]rune(l.c.Outcome.End.Message)); n != 1000 {
		t.Errorf("a message of %d characters", n)
	}
}

func TestProgressNeverGoesBack(t *testing.T) {
	l := accepted(rules)
	for _, step := range []struct {
		in   Reading
		want Progress
	}{
		{Reading{10, 50, -1, "a", ""}, Progress{10, 50, 20, "a"}},
		{Reading{12, 50, 30, "b", ""}, Progress{12, 50, 30, "b"}},
		{Reading{12, 100, -1, "b", ""}, Progress{12, 100, 30, "b"}}, // total grows: the percentage stays
		{Reading{3, 100, 99, "c", ""}, Progress{12, 100, 30, "b"}},
		{Reading{40, 0, -1, "", ""}, Progress{40, 100, 40, ""}},
		{Reading{41, 20, 250, "", ""}, Progress{41, 41, 99.9, ""}},
	} {
		l.do(time.Second, CheckOutcome{Kind: CheckReading, Reading: step.in})
		if l.c.Job.Progress != step.want {
			t.Errorf("after %+v: %+v, want %+v", step.in, l.c.Job.Progress, step.want)
		}
	}
}

func TestStalled(t *testing.T) {
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

func TestNextCheck(t *testing.T) {
	// A five-minute job, looked at whenever due: few looks, dense at the end.
	l := accepted(rules)
	start, n := l.now, 0
	for !l.c.State.Ended() {
		l.now = l.c.Checks.NextAt
		done := int(l.now.Sub(start) * 50 / (5 * time.Minute))
		if done >= 50 {
			break
		}
		l.read(0, done, 50)
		if wait := l.c.Checks.NextAt.Sub(l.now); wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval {
			t.Fatalf("waits %v", wait)
		}
		n++
	}
	if lag := l.now.Sub(start.Add(5 * time.Minute)); n > 25 || lag > 3*time.Second {
		t.Errorf("%d looks, seen %v after its end", n, lag)
	}
	// Backing off spreads by jitter, within bounds.
	for _, jitter := range []float64{0, 0.5, 0.999} {
		l := accepted(rules)
		for range 20 {
			l.now = l.c.Checks.NextAt
			l.c, l.v = rules.Apply(l.c, CheckOutcome{Seq: l.c.Checks.Seq, Kind: CheckFailed}, l.now, jitter)
			if wait := l.c.Checks.NextAt.Sub(l.now); wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval {
				t.Fatalf("waits %v", wait)
			}
		}
	}
	// An instance whose clock is behind does not take every check for one that is due at once.
	for name, found := range map[string]CheckOutcome{
		"work":             {Kind: CheckReading, Reading: Reading{Completed: 3, Total: 50}},
		"all but the word": {Kind: CheckReading, Reading: Reading{Completed: 50, Total: 50}},
		"nothing to see":   {Kind: CheckFailed},
	} {
		l, behind, checks := accepted(rules), 20*time.Second, 0
		for end := l.now.Add(2 * time.Minute); l.now.Before(end) && !l.c.State.Ended(); checks++ {
			l.now = later(l.c.Checks.NextAt, l.now.Add(100*time.Millisecond)) // the queue's clock is right
			found.Seq = l.c.Checks.Seq
			l.c, l.v = rules.Apply(l.c, found, l.now.Add(-behind), 0.5)
		}
		if most := int((behind + 2*time.Minute) / rules.CheckMinInterval); checks > most {
			t.Errorf("%s: %d checks in two minutes", name, checks)
		}
	}
	// Never past the deadline.
	l = &life{r: rules, now: epoch}
	l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Second})
	if !l.c.Checks.NextAt.Equal(l.c.DeadlineAt) {
		t.Error(l.c.Checks.NextAt)
	}
}

func TestDeliveries(t *testing.T) {
	l := accepted(rules)
	for range 3 {
		l.do(time.Second, CheckOutcome{Kind: CheckSkipped})
	}
	for seq, want := range map[int64]Delivery{4: DeliveryCurrent, 3: DeliveryOlder, 2: DeliveryStale, 5: DeliveryNewer} {
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

func TestSweepsPart(t *testing.T) {
	l := accepted(rules).do(0, Cancel{})
	if !l.c.Bookkeeping.OverdueAt.Equal(l.c.Outcome.EndedAt) {
		t.Error("an end that is not settled is to be looked at now")
	}
	l.do(time.Hour, CheckOutcome{Kind: CheckUnknown, BeganAt: l.now.Add(time.Hour), ReadVersion: l.c.Outcome.EndVersion - 1})
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
	if l.c.Bookkeeping.PolledAfterEnd != 0 || l.c.Bookkeeping.Leaked != 1 || !l.c.Bookkeeping.OverdueAt.Equal(rules.FormExpiresAt(l.c)) {
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

// What is shown as the address of the documents is an address of the web: pages link to it.
func TestOutputURL(t *testing.T) {
	for said, want := range map[string]bool{
		"https://docs.example/?a=1&b=2#c": true, "http://docs.example:8080": true, "HTTPS://docs.example/é": true, "http://[::1]/": true,
		"javascript:alert(1)": false, "JaVaScRiPt://x/%0aalert(1)": false, "data:text/html,x": false, "file:///etc/passwd": false, "gs://bucket/c": false,
		"ftp://docs.example": false, "//docs.example": false, "/c": false, "c": false, "": false, "https:c": false, "https://": false, "https:///c": false,
		" https://docs.example": false, "http://a\nb": false, "%": false, "https://a\"b": false,
	} {
		got := Case{Outcome: Outcome{OutputURL: said}}.View(epoch, nil, nil).OutputURL
		if (got != nil) != want || want && *got != said {
			t.Errorf("%q is shown as %v", said, got)
		}
	}
}

func TestView(t *testing.T) {
	l := begin(rules, nil).inFlight().read(10*time.Second, 1, 4)
	encode := func(c Case, result, late []byte) string {
		b, err := json.Marshal(c.View(l.now, result, late))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	want := `{"case_id":"c","run":1,"state":"running","progress":{"completed":1,"total":4,"percent":25,"current":""},"eta_seconds":30,"stalled":false,` +
		`"created_at":"2026-01-02T03:04:05Z","started_at":"2026-01-02T03:04:06Z","updated_at":"2026-01-02T03:04:16Z","deadline_at":"2026-01-02T04:04:05Z","ended_at":null,"duration_seconds":null,` +
		`"end":null,"documents":null,"result":null,"output_url":null,"late":null,"dispatch":{"attempts":1,"failures":0,"last_error":null},"checks":{"count":1,"failures":0,"next_at":"2026-01-02T03:04:21Z"},"version":3}`
	if diff := cmp.Diff(want, encode(l.c, nil, nil)); diff != "" {
		t.Error(diff)
	}
	l.do(0, Cancel{}).do(time.Second, Event{ID: "e", Status: "succeeded", Result: result(t, `{"a":1}`)})
	want = `{"case_id":"c","run":1,"state":"cancelled","progress":{"completed":1,"total":4,"percent":25,"current":""},"eta_seconds":null,"stalled":false,` +
		`"created_at":"2026-01-02T03:04:05Z","started_at":"2026-01-02T03:04:06Z","updated_at":"2026-01-02T03:04:17Z","deadline_at":"2026-01-02T04:04:05Z","ended_at":"2026-01-02T03:04:16Z","duration_seconds":11,` +
		`"end":{"reason":"cancelled","message":"cancelled on request","source":"cancel"},"documents":null,"result":null,"output_url":null,` +
		`"late":{"state":"succeeded","result":{"a":1},"message":"","source":"event","at":"2026-01-02T03:04:17Z","count":1},"dispatch":{"attempts":1,"failures":0,"last_error":null},"checks":{"count":1,"failures":0,"next_at":null},"version":5}`
	if diff := cmp.Diff(want, encode(l.c, nil, []byte(`{"a":1}`))); diff != "" {
		t.Error(diff)
	}
}

func TestTimeDoesNotRunBack(t *testing.T) {
	l := accepted(rules)
	at := l.now
	l.do(-time.Hour, Cancel{})
	if !l.c.Outcome.EndedAt.Equal(at) {
		t.Errorf("ended at %v, last changed at %v", l.c.Outcome.EndedAt, at)
	}
}

func TestOldRunsResultIsNotTheNewOnes(t *testing.T) {
	shown := CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 4, Total: 4, Percent: -1, Status: "succeeded"}, Result: result(t, `{"output_url":"of run 1"}`)}
	first := accepted(rules).do(time.Second, shown)
	l := begin(rules, &first.c).inFlight().outcome(DispatchAccepted).do(time.Second, Event{ID: "e", Status: "succeeded"})
	if l.do(0, shown); l.c.Outcome.HasResult || l.c.Outcome.Late != nil {
		t.Errorf("a look at the old run brought %+v, %+v", l.v, l.c.Outcome.Late)
	}
	if l.do(0, Event{ID: "own", Status: "succeeded", Result: result(t, `{"output_url":"of run 2"}`)}); l.v.Kind != Filled || l.c.Outcome.OutputURL != "of run 2" {
		t.Errorf("%+v %s", l.v, l.c.Outcome.OutputURL)
	}
}

func TestConfirmedRunIsNotSentAgain(t *testing.T) {
	for name, x := range map[string]struct {
		*life
		phase Phase
	}{
		"event, then busy":        {begin(rules, nil).inFlight().do(0, Event{ID: "r", Status: "running"}).outcome(DispatchBusy), PhaseUncertain},
		"event, then unreachable": {begin(rules, nil).inFlight().do(0, Event{ID: "r", Status: "running"}).outcome(DispatchUnreachable), PhaseAnswered},
		"busy, then event":        {begin(rules, nil).inFlight().outcome(DispatchBusy).do(0, Event{ID: "r", Status: "running"}), PhaseAnswered},
	} {
		l := x.life
		l.do(2*time.Second, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: "second"})
		if l.v.Kind != Stale || l.c.Dispatch.Phase != x.phase {
			t.Errorf("%s: %s, %+v", name, l.v.Kind, l.c.Dispatch)
		}
		if l.do(0, Cancel{}); l.c.Outcome.Reported {
			t.Errorf("%s: its word is still to come", name)
		}
	}
}

func TestAnAnswerResetsUnreachability(t *testing.T) {
	busy := begin(rules, nil).inFlight().do(time.Second, failed).outcome(DispatchBusy)
	busy.do(12*time.Minute, DispatchBegun{Seq: 2, Nonce: "n"}).outcome(DispatchAccepted)
	held := begin(rules, nil).inFlight().do(time.Second, failed)
	held.do(12*time.Minute, DispatchOutcome{Nonce: "n1", Kind: DispatchAccepted})
	for name, l := range map[string]*life{"429s, then 202": busy, "202 after minutes": held} {
		if l.do(2*time.Second, failed); l.c.State.Ended() {
			t.Errorf("%s, and one failed look: %+v", name, l.c.Outcome.End)
		}
	}
	l := begin(idempotent, nil).inFlight().outcome(DispatchUnreachable).inFlight().outcome(DispatchUncertain) // it answered, with a 500
	l.poll(unknown, rules.StartGrace+10*time.Second)
	l.do(11*time.Minute, DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: "z"}).outcome(DispatchUnreachable)
	if l.c.State.Ended() {
		t.Errorf("unreachable, though it answered in between: %+v", l.c.Outcome.End)
	}
}

func TestNothingStartedMeansNothingComplete(t *testing.T) {
	l := begin(rules, nil).inFlight().do(time.Second, DispatchBegun{Seq: 1, Nonce: "r", RetryCount: 1})
	l.read(time.Second, 4, 4).do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchUnreachable})
	if l.do(40*time.Second, CheckOutcome{Kind: CheckSkipped}); l.c.State.Ended() {
		t.Errorf("%+v", l.c.Outcome.End)
	}
}

func TestResultThatComesWithTheTimeout(t *testing.T) {
	l := begin(rules, nil).inFlight().do(rules.PipelineTimeout-6*time.Second, Event{ID: "s", Status: "succeeded"})
	l.do(6*time.Second, CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 4, Total: 4, Status: "succeeded"}, Result: result(t, `{"output_url":"u"}`)})
	if l.want(t, Succeeded, ReasonCompleted, SourceCheck); !l.c.Outcome.HasResult {
		t.Error("the result was dropped")
	}
}

func TestAdoptedRunAndUnnamedEvents(t *testing.T) {
	first := accepted(rules).do(time.Minute, Cancel{})
	l := &life{r: rules, now: first.now.Add(time.Minute)}
	l.do(0, Started{CaseID: "c", Run: 2, Deadline: time.Hour, Adopt: true, Prior: &first.c})
	if !l.c.OwnsUnattributed(l.now) {
		t.Error("a word of the work that it adopted is not its own")
	}
	third := begin(rules, &l.do(time.Second, Event{ID: "e", Status: "succeeded"}).c).inFlight()
	if third.c.OwnsUnattributed(third.now) {
		t.Error("a word of the first run may still come")
	}
}

func TestTextIsCleaned(t *testing.T) {
	l := accepted(rules).do(0, CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 1, Total: 2, Current: "a\x00\n\u202eb"}})
	l.do(0, Event{ID: "e", Status: "failed", Message: "a\x00\r\n\u202eb"})
	if l.c.Job.Progress.Current != "a b" || l.c.Outcome.End.Message != "a b" {
		t.Errorf("%q %q", l.c.Job.Progress.Current, l.c.Outcome.End.Message)
	}
}

// What of a report could not be read is said behind its message. A result that follows takes its remark away.
func TestWhatWasDroppedIsSaid(t *testing.T) {
	const progress, res = "the progress could not be read and was dropped", "the result could not be read and was dropped"
	both := Dropped{Result: true, Progress: true}
	for name, test := range map[string]struct {
		in   Event
		want string
	}{
		"a success":             {Event{Status: StatusSucceeded, Dropped: Dropped{Result: true}}, res},
		"a success, both":       {Event{Status: StatusSucceeded, Dropped: both}, progress + "; " + res},
		"a failure":             {Event{Status: StatusFailed, Message: "no ink", Dropped: Dropped{Result: true}}, "no ink; " + res},
		"a failure, no message": {Event{Status: StatusFailed, Dropped: Dropped{Progress: true}}, progress},
		"a failure, nothing":    {Event{Status: StatusFailed}, "the pipeline gave no reason"},
		"a long message": {
			Event{Status: StatusFailed, Message: strings.Repeat("x", 2000), Dropped: Dropped{Result: true}},
			strings.Repeat("x", 1000-len(res)-3) + "…; " + res,
		},
	} {
		test.in.ID = "e"
		l := accepted(rules).do(time.Second, test.in)
		if got := l.c.Outcome.End.Message; got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		if late := accepted(rules).do(0, Cancel{}).do(time.Second, test.in).c.Outcome.Late; late.Message != test.want {
			t.Errorf("%s, late: got %q, want %q", name, late.Message, test.want)
		}
	}
	l := accepted(rules).do(0, Event{ID: "e", Status: StatusSucceeded, Message: "done", Dropped: both})
	l.do(time.Second, Event{ID: "f", Status: StatusSucceeded, Result: result(t, `{}`)})
	if got, want := l.c.Outcome.End.Message, "done; "+progress; got != want || l.v.Kind != Filled {
		t.Errorf("with a result after the end: %s, got %q, want %q", l.v.Kind, got, want)
	}
}

// An event whose result could not be read waits for the answer to the request in flight, which has the
// result. If none arrives, the end says what was dropped; if it does, nothing is missing.
func TestWhatWasDroppedIsSaidAfterTheGraceToo(t *testing.T) {
	const said = "the result could not be read and was dropped"
	announced := func() *life {
		l := begin(rules, nil).inFlight()
		return l.do(time.Second, Event{ID: "e", Status: StatusSucceeded, Dropped: Dropped{Result: true}})
	}
	l := announced()
	l.poll(shows(1, 3, ""), time.Hour)
	l.want(t, Succeeded, ReasonCompleted, SourceEvent)
	if got := l.c.Outcome.End.Message; !strings.HasSuffix(got, "; "+said) {
		t.Errorf("without an answer the message is %q, want it to end with %q", got, said)
	}
	l = announced().do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchSucceeded, Result: &Result{Raw: []byte("{}")}})
	l.want(t, Succeeded, ReasonCompleted, SourceDispatch)
	if got := l.c.Outcome.End.Message; got != "" {
		t.Errorf("with an answer the message is %q, want none", got)
	}
}

func TestWhatReadersSeeAfterTheEnd(t *testing.T) {
	l := accepted(rules).read(time.Second, 4, 4)
	l.poll(failed, time.Minute)
	updated, message := l.c.UpdatedAt, l.c.Outcome.End.Message
	if l.do(time.Minute, Finalized{}); !l.c.UpdatedAt.Equal(updated) {
		t.Error("bookkeeping is shown as an update")
	}
	l.do(time.Minute, Event{ID: "e", Status: "succeeded", Result: result(t, `{}`)})
	if message != "completed without a result" || l.c.Outcome.End.Message != "" || l.c.UpdatedAt.Equal(updated) {
		t.Errorf("%q, then %q", message, l.c.Outcome.End.Message)
	}
	l = accepted(rules).read(10*time.Second, 1, 4)
	first, second := *l.c.View(l.now, nil, nil).ETASeconds, *l.c.View(l.now.Add(10*time.Second), nil, nil).ETASeconds
	if second != first-10 {
		t.Errorf("the estimate went from %v to %v in 10 s", first, second)
	}
}

// TestUnsureWordEndsNothing: an event that named no run and may be another run's ends none, nor is it kept as a word of an open one.
func TestUnattributedReportEndsNothing(t *testing.T) {
	l := accepted(rules)
	for _, status := range []Status{StatusSucceeded, StatusFailed} {
		l.do(time.Second, Event{ID: string(status), Unattributed: true, Status: status, Result: result(t, `{"success":true}`)})
		if l.v.Kind != Ignored || l.c.State != Running {
			t.Errorf("%s: %s, %s", status, l.v.Kind, l.c.State)
		}
	}
}
