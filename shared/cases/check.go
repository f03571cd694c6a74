package cases

import "time"

// Asks reports whether a check of c at now is to poll the pipeline. It is not while nothing was sent, at the deadline, at the
// end of a completion grace, when only the time matters, and if the check was due before the time that a busy pipeline named.
// The check that is due at the deadline never polls: where the clock says that it is not yet time, the clock is behind.
func (r Rules) ShouldPoll(c Case, now time.Time) bool {
	switch {
	case c.State.Ended() || !now.Before(c.DeadlineAt) || !c.Checks.NextAt.Before(c.DeadlineAt):
		return false
	case c.nothingSent(), c.Checks.NextAt.Before(c.Checks.BusyUntil):
		return false
	}
	return !r.completionGraceOver(c.Job.CompleteSince, now) && !r.completionGraceOver(c.Job.SucceededSince, now)
}

func (r Rules) completionGraceOver(since, now time.Time) bool {
	return !since.IsZero() && !now.Before(since.Add(r.CompletionGrace))
}

func (r Rules) checkOutcome(n *Case, in CheckOutcome, now time.Time, jitter float64) Verdict {
	w, final := in.report()
	if n.State.Ended() {
		v := Verdict{Kind: Ignored}
		if final && n.isNews(in.Reading) {
			v = r.takeReport(n, w, now)
		}
		// The record that a check reads is at least that of the last save that returned. So a check that read an open run began before anybody could
		// know the end, however long the save of that took.
		if in.Kind != CheckSkipped && in.ReadVersion >= n.Outcome.EndVersion {
			n.Bookkeeping.PolledAfterEnd++
			if !v.Changed() {
				v = Verdict{Kind: Applied}
			}
		}
		return v
	}
	if in.Seq != n.Checks.Seq {
		return Verdict{Kind: Stale}
	}
	if d := &n.Dispatch; d.Phase == PhaseInFlight && !now.Before(d.SentAt.Add(r.PipelineTimeout)) {
		d.Phase, d.UncertainSince = PhaseUncertain, now
	}
	n.Checks.LastAt = later(now, n.Checks.NextAt)
	if in.Kind != CheckSkipped {
		n.Checks.Polls++
		n.Checks.BusyUntil = time.Time{}
	}
	var v Verdict
	switch {
	case in.Kind == CheckBusy: // it tells nothing of the run
		n.reached()
		n.Checks.BusyUntil = n.Checks.LastAt.Add(max(0, in.RetryAfter)).Truncate(time.Microsecond)
	case n.nothingSent(): // nothing was started: it looked at something else
	case in.Kind == CheckReading && n.isNews(in.Reading):
		v = r.reading(n, in, w, final, now)
	case in.Kind == CheckReading && n.Job.Seen: // what the run before left: it tells nothing
		n.reached()
	case in.Kind == CheckReading, in.Kind == CheckUnknown:
		r.jobUnknown(n, now)
	case in.Kind == CheckFailed:
		r.pollFailed(n, in.Message, now)
	}
	switch {
	case n.State.Ended():
	case !n.Job.SucceededSince.IsZero() && n.Dispatch.Phase != PhaseInFlight, r.completionGraceOver(n.Job.SucceededSince, now):
		r.endSucceeded(n, SourceEvent, now)
	case r.completionGraceOver(n.Job.CompleteSince, now):
		r.endSucceeded(n, SourceCheck, now)
	case !now.Before(n.DeadlineAt):
		r.endAtDeadline(n, SourceDeadline, now)
	default:
		waiting := n.Dispatch.Phase == PhaseQueued || !n.Job.CompleteSince.IsZero() || !n.Job.SucceededSince.IsZero()
		n.Job.Stalled = !waiting && !now.Before(n.Job.MovedAt.Add(r.StallAfter))
		n.Checks.Seq++
		n.Checks.NextAt = r.nextCheck(*n, now, jitter)
	}
	v.Kind = Applied
	return v
}

// word is what a check's answer says of the end, if it does.
func (in CheckOutcome) report() (report, bool) {
	final := in.Kind == CheckReading && in.Reading.Status.Terminal()
	return report{id: in.id(), succeeded: in.Reading.Status == StatusSucceeded, message: in.Message, result: in.Result, source: SourceCheck}, final
}

