package cases_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	. "github.com/casewatch/casewatch/shared/cases"
)

// FuzzApply feeds sequences of inputs, three bytes each: which, its detail, how much later.
func FuzzApply(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 3, 1, 8, 0, 2, 9, 9, 20}, false)
	f.Add([]byte{0, 1, 1, 3, 1, 90, 3, 1, 90, 3, 1, 200, 4, 3, 1}, true)
	f.Add([]byte{0, 0, 1, 2, 3, 1, 13, 130, 9, 12, 7, 9, 14, 2, 50, 13, 1, 4}, false)
	f.Fuzz(func(t *testing.T, script []byte, idem bool) {
		r := rules
		if len(script) > 0 {
			r = []Rules{rules, named, byRun}[int(script[0]>>2)%3]
			r.Gone = script[0]>>2 == 60
		}
		r.Idempotent = idem
		var prior *Case
		if len(script) > 0 && script[0]&1 == 1 {
			old := begin(r, nil).inFlight().read(time.Second, 4, 4).outcome(DispatchUncertain).
				do(time.Hour, CheckOutcome{Kind: CheckSkipped})
			prior = &old.c
		}
		l := begin(r, prior)
		if len(script) > 0 && script[0]&2 == 2 {
			l = adopt()
		}
		for len(script) >= 3 {
			which, detail, later := script[0], int(script[1]), time.Duration(script[2])
			wait := later * later * 20 * time.Millisecond
			script = script[3:]
			before := l.c
			in := fuzzInput(l, which, detail)
			asked := r.ShouldPoll(l.c, l.now.Add(wait))
			l.do(wait, in)
			checkInvariants(t, r, before, l.c, l.v)
			if asked && before.State.Ended() {
				t.Fatal("asks after the end")
			}
		}
		// Whatever happened, checks alone bring it to an end, in time.
		open, from := !l.c.State.Ended(), l.now
		for n := 0; !l.c.State.Ended(); n++ {
			before := l.c
			l.now = later(l.now, l.c.Checks.NextAt)
			l.do(0, CheckOutcome{Kind: CheckSkipped})
			checkInvariants(t, r, before, l.c, l.v)
			if n > 100_000 {
				t.Fatal("it does not end")
			}
		}
		if open && l.c.Outcome.EndedAt.After(later(from, l.c.DeadlineAt)) {
			t.Fatalf("ended %v after the deadline", l.c.Outcome.EndedAt.Sub(l.c.DeadlineAt))
		}
		// The record survives its encoding.
		var back Case
		if err := json.Unmarshal([]byte(dump(l.c)), &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l.c, back, cmpopts.IgnoreUnexported(Case{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func fuzzInput(l *life, which byte, detail int) Input {
	nonce := l.c.Dispatch.Nonce
	if detail&64 != 0 {
		nonce = "older"
	}
	var res *Result
	if detail&128 != 0 {
		res = &Result{
			Raw:       []byte(`{}`),
			Size:      2,
			Documents: &Documents{Total: new(detail & 3), Succeeded: new(detail & 1), Failed: new(0)},
		}
		if detail&32 != 0 {
			res.Raw, res.Size = nil, MaxResult+1
		}
	}
	reading := Reading{
		Completed: detail & 7,
		Total:     (detail >> 2) & 15,
		Percent:   float64(detail&31)*8 - 20,
		Current:   []string{"", "a", "b"}[detail%3],
		Status:    []Status{"", "", "running", "succeeded", "failed", "cancelled"}[detail%6],
	}
	if reading.Status == StatusRunning && detail&1 == 0 {
		reading.Unmapped = string(rune('a' + detail%16))
	}
	job := []string{"", "", "j", "k"}[detail>>4&3]
	seq := l.c.Checks.Seq - int64(detail>>7)
	status := []Status{StatusRunning, StatusSucceeded, StatusFailed, StatusCancelled}[detail%4]
	switch which % 15 {
	case 0, 1:
		return DispatchBegun{
			Seq:        l.c.Dispatch.Seq - int64(detail>>7),
			Nonce:      string(rune('a' + l.c.Version%26)),
			RetryCount: detail & 3,
		}
	case 2, 3:
		kinds := []DispatchKind{
			DispatchUnreachable,
			DispatchBusy,
			DispatchRefused,
			DispatchAccepted,
			DispatchSucceeded,
			DispatchFailed,
			DispatchCancelled,
			DispatchUncertain,
		}
		var shown *Reading
		if detail&8 != 0 && !reading.Status.Terminal() {
			shown = &reading
		}
		return DispatchOutcome{
			Nonce:      nonce,
			Kind:       kinds[detail%len(kinds)],
			RetryAfter: time.Duration(detail) * time.Second,
			SaysFailed: detail&16 != 0,
			Result:     res,
			JobID:      job,
			Reading:    shown,
		}
	case 4, 5, 6:
		return CheckOutcome{Seq: seq, Kind: CheckReading, Reading: reading, Result: res}
	case 7:
		return CheckOutcome{Seq: seq, Kind: CheckUnknown}
	case 8:
		if detail&1 == 1 {
			return CheckOutcome{
				Seq:        seq,
				Kind:       CheckBusy,
				RetryAfter: time.Duration(detail/4) * 10 * time.Second,
				Message:    "later",
			}
		}
		return CheckOutcome{Seq: seq, Kind: CheckFailed, Message: "no"}
	case 9:
		return Event{ID: string(rune('a' + detail%16)), Status: status, Progress: &reading, Result: res}
	case 10:
		if detail&1 == 0 {
			return Tick{
				CheckLost: detail&2 != 0, DispatchLost: detail&4 != 0,
				FormDropped: detail&8 != 0, StopLost: detail&16 != 0,
			}
		}
		return Finalized{}
	case 12:
		kinds := []CancelKind{CancelConfirmed, CancelFailed, CancelAgain, CancelAgain}
		return StopOutcome{
			Seq: l.c.Stop.Seq - int64(detail>>7),
			CancelOutcome: CancelOutcome{
				Kind: kinds[detail%4], RetryAfter: time.Duration(detail) * time.Second, Message: "no",
			},
		}
	case 13:
		return Event{
			ID: string(rune('a' + detail%16)), Status: status, Progress: &reading, Result: res,
			Callback: true, JobID: job,
			Fetch:        status == StatusSucceeded && res == nil && detail&8 != 0,
			PendingCheck: seq,
		}
	case 14:
		reading.Status = StatusSucceeded
		return CheckOutcome{
			Seq: seq, Kind: CheckReading, Reading: reading, ResultMissing: true, Message: "no result", JobID: job,
		}
	default:
		if detail < 200 {
			return CheckOutcome{Seq: seq, Kind: CheckSkipped}
		}
		return Cancel{Superseded: detail&1 == 1}
	}
}

// checkInvariants compares a case with the one before: what must hold for every input.
func checkInvariants(t testing.TB, r Rules, before, after Case, v Verdict) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("verdict %+v\nbefore: %s\nafter:  %s", v, dump(before), dump(after))
		t.Fatalf(format, args...)
	}
	if !v.Changed() {
		if !cmp.Equal(before, after, cmpopts.IgnoreUnexported(Case{})) {
			fail("changed with verdict %s", v.Kind)
		}
		if v.Keep != KeepNothing || v.DropForm {
			fail("something to keep or drop without a change")
		}
		return
	}
	if after.Version != before.Version+1 {
		fail("version %d after %d", after.Version, before.Version)
	}
	if after.UpdatedAt.Before(before.UpdatedAt) {
		fail("time went back")
	}
	if after.Bookkeeping.OverdueAt.IsZero() {
		fail("the sweep will never take notice of it")
	}
	if after.Checks.Seq < before.Checks.Seq || after.Checks.Seq > before.Checks.Seq+1 ||
		after.Dispatch.Seq < before.Dispatch.Seq || after.Dispatch.Seq > before.Dispatch.Seq+1 {
		fail("a sequence number jumped")
	}
	if p, q := before.Job.Progress, after.Job.Progress; q.Completed < p.Completed || q.Percent < p.Percent ||
		q.Percent > 100 || q.Total > 0 && q.Completed > q.Total {
		fail("progress went backwards or out of range")
	}
	if after.State == Succeeded != (after.Job.Progress.Percent == 100) ||
		after.Job.Progress.Percent > 99.9 && after.State != Succeeded {
		fail("it is at 100 percent and has not succeeded, or the other way round")
	}
	if after.State == Succeeded && after.Job.Progress.Completed != after.Job.Progress.Total {
		fail("a success is not whole")
	}
	if v.Keep == KeepResult && (before.Outcome.HasResult || !after.Outcome.HasResult) ||
		v.Keep == KeepLate &&
			(before.Outcome.Late != nil && before.Outcome.Late.HasResult || !after.Outcome.Late.HasResult) {
		fail("a result was swapped in")
	}
	checkStop(t, r, before, after)
	checkTimeline(t, before, after)
	if before.State.Ended() {
		if before.State != after.State || !before.Outcome.EndedAt.Equal(after.Outcome.EndedAt) ||
			before.Job.Progress != after.Job.Progress || before.Outcome.EndVersion != after.Outcome.EndVersion ||
			before.Outcome.End.Reason != after.Outcome.End.Reason ||
			before.Outcome.End.Source != after.Outcome.End.Source || before.Checks.Polls != after.Checks.Polls {
			fail("an end changed")
		}
		if before.Outcome.Documents != nil && v.Kind != Filled &&
			!cmp.Equal(before.Outcome.Documents, after.Outcome.Documents) {
			fail("documents of an end changed")
		}
		if before.Outcome.Late != nil &&
			(before.Outcome.Late.Message != after.Outcome.Late.Message ||
				before.Outcome.Late.State != after.Outcome.Late.State ||
				before.Outcome.Late.Count > after.Outcome.Late.Count) {
			fail("the first late report was not kept")
		}
		return
	}
	if after.State.Ended() {
		if after.Outcome.End == nil || after.Outcome.EndVersion != after.Version || after.Outcome.EndedAt.IsZero() ||
			!after.Checks.NextAt.IsZero() || after.Job.Stalled {
			fail("an end that is not whole")
		}
		if after.Outcome.Late != nil {
			fail("an end with a late report")
		}
		if after.Outcome.End.Source == SourceCheck && after.Outcome.End.Reason == ReasonCompleted &&
			!after.Outcome.Reported && after.Job.Reading.Status != "" {
			fail("counts ended a run that has a status")
		}
		if after.State == Succeeded && after.Bookkeeping.FormKept {
			fail("the form of a run that succeeded is kept")
		}
		if before.Dispatch.Phase == PhaseInFlight && after.State == Failed && after.Outcome.End.Source == SourceCheck &&
			before.UpdatedAt.Before(before.Dispatch.SentAt.Add(r.PipelineTimeout)) &&
			after.UpdatedAt.Before(before.Dispatch.SentAt.Add(r.PipelineTimeout)) {
			fail("a check ended a run whose request was in flight")
		}
		return
	}
	if after.Outcome.End != nil || after.Checks.NextAt.IsZero() || after.Checks.NextAt.After(after.DeadlineAt) {
		fail("an open run without a check before its deadline")
	}
	if !after.UpdatedAt.Before(after.DeadlineAt) && after.Checks.NextAt.After(after.UpdatedAt) && v.Kind == Applied &&
		after.Checks.Seq > before.Checks.Seq {
		fail("a check planned beyond the deadline")
	}
	if until := after.Checks.BusyUntil; until.After(after.Checks.LastAt) && after.Checks.Seq > before.Checks.Seq &&
		after.Job.CompleteSince.IsZero() && after.Job.SucceededSince.IsZero() &&
		after.Job.ResultMissingSince.IsZero() && v.Kind == Applied &&
		after.Checks.NextAt.Before(until) && after.Checks.NextAt.Before(after.DeadlineAt) &&
		!before.Checks.BusyUntil.Equal(until) {
		fail("polled before the time that the pipeline named")
	}
	if b, d := before.Dispatch, after.Dispatch; d.Phase == PhaseQueued && b.Phase != PhaseQueued && b.Confirmed &&
		!r.Idempotent {
		fail("to be sent again, though the pipeline said that it works on it")
	}
	if d := after.Dispatch; d.Phase == PhaseInFlight && before.Dispatch.Phase != PhaseInFlight &&
		before.Dispatch.Attempts > 0 && !r.Idempotent {
		fail("sent a second time")
	}
}

// checkStop checks what must hold of the cancelling of a job.
func checkStop(t testing.TB, r Rules, before, after Case) {
	t.Helper()
	b, s := before.Stop, after.Stop
	switch {
	case s.State != StopNone && after.State != Cancelled && after.State != TimedOut:
		t.Fatalf("the job of a run is to be cancelled that is %s", after.State)
	case s.State != StopNone && (!r.CanCancel || r.CancelNeedsJob && after.Job.ID == ""):
		t.Fatal("a job is to be cancelled that cannot be")
	case s.Seq < b.Seq || s.Seq > b.Seq+1:
		t.Fatal("the number of a request to cancel jumped")
	case s.State == StopRequested && s.At.IsZero(), s.State != StopRequested && !s.At.IsZero():
		t.Fatalf("a request to cancel is due at %v, in state %q", s.At, s.State)
	case s.State == StopRequested && after.Bookkeeping.Finalized && after.Bookkeeping.OverdueAt.After(s.At):
		t.Fatal("the sweep takes no notice of a lost request to cancel")
	case !before.State.Ended() && after.State.Ended() && after.Outcome.Reported && s.State != StopNone:
		t.Fatal("a job is to be cancelled that is over")
	case before.Job.ID != "" && before.Job.ID != after.Job.ID && before.State.Ended() && b.State == StopNone &&
		r.CanCancel &&
		before.State != Succeeded && before.State != Failed && !before.Outcome.Reported:
		t.Fatal("the job of an ended run changed")
	}
}
