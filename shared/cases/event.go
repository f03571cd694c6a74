package cases

import "time"

func (r Rules) event(n *Case, in Event, now time.Time) Verdict {
	if in.Unsure && !n.State.Ended() {
		return Verdict{Kind: Ignored}
	}
	switch in.Status {
	case "succeeded":
		if n.State.Ended() {
			break
		}
		if in.Progress != nil {
			r.observe(n, *in.Progress, now)
		}
		if in.Result == nil && n.Dispatch.Phase == PhaseOpen {
			if !n.SucceededSince.IsZero() {
				return Verdict{Kind: Ignored}
			}
			n.SucceededSince = now
			n.Dispatch.Confirmed = true
			n.nowRunning(now)
			n.remember(in.ID)
			return Verdict{Kind: Applied}
		}
	case "failed":
		if !n.State.Ended() && in.Progress != nil {
			r.observe(n, *in.Progress, now)
		}
	default:
		if n.State.Ended() {
			return Verdict{Kind: Ignored} // no word on the end: a reordered message
		}
		return r.runningEvent(n, in, now)
	}
	return r.word(n, word{id: in.ID, succeeded: in.Status == "succeeded", message: in.Message, result: in.Result, source: SourceEvent, unsure: in.Unsure}, now)
}

// runningEvent takes in that the pipeline works on the run. That ends a completion grace: what it says beats what a poll's
// counts suggested, at the deadline too.
func (r Rules) runningEvent(n *Case, in Event, now time.Time) Verdict {
	changed := !n.CompleteSince.IsZero()
	n.CompleteSince = time.Time{}
	if !now.Before(n.DeadlineAt) {
		r.endAtDeadline(n, SourceDeadline, now)
		return Verdict{Kind: Applied}
	}
	ch := &n.Checks
	changed = changed || n.State != Running || !n.Known || n.Dispatch.Phase == PhaseQueued || !ch.UnknownSince.IsZero() || ch.Unbroken > 0
	n.nowRunning(now)
	ch.UnknownSince, ch.Unbroken, ch.Since = time.Time{}, 0, time.Time{} // it lives, whatever the looks say
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
