package cases

import "time"

// OwnsUnattributed reports whether an event that names no run counts for c, the current run of its
// case: it was published after the run began, the pipeline was asked for the run at all, and no
// earlier run may still have a report to come. An adopted run is the work of such an earlier one: a
// report of that is its own.
func (c Case) OwnsUnattributed(published time.Time) bool {
	return (c.Adopted || !c.PriorUnreported) && c.MayOwn(published)
}

// MayOwn reports whether an event that was published then can be about c at all.
func (c Case) MayOwn(published time.Time) bool {
	return !published.Before(c.CreatedAt) && (c.Adopted || c.Dispatch.Attempts > 0)
}

// event takes in a message of the pipeline. The first step that applies decides:
//
//  1. The run has ended: a terminal report is late, or brings the missing result. That the pipeline
//     works on the run is a message out of order, and ignored.
//  2. The message is unattributed: it ends no run, since it may be about another.
//  3. The pipeline works on the run, see runningEvent.
//  4. It succeeded, without a result, while a request is in flight: the answer to that is awaited,
//     which has the result.
//  5. A terminal report ends the run.
func (r Rules) event(n *Case, in Event, now time.Time) Verdict {
	rep := terminalReport{
		id: in.ID, succeeded: in.Status == StatusSucceeded,
		message: in.Message, result: in.Result, dropped: in.Dropped, source: SourceEvent, unattributed: in.Unattributed,
	}
	switch {
	case n.State.Ended() && in.Status.Terminal():
		return r.takeReport(n, rep, now)
	case n.State.Ended(), in.Unattributed:
		return Verdict{Kind: Ignored}
	case !in.Status.Terminal():
		return r.runningEvent(n, in, now)
	}
	if in.Progress != nil {
		r.observe(n, *in.Progress, now)
	}
	if rep.succeeded && in.Result == nil && n.Dispatch.Phase == PhaseInFlight {
		return n.announceSuccess(in, now)
	}
	return r.takeReport(n, rep, now)
}

// announceSuccess notes that the pipeline succeeded, while its answer with the result is awaited.
func (c *Case) announceSuccess(in Event, now time.Time) Verdict {
	if !c.Job.SucceededSince.IsZero() {
		return Verdict{Kind: Ignored}
	}
	c.Job.SucceededSince, c.Job.SucceededDropped = now, in.Dropped
	c.Dispatch.Confirmed = true
	c.nowRunning(now)
	c.rememberReport(in.ID)
	return Verdict{Kind: Applied}
}

// runningEvent takes in that the pipeline works on the run. That ends a completion grace, at the
// deadline too: what the pipeline says beats what a poll's counts suggested. It also ends what
// failed polls suggested.
func (r Rules) runningEvent(n *Case, in Event, now time.Time) Verdict {
	changed := !n.Job.CompleteSince.IsZero()
	n.Job.CompleteSince = time.Time{}
	if !now.Before(n.DeadlineAt) {
		r.endAtDeadline(n, SourceDeadline, now)
		return Verdict{Kind: Applied}
	}
	d, ch := &n.Dispatch, &n.Checks
	changed = changed || n.State != Running || !n.Job.Seen || d.Phase == PhaseQueued ||
		!ch.UnknownSince.IsZero() || ch.ConsecutiveFailures > 0
	n.nowRunning(now)
	ch.UnknownSince, ch.ConsecutiveFailures, ch.FailingSince = time.Time{}, 0, time.Time{}
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
