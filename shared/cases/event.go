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
//  1. It names another job than the run's: rejected.
//  2. The run has ended: a terminal report is late, or brings the missing result. That the pipeline
//     works on the run is a message out of order, and ignored.
//  3. The message is unattributed: it ends no run, since it may be about another.
//  4. The pipeline works on the run, see runningEvent.
//  5. It succeeded, and only a poll fetches the result: that poll is brought forward.
//  6. It succeeded, without a result, while a request is in flight: the answer to that is awaited,
//     which has the result.
//  7. A terminal report ends the run.
func (r Rules) event(n *Case, in Event, now time.Time) Verdict {
	rep := terminalReport{
		id: in.ID, status: in.Status,
		message: in.Message, result: in.Result, dropped: in.Dropped, source: in.source(), unattributed: in.Unattributed,
	}
	switch {
	case in.JobID != "" && n.Job.ID != "" && in.JobID != n.Job.ID:
		return Verdict{Kind: Rejected}
	case n.State.Ended() && in.Status.Terminal():
		return r.takeReport(n, rep, now)
	case n.State.Ended(), in.Unattributed:
		return Verdict{Kind: Ignored}
	case !in.Status.Terminal():
		return r.runningEvent(n, in, now)
	}
	n.learnJob(in.JobID)
	if in.Progress != nil {
		r.observe(n, *in.Progress, now)
	}
	if in.Fetch && r.mayFetchResult(*n, now) {
		return r.fetchResult(n, in, now)
	}
	if in.Status == StatusSucceeded && in.Result == nil && n.Dispatch.Phase == PhaseInFlight {
		return n.announceSuccess(in, now)
	}
	return r.takeReport(n, rep, now)
}

// source is what brought the message.
func (in Event) source() Source {
	if in.Callback {
		return SourceCallback
	}
	return SourceEvent
}

// learnJob notes the job's own name, if it was not known. It reports whether that is news.
func (c *Case) learnJob(id string) bool {
	if id == "" || c.Job.ID != "" {
		return false
	}
	c.Job.ID = id
	return true
}

// mayFetchResult reports whether a poll can fetch the result of an open run that has succeeded.
func (r Rules) mayFetchResult(c Case, now time.Time) bool {
	polls := !r.Gone && (!r.jobUnnamed(c) || c.Dispatch.Phase == PhaseInFlight)
	return polls && now.Before(c.DeadlineAt)
}

// fetchResult takes in that the job succeeded and that a poll is to fetch the result: the pipeline
// works on the run, or did, and can be polled as soon as polls may follow each other.
func (r Rules) fetchResult(n *Case, in Event, now time.Time) Verdict {
	v := r.runningEvent(n, Event{Status: StatusRunning, JobID: in.JobID}, now)
	n.Checks.BusyUntil, n.Checks.Paced = time.Time{}, false
	at, far := r.interval().Expedited(n.Checks.LastAt, n.Checks.NextAt, now)
	if far && in.PendingCheck == n.Checks.Seq {
		n.Checks.Seq++
		n.Checks.NextAt = earlier(at, n.DeadlineAt)
		v.Kind = Applied
	}
	return v
}

// announceSuccess notes that the pipeline succeeded, while its answer with the result is awaited.
func (c *Case) announceSuccess(in Event, now time.Time) Verdict {
	if !c.Job.SucceededSince.IsZero() {
		return Verdict{Kind: Ignored}
	}
	c.Job.SucceededSince, c.Job.SucceededDropped = now, in.Dropped
	if in.Callback {
		c.Job.SucceededSource = SourceCallback
	}
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
	changed = n.learnJob(in.JobID) || changed
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
