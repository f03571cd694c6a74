package cases_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/casewatch/casewatch/shared/cases"
)

var update = flag.Bool("update", false, "write testdata/transitions.md again; read the difference")

type row[T any] struct {
	name string
	is   T
}

func states(t *testing.T) []row[*life] {
	good := result(t,
		`{"success":true,"webhook_summary":{"total_sets":4,"succeeded":3,"failed":1},"output_url":"http://o"}`)
	accepted := func() *life { return begin(rules, nil).inFlight().outcome(DispatchAccepted) }
	job := func(r Rules) *life { return begin(r, nil).inFlight().answers(DispatchAccepted, "j1") }
	missing := CheckOutcome{
		Kind: CheckReading, Reading: Reading{Percent: -1, Status: "succeeded"},
		ResultMissing: true, Message: "no result",
	}
	return []row[*life]{
		{"new", &life{r: rules, now: epoch}},
		{"queued", begin(rules, nil)},
		{"queued again", begin(rules, nil).inFlight().outcome(DispatchBusy)},
		{"in flight", begin(rules, nil).inFlight()},
		{"in flight, progress read", begin(rules, nil).inFlight().read(time.Second, 2, 4)},
		{"in flight, all documents read", begin(rules, nil).inFlight().read(time.Second, 4, 4)},
		{
			"in flight, succeeded event",
			begin(rules, nil).inFlight().do(time.Second, Event{ID: "s0", Status: "succeeded"}),
		},
		{"uncertain", begin(rules, nil).inFlight().outcome(DispatchUncertain)},
		{"uncertain, known", begin(rules, nil).inFlight().read(time.Second, 1, 4).outcome(DispatchUncertain)},
		{"uncertain, idempotent", begin(idempotent, nil).inFlight().outcome(DispatchUncertain)},
		{"accepted", accepted()},
		{"running", accepted().read(time.Second, 2, 4)},
		{
			"running, failing since",
			accepted().read(time.Second, 2, 4).do(time.Second, CheckOutcome{Kind: CheckFailed, Message: "refused"}),
		},
		{
			"running, unknown since",
			accepted().read(time.Second, 2, 4).do(time.Second, CheckOutcome{Kind: CheckUnknown}),
		},
		{"running, busy until in a minute", accepted().read(time.Second, 2, 4).do(time.Second, busy(time.Minute))},
		{"complete, in grace", accepted().read(time.Second, 4, 4)},
		{"running, all counted", accepted().do(time.Second, shows(4, 4, "running"))},
		{"running, nothing counted", accepted().do(time.Second, shows(7, 0, "running"))},
		{"running, viewed", accepted().read(30*time.Second, 1, 4).do(5*time.Second, Viewed{CheckPending: true})},
		{"adopted", adopt()},
		{"succeeded, with result", accepted().do(time.Second, Event{ID: "s0", Status: "succeeded", Result: good})},
		{"succeeded, no result", accepted().do(time.Second, Event{ID: "s0", Status: "succeeded"})},
		{"failed by its report", accepted().do(time.Second, Event{ID: "s0", Status: "failed", Message: "broke"})},
		{
			"failed, start unknown",
			begin(rules, nil).inFlight().outcome(DispatchUncertain).do(time.Second, CheckOutcome{Kind: CheckUnknown}).
				do(2*time.Minute, CheckOutcome{Kind: CheckUnknown}),
		},
		{"timed out", accepted().do(time.Hour, CheckOutcome{Kind: CheckSkipped})},
		{"cancelled while open", begin(rules, nil).inFlight().do(time.Second, Cancel{})},
		{"superseded", accepted().do(time.Second, Cancel{Superseded: true})},
		{"ended and finalized", accepted().do(time.Second, Cancel{}).do(0, Finalized{})},
		{"uncertain, job not named", begin(named, nil).inFlight().outcome(DispatchUncertain)},
		{"accepted, job not named", begin(named, nil).inFlight().outcome(DispatchAccepted)},
		{"running, job named", job(named)},
		{"succeeded, result not fetched", job(named).do(time.Second, missing)},
		{"pipeline gone", func() *life { l := job(named); l.r.Gone = true; return l }()},
		{"cancelled while open, by run", begin(byRun, nil).inFlight().do(time.Second, Cancel{})},
		{"cancelled while open, job not named", begin(named, nil).inFlight().do(time.Second, Cancel{})},
		{"cancelled, stop requested", job(named).do(time.Second, Cancel{})},
		{"cancelled, stop tried again", job(named).do(time.Second, Cancel{}).stop(time.Second, CancelAgain)},
		{"cancelled, stop confirmed", job(named).do(time.Second, Cancel{}).stop(time.Second, CancelConfirmed)},
		{"cancelled, stop failed", job(named).do(time.Second, Cancel{}).stop(time.Second, CancelFailed)},
		{"timed out, stop requested", job(named).do(time.Hour, CheckOutcome{Kind: CheckSkipped})},
		{"cancelled by the pipeline", job(named).do(time.Second, shows(0, 0, "cancelled"))},
	}
}