// isNews reports whether a reading tells of this run: anything does, but in a rerun only from the first reading on that is
// neither the last one of the run before nor that run's end. At the same counts a status is news only if the run before had
// its terminal status already.
func (c Case) isNews(r Reading) bool {
	b := c.Job.Baseline
	if b == nil {
		return true
	}
	same := r.Completed == b.Completed && r.Total == b.Total && (r.Status == b.Status || r.Status == "" || !b.Status.Terminal())
	completion := r.complete() && r.Total == b.Total
	return !same && !completion
}

// complete reports whether everything that is to be done is done, by the counts.
func (r Reading) complete() bool { return r.Total > 0 && r.Completed >= r.Total }

func (r Rules) reading(n *Case, in CheckOutcome, w report, final bool, now time.Time) Verdict {
	n.reached()
	n.Checks.UnknownSince = time.Time{}
	n.Job.Baseline = nil
	n.nowRunning(now)
	r.observe(n, in.Reading, now)
	n.noteForForecast(in, now)
	if final && n.Dispatch.Phase != PhaseInFlight {
		return r.takeReport(n, w, now)
	}
	return Verdict{}
}

func (r Rules) jobUnknown(n *Case, now time.Time) {
	ch, d := &n.Checks, &n.Dispatch
	n.reached()
	if ch.UnknownSince.IsZero() {
		ch.UnknownSince = now
	}
	if d.Phase == PhaseInFlight || !n.Job.CompleteSince.IsZero() {
		return // it may know nothing of a job that it is about to answer, or has just completed
	}
	since := now.Sub(later(ch.UnknownSince, d.UncertainSince))
	lost := "the pipeline no longer knows this case"
	if n.State == Pending {
		lost = "the pipeline does not know this case"
	}
	switch {
	case n.Job.Seen && since >= r.UnreachableAfter:
		n.finish(Failed, ReasonPipelineLost, lost, SourceCheck, now)
	case n.Job.Seen || d.Phase != PhaseUncertain || since < r.StartGrace:
	case r.Idempotent:
		d.Phase, d.Nonce, d.SentAt, d.UncertainSince = PhaseQueued, "", time.Time{}, time.Time{}
		d.Seq++
		d.At = now
		ch.UnknownSince = time.Time{}
	default:
		n.finish(Failed, ReasonStartUnknown, "it is not known whether the request reached the pipeline, and the pipeline does not know this case", SourceCheck, now)
	}
}

// reached notes that the pipeline answered a poll: no streak of failures goes on.
func (c *Case) reached() {
	c.Checks.ConsecutiveFailures, c.Checks.FailingSince, c.Dispatch.UnreachableSince = 0, time.Time{}, time.Time{}
}

func (r Rules) pollFailed(n *Case, message string, now time.Time) {
	ch := &n.Checks
	ch.FailedPolls++
	ch.ConsecutiveFailures++
	if ch.FailingSince.IsZero() {
		ch.FailingSince = now
	}
	if n.Dispatch.Phase == PhaseInFlight || !n.Job.CompleteSince.IsZero() {
		return
	}
	if now.Sub(later(ch.FailingSince, n.Dispatch.UncertainSince)) >= r.UnreachableAfter {
		n.finish(Failed, ReasonPipelineUnreachable, message, SourceCheck, now)
	}
}

// mostPercent is what a run shows at most that has not succeeded.
const maxOpenPercent = 99.9

// observe takes in a reading: progress never goes backwards, whatever the pipeline shows. A total of 0 is one that is not
// known. It reports whether anything moved.
func (r Rules) observe(n *Case, in Reading, now time.Time) bool {
	n.Job.Reading = &in
	switch {
	case in.Status != "" || !in.complete(): // what it says beats what its counts suggest
		n.Job.CompleteSince = time.Time{}
	case n.Dispatch.Phase == PhaseInFlight: // its answer, not a count, is the end
	case n.Job.CompleteSince.IsZero():
		n.Job.CompleteSince = now
	}
	old := n.Job.Progress
	if in.Completed < old.Completed {
		return false
	}
	p := Progress{Completed: in.Completed, Total: in.Total, Percent: in.Percent, Current: clip(in.Current)}
	if p.Total <= 0 {
		p.Total = old.Total
	}
	if p.Total > 0 {
		p.Total = max(p.Total, p.Completed)
	}
	if !(p.Percent >= 0) {
		p.Percent = 0
		if p.Total > 0 {
			p.Percent = 100 * float64(p.Completed) / float64(p.Total)
		}
	}
	p.Percent = max(old.Percent, min(oneDecimal(min(p.Percent, 100)), maxOpenPercent))
	if p == old {
		return false
	}
	n.Job.Progress, n.Job.MovedAt, n.Job.Stalled = p, now, false
	return true
}
