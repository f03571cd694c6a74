package cases

import (
	"time"

	"github.com/casewatch/casewatch/shared/schedule"
)

// StopState says what became of the job of a run that Casewatch ended.
type StopState string

// The states of a job that is to be cancelled.
const (
	StopNone      StopState = "" // there is nothing to cancel, or no way to
	StopRequested StopState = "requested"
	StopConfirmed StopState = "confirmed" // the pipeline cancelled it, or has no such job
	StopFailed    StopState = "failed"    // it goes on, as far as is known
)

// Stop is the cancelling of the pipeline's job after the end of the run. The end is final whatever
// becomes of it.
type Stop struct {
	State StopState `json:"state,omitempty"`
	Seq   int64     `json:"seq,omitempty"` // of the pending request; its task's name is derived from it
	At    time.Time `json:"at,omitzero"`   // when that request is due
	// TriedSince is when the outcome of the first request came in. Tries is the number of outcomes
	// since then that said neither yes nor no.
	TriedSince time.Time `json:"tried_since,omitzero"`
	Tries      int       `json:"tries,omitempty"`
	Problem    string    `json:"problem,omitempty"` // with failed: why
}

// request plans a request to cancel the job under a new number.
func (s *Stop) request(at time.Time) {
	s.State, s.Problem = StopRequested, ""
	s.Seq++
	s.At = at.Truncate(time.Microsecond)
}

func (s *Stop) confirm() { s.State, s.At, s.Problem = StopConfirmed, time.Time{}, "" }

func (s *Stop) fail(why string) { s.State, s.At, s.Problem = StopFailed, time.Time{}, clip(why) }

// stopJob plans the request that cancels the job of a run that has just been cancelled, superseded or
// timed out, if the pipeline can cancel it. No job is running if the pipeline reported its end, or
// was never asked to start one.
func (r Rules) stopJob(n *Case, now time.Time) {
	if n.Outcome.Reported || !r.canStop(*n) {
		return
	}
	n.Stop.request(now)
}

// canStop reports whether a run ended in a way that is to end its job too, and the pipeline can be
// asked for that.
func (r Rules) canStop(c Case) bool {
	ended := c.State == Cancelled || c.State == TimedOut
	return ended && r.CanCancel && (c.Job.ID != "" || !r.CancelNeedsJob)
}

// startedAfterEnd takes in that a job began although the run had ended. Its name is kept, and the
// job is cancelled, also if a request for that was made before: the pipeline may not have known the
// job then.
func (r Rules) startedAfterEnd(n *Case, in DispatchOutcome, awaited bool, now time.Time) Verdict {
	began := in.Kind == DispatchAccepted || in.Kind == DispatchUncertain && in.JobID != ""
	if !began || !awaited {
		return Verdict{Kind: Ignored}
	}
	n.Dispatch.Phase = PhaseAnswered // so that the same answer, saved again, does nothing
	if in.JobID != "" {
		n.Job.ID = in.JobID
	}
	if r.canStop(*n) {
		n.Stop = Stop{Seq: n.Stop.Seq}
		n.Stop.request(now)
	}
	return Verdict{Kind: Applied}
}

// stopOutcome takes in how a request to cancel the job went. The first step that applies decides:
//
//  1. It is not the pending request: stale.
//  2. The pipeline confirmed it, or refused it: that is final.
//  3. It is not known, and has not been for UnreachableAfter: it failed.
//  4. It is not known: it is requested again, after a back-off.
func (r Rules) stopOutcome(n *Case, in StopOutcome, now time.Time, jitter float64) Verdict {
	s := &n.Stop
	if s.State != StopRequested || in.Seq != s.Seq {
		return Verdict{Kind: Stale}
	}
	if s.TriedSince.IsZero() {
		s.TriedSince = now
	}
	giveUpAt := s.TriedSince.Add(r.UnreachableAfter)
	switch {
	case in.Kind == CancelConfirmed:
		s.confirm()
	case in.Kind == CancelFailed, !now.Before(giveUpAt):
		s.fail(in.Message)
	default:
		wait := schedule.Interval{Min: firstBackoff, Max: r.CheckMaxInterval}.Backoff(s.Tries, jitter)
		s.Tries++
		s.request(earlier(now.Add(max(wait, in.RetryAfter)), giveUpAt))
	}
	return Verdict{Kind: Applied}
}