func inputs(t *testing.T) []row[func(l *life) Input] {
	good := result(t,
		`{"success":true,"webhook_summary":{"total_sets":4,"succeeded":3,"failed":1},"output_url":"http://o"}`)
	none := result(t, `{"success":true,"webhook_summary":{"total_sets":4,"succeeded":0,"failed":4}}`)
	is := func(in Input) func(*life) Input { return func(*life) Input { return in } }
	outcome := func(kind DispatchKind, res *Result) func(*life) Input {
		return func(l *life) Input {
			return DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: kind, Message: "said so", Result: res}
		}
	}
	reading := func(status Status, completed int) func(*life) Input {
		return is(CheckOutcome{
			Kind:    CheckReading,
			Reading: Reading{Completed: completed, Total: 4, Percent: -1, Status: status},
		})
	}
	return []row[func(l *life) Input]{
		{"started", is(Started{CaseID: "c", Run: 1, Deadline: time.Hour})},
		{"dispatch begun", func(l *life) Input { return DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: "new"} }},
		{
			"dispatch begun, same delivery count +1",
			func(l *life) Input { return DispatchBegun{Seq: l.c.Dispatch.Seq, Nonce: "new", RetryCount: 1} },
		},
		{
			"dispatch begun, of the task before",
			func(l *life) Input { return DispatchBegun{Seq: l.c.Dispatch.Seq - 1, Nonce: "new"} },
		},
		{"dispatch unreachable", outcome(DispatchUnreachable, nil)},
		{"dispatch busy", outcome(DispatchBusy, nil)},
		{"dispatch busy, says failed", func(l *life) Input {
			return DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: DispatchBusy, SaysFailed: true, Message: "said so"}
		}},
		{"dispatch refused", outcome(DispatchRefused, nil)},
		{"dispatch accepted", outcome(DispatchAccepted, nil)},
		{"dispatch succeeded", outcome(DispatchSucceeded, good)},
		{"dispatch succeeded, no documents", outcome(DispatchSucceeded, none)},
		{"dispatch failed", outcome(DispatchFailed, nil)},
		{"dispatch uncertain", outcome(DispatchUncertain, nil)},
		{"dispatch accepted, job named", func(l *life) Input {
			return DispatchOutcome{Nonce: l.c.Dispatch.Nonce, Kind: DispatchAccepted, JobID: "j2"}
		}},
		{"dispatch cancelled", outcome(DispatchCancelled, nil)},
		{
			"dispatch succeeded, of an attempt before",
			is(DispatchOutcome{Nonce: "old", Kind: DispatchSucceeded, Result: good}),
		},
		{"dispatch refused, of an attempt before", is(DispatchOutcome{Nonce: "old", Kind: DispatchRefused})},
		{"check skipped", is(CheckOutcome{Kind: CheckSkipped})},
		{"check reads 3/4", reading("", 3)},
		{"check reads 1/4", reading("", 1)},
		{"check reads 4/4", reading("", 4)},
		{"check reads 4/4, running", reading("running", 4)},
		{"check reads 5/0, running", is(shows(5, 0, "running"))},
		{"check reads succeeded", reading("succeeded", 4)},
		{"check reads failed", reading("failed", 1)},
		{"check reads cancelled", reading("cancelled", 1)},
		{"check reads succeeded, result missing", is(CheckOutcome{
			Kind: CheckReading, Reading: Reading{Percent: -1, Status: "succeeded"},
			ResultMissing: true, Message: "no result",
		})},
		{"check reads running, again in 7 minutes", is(CheckOutcome{
			Kind: CheckReading, Reading: Reading{Percent: -1, Status: "running"}, RetryAfter: 7 * time.Minute,
		})},
		{"check unknown", is(CheckOutcome{Kind: CheckUnknown})},
		{"check failed", is(CheckOutcome{Kind: CheckFailed, Message: "refused"})},
		{"check busy", is(busy(0))},
		{"check busy, for 7 minutes", is(busy(7 * time.Minute))},
		{
			"check of a task before",
			func(l *life) Input { return CheckOutcome{Seq: l.c.Checks.Seq - 100, Kind: CheckUnknown} },
		},
		{
			"check that polled after the end",
			func(l *life) Input { return CheckOutcome{Kind: CheckUnknown, ReadVersion: l.c.Version} },
		},
		{
			"event running 3/4",
			is(Event{ID: "e", Status: "running", Progress: &Reading{Completed: 3, Total: 4, Percent: -1}}),
		},
		{"event succeeded, result", is(Event{ID: "e", Status: "succeeded", Result: good})},
		{"event succeeded, no result", is(Event{ID: "e", Status: "succeeded"})},
		{"event succeeded, no documents", is(Event{ID: "e", Status: "succeeded", Result: none})},
		{"event failed", is(Event{ID: "e", Status: "failed", Message: "broke"})},
		{"event redelivered", is(Event{ID: "s0", Status: "succeeded", Result: good})},
		{"callback running, job named", is(Event{ID: "e", Status: "running", Callback: true, JobID: "j2"})},
		{"callback succeeded", is(Event{ID: "e", Status: "succeeded", Callback: true})},
		{"callback succeeded, result elsewhere", func(l *life) Input {
			return Event{ID: "e", Status: "succeeded", Callback: true, Fetch: true, PendingCheck: l.c.Checks.Seq}
		}},
		{"callback cancelled", is(Event{ID: "e", Status: "cancelled", Callback: true})},
		{"cancel", is(Cancel{})},
		{"stop confirmed", func(l *life) Input {
			return StopOutcome{Seq: l.c.Stop.Seq, CancelOutcome: CancelOutcome{Kind: CancelConfirmed}}
		}},
		{"stop failed", func(l *life) Input {
			return StopOutcome{Seq: l.c.Stop.Seq, CancelOutcome: CancelOutcome{Kind: CancelFailed, Message: "no"}}
		}},
		{"stop not known, again in a minute", func(l *life) Input {
			return StopOutcome{
				Seq: l.c.Stop.Seq, CancelOutcome: CancelOutcome{Kind: CancelAgain, RetryAfter: time.Minute},
			}
		}},
		{"tick, stop lost", is(Tick{StopLost: true})},
		{"superseded", is(Cancel{Superseded: true})},
		{"tick", is(Tick{})},
		{"tick, tasks lost", is(Tick{CheckLost: true, DispatchLost: true})},
		{"finalized", is(Finalized{})},
		{"viewed", is(Viewed{CheckPending: true})},
		{"viewed, task not seen", is(Viewed{})},
	}
}

