package cases

import "time"

func (r Rules) event(n *Case, in Event, now time.Time) Verdict {
	if in.Unattributed && !n.State.Ended() {
		return Verdict{Kind: Ignored}
	}
	switch in.Status {
	case StatusSucceeded:
		if n.State.Ended() {
			break
		}
		if in.Progress != nil {
			r.observe(n, *in.Progress, now)
		}
		if in.Result == nil && n.Dispatch.Phase == PhaseInFlight {
			if !n.Job.SucceededSince.IsZero() {
				return Verdict{Kind: Ignored}
			}
			n.Job.SucceededSince = now
			n.Dispatch.Confirmed = true
			n.nowRunning(now)
			n.remember(in.ID)
			return Verdict{Kind: Applied}
		}
	case StatusFailed:
		if !n.State.Ended() && in.Progress != nil {
			r.observe(n, *in.Progress, now)
		}
	default:
		if n.State.Ended() {
			return Verdict{Kind: Ignored} // no word on the end: a reordered message
		}
		return r.runningEvent(n, in, now)
	}
	return r.takeReport(n, report{id: in.ID, succeeded: in.Status == StatusSucceeded, message: in.Message, result: in.Result, source: SourceEvent, unattributed: in.Unattributed}, now)
}

// runningEvent takes in that the pipeline works on the run. That ends a completion grace: what it says beats what a poll's
// counts suggested, at the deadline too.
func (r Rules) runningEvent(n *Case, in Event, now time.Time) Verdict {
	changed := !n.Job.CompleteSince.IsZero()
	n.Job.CompleteSince = time.Time{}
	if !now.Before(n.DeadlineAt) {
		r.endAtDeadline(n, SourceDeadline, now)
		return Verdict{Kind: Applied}
	}
	ch := &n.Checks
	changed = changed || n.State != Running || !n.Job.Seen || n.Dispatch.Phase == PhaseQueued || !ch.UnknownSince.IsZero() || ch.ConsecutiveFailures > 0
	n.nowRunning(now)
	ch.UnknownSince, ch.ConsecutiveFailures, ch.FailingSince = time.Time{}, 0, time.Time{} // it lives, whatever the looks say
	d := &n.Dispatch
	d.Confirmed = true
	if d.Phase == PhaseQueued {
		d.Phase, d.Attempts = PhaseAnswered, max(d.Attempts, 1)
	}
	if p := in.Progress; p != nil {
		reading := *p
		reading.Status = in.Status
		changed = r.observe(n, reading, now) || changed
	}
	if !changed {
		return Verdict{Kind: Ignored}
	}
	return Verdict{Kind: Applied}
}