// Every state × every input, each also long after (past graces) and at the deadline:
// testdata/transitions.md, for people to read.
func TestTransitions(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Every state × every input\n\nWritten by `go test ./shared/cases -run Transitions -update`; " +
		"a cell is the verdict and, where it changed, what the run is then.\n" +
		"*soon* is a second later, *late* eleven minutes later (past every grace), *deadline* at the deadline.\n")
	for _, s := range states(t) {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| input | soon | late | deadline |\n| --- | --- | --- | --- |\n", s.name,
			describe(s.is.c))
		for _, in := range inputs(t) {
			fmt.Fprintf(&b, "| %s |", in.name)
			deadline := s.is.c.DeadlineAt.Sub(s.is.now)
			if s.is.c.State.Ended() || s.is.c.Version == 0 {
				deadline = 2 * time.Hour
			}
			for _, after := range []time.Duration{time.Second, 11 * time.Minute, deadline} {
				l := s.is.copy()
				before := l.c
				l.do(after, in.is(l))
				checkInvariants(t, l.r, before, l.c, l.v)
				fmt.Fprintf(&b, " %s", l.v.Kind)
				if l.v.Changed() {
					fmt.Fprintf(&b, ": %s", describe(l.c))
				}
				if l.v.Keep != "" {
					fmt.Fprintf(&b, ", keep %s", l.v.Keep)
				}
				b.WriteString(" |")
			}
			b.WriteString("\n")
		}
	}
	const file = "testdata/transitions.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("the rules changed (-%s +now); if that is meant, run with -update:\n%s", file, diff)
	}
}

func describe(c Case) string {
	if c.Version == 0 {
		return "no run"
	}
	parts := []string{"**" + string(c.State) + "**"}
	if c.Outcome.End != nil {
		parts = append(parts, fmt.Sprintf("%s by %s", c.Outcome.End.Reason, c.Outcome.End.Source))
	} else {
		parts = append(parts, "dispatch "+string(c.Dispatch.Phase)+fmt.Sprintf(" #%d", c.Dispatch.Seq),
			fmt.Sprintf("check #%d in %v", c.Checks.Seq, c.Checks.NextAt.Sub(c.UpdatedAt)))
	}
	if c.Job.Progress.Total > 0 || c.Job.Progress.Completed > 0 {
		parts = append(parts, fmt.Sprintf("%d/%d", c.Job.Progress.Completed, c.Job.Progress.Total))
	}
	flag := func(is bool, name string) {
		if is {
			parts = append(parts, name)
		}
	}
	flag(c.Job.Stalled, "stalled")
	flag(c.Outcome.HasResult, "result")
	flag(c.Outcome.Late != nil, "late")
	flag(c.Bookkeeping.PolledAfterEnd > 0, "POLLED AFTER END")
	flag(!c.Job.CompleteSince.IsZero() && c.Outcome.End == nil, "complete")
	flag(!c.Job.SucceededSince.IsZero() && c.Outcome.End == nil, "succeeded without result")
	flag(!c.Job.ResultMissingSince.IsZero() && c.Outcome.End == nil, "result missing")
	flag(c.Job.ID != "", "job "+c.Job.ID)
	if c.Stop.State != StopNone {
		stop := fmt.Sprintf("stop %s", c.Stop.State)
		if c.Stop.State == StopRequested {
			stop += fmt.Sprintf(" #%d in %v", c.Stop.Seq, c.Stop.At.Sub(later(c.UpdatedAt, c.Outcome.EndedAt)))
		}
		parts = append(parts, stop)
	}
	flag(c.Bookkeeping.Finalized, "finalized")
	return strings.Join(parts, ", ")
}
