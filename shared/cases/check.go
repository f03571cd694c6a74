package cases

import (
	"slices"
	"time"
)

// maxOpenPercent is the highest percentage that a run shows which has not succeeded.
const maxOpenPercent = 99.9

// ShouldPoll reports whether a check of c at now is to poll the pipeline. It is not to poll
//
//   - at the deadline, and when the check is due at the deadline. If the clock then says that it is
//     not yet time, the clock is behind.
//   - while nothing was sent
//   - if the check was due before the time that a busy pipeline named
//   - while the pipeline cannot be asked: its name for the job is needed and not known, or it is no
//     longer described
//   - at the end of a completion grace, when only the time matters
func (r Rules) ShouldPoll(c Case, now time.Time) bool {
	switch {
	case c.State.Ended() || !now.Before(c.DeadlineAt) || !c.Checks.NextAt.Before(c.DeadlineAt):
		return false
	case c.nothingSent(), c.Checks.NextAt.Before(c.Checks.BusyUntil), r.Gone, r.jobUnnamed(c):
		return false
	}
	return !r.completionGraceOver(c.Job.CompleteSince, now) && !r.completionGraceOver(c.Job.SucceededSince, now)
}

// jobUnnamed reports whether the pipeline cannot be asked for the job, since its name is not known.
func (r Rules) jobUnnamed(c Case) bool { return r.PollNeedsJob && c.Job.ID == "" }

func (r Rules) completionGraceOver(since, now time.Time) bool {
	return !since.IsZero() && !now.Before(since.Add(r.CompletionGrace))
}

// checkOutcome takes in what a check found. Its steps, in this order:
//
//  1. A check of an ended run changes no end, see checkAfterEnd.
//  2. One that is not the pending check is stale.
//  3. A request that has been in flight for PipelineTimeout is given up.
//  4. What the poll found is taken in, which may end the run, see takeFinding.
//  5. If the run is still open, what is over by the clock ends it, see endIfOver.
//  6. If it is still open, the next check is planned.
func (r Rules) checkOutcome(n *Case, in CheckOutcome, now time.Time, jitter float64) Verdict {
	if n.State.Ended() {
		return r.checkAfterEnd(n, in, now)
	}
	if in.Seq != n.Checks.Seq {
		return Verdict{Kind: Stale}
	}
	if d := &n.Dispatch; d.Phase == PhaseInFlight && !now.Before(d.SentAt.Add(r.PipelineTimeout)) {
		d.becomeUncertain(now)
	}
	n.Checks.LastAt = later(now, n.Checks.NextAt)
	keep := r.takeFinding(n, in, now)
	if !n.State.Ended() {
		r.endIfOver(n, now)
	}
	if !n.State.Ended() {
		n.Job.Stalled = !r.NoProgress && !n.progressIsAwaited() && !now.Before(n.Job.MovedAt.Add(r.StallAfter))
		n.Checks.Seq++
		n.Checks.NextAt = r.nextCheck(*n, now, jitter)
	}
	return Verdict{Kind: Applied, Keep: keep}
}

// checkAfterEnd takes in a check that was saved after the end. Its report is late. A check that had
// read the end and polled all the same is counted as leaked. The version that it read decides, not
// the time: a check that read an open run began before the save of the end had returned.
func (r Rules) checkAfterEnd(n *Case, in CheckOutcome, now time.Time) Verdict {
	v := Verdict{Kind: Ignored}
	if rep, ok := in.report(); ok && n.isNews(in.Reading) {
		v = r.takeReport(n, rep, now)
	}
	if in.Kind != CheckSkipped && in.ReadVersion >= n.Outcome.EndVersion {
		n.Bookkeeping.PolledAfterEnd++
		if !v.Changed() {
			v = Verdict{Kind: Applied}
		}
	}
	return v
}

// takeFinding takes in what a poll found of an open run. It returns where the result of the poll is
// to be kept, if it had one. A busy pipeline is reachable. Anything else that is found while nothing
// was sent is not about this run; such a poll began before the
// answer of the dispatch queued the run again.
func (r Rules) takeFinding(n *Case, in CheckOutcome, now time.Time) Keep {
	if in.Kind == CheckSkipped {
		if r.jobUnnamed(*n) && !r.Gone {
			r.startUnknown(n, n.Dispatch.UncertainSince, now)
		}
		return KeepNothing
	}
	ch := &n.Checks
	ch.Polls++
	ch.BusyUntil, ch.Paced = time.Time{}, false
	if in.Kind == CheckBusy {
		n.pipelineReached()
		ch.holdBack(in.RetryAfter)
		return KeepNothing
	}
	if n.nothingSent() {
		return KeepNothing
	}
	switch in.Kind {
	case CheckReading:
		return r.takeReading(n, in, now)
	case CheckUnknown:
		r.jobUnknown(n, now)
	case CheckFailed:
		r.pollFailed(n, in.Message, now)
	}
	return KeepNothing
}

// holdBack notes that the pipeline asked not to be polled for some time.
func (ch *Checks) holdBack(d time.Duration) {
	ch.BusyUntil = ch.LastAt.Add(max(0, d)).Truncate(time.Microsecond)
}

// endIfOver ends an open run of which something is over by the clock. What the pipeline reported
// beats what its counts suggest, and both beat the deadline:
//
//  1. An event reported success, and no answer with the result can follow any more.
//  2. A poll reported success, and the result could not be fetched for CompletionGrace.
//  3. Everything was counted, and nothing more came for CompletionGrace.
//  4. The deadline has passed.
func (r Rules) endIfOver(n *Case, now time.Time) {
	succeeded := !n.Job.SucceededSince.IsZero()
	switch {
	case succeeded && n.Dispatch.Phase != PhaseInFlight, r.completionGraceOver(n.Job.SucceededSince, now):
		r.endSucceeded(n, n.announcedBy(), now)
	case r.completionGraceOver(n.Job.ResultMissingSince, now):
		r.endSucceeded(n, SourceCheck, now)
	case r.completionGraceOver(n.Job.CompleteSince, now):
		r.endSucceeded(n, SourceCheck, now)
	case !now.Before(n.DeadlineAt):
		r.endAtDeadline(n, SourceDeadline, now)
	}
}

// progressIsAwaited reports whether progress may stand still: nothing works on the run, or its work
// is done.
func (c Case) progressIsAwaited() bool {
	return c.Dispatch.Phase == PhaseQueued || c.workIsDone() || !c.Job.SucceededSince.IsZero()
}

// workIsDone reports whether polls showed that the work is done, by its counts or by a status, and
// only the result is awaited.
func (c Case) workIsDone() bool {
	return !c.Job.CompleteSince.IsZero() || !c.Job.ResultMissingSince.IsZero()
}

// report is what a check's answer says of the end, if it does.
func (in CheckOutcome) report() (terminalReport, bool) {
	rep := terminalReport{
		id: in.reportID(), status: in.Reading.Status,
		message: in.Message, result: in.Result, dropped: in.Dropped, source: SourceCheck,
	}
	return rep, in.Kind == CheckReading && in.Reading.Status.Terminal()
}

// isNews reports whether a reading tells of this run. In the first run of a case every reading does.
// In a rerun the pipeline may still show the run before. So readings count from the first one on
// that differs from the last reading of that run, and from its end.
func (c Case) isNews(r Reading) bool {
	b := c.Job.Baseline
	if b == nil {
		return true
	}
	sameStatus := r.Status == b.Status || r.Status == StatusNotGiven || !b.Status.Terminal()
	same := r.Completed == b.Completed && r.Total == b.Total && sameStatus
	completion := r.complete() && r.Total == b.Total
	return !same && !completion
}

// complete reports whether everything that is to be done is done, by the counts.
func (r Reading) complete() bool { return r.Total > 0 && r.Completed >= r.Total }

// takeReading takes in what the pipeline shows of the job. A reading that tells nothing of this run
// is the last one of the run before: the pipeline does not know this one's job, unless it was seen
// already.
func (r Rules) takeReading(n *Case, in CheckOutcome, now time.Time) Keep {
	if !n.isNews(in.Reading) {
		if n.Job.Seen {
			n.pipelineReached()
		} else {
			r.jobUnknown(n, now)
		}
		return KeepNothing
	}
	n.pipelineReached()
	n.Checks.UnknownSince = time.Time{}
	n.Job.Baseline = nil
	n.nowRunning(now)
	if n.Job.ID == "" {
		n.Job.ID = in.JobID
	}
	r.observe(n, in.Reading, now)
	n.noteForForecast(in, now)
	if in.Reading.Status == StatusRunning && in.RetryAfter > 0 {
		n.Checks.holdBack(in.RetryAfter)
		n.Checks.Paced = true
	}
	rep, ok := in.report()
	switch {
	case !ok:
		n.Job.ResultMissingSince, n.Job.ResultProblem = time.Time{}, ""
	case n.Dispatch.Phase == PhaseInFlight:
	case in.ResultMissing:
		n.resultMissing(in, now)
	default:
		return r.takeReport(n, rep, now).Keep
	}
	return KeepNothing
}

// resultMissing takes in that the job succeeded, and that its result could not be fetched.
func (c *Case) resultMissing(in CheckOutcome, now time.Time) {
	if c.Job.ResultMissingSince.IsZero() {
		c.Job.ResultMissingSince = now
	}
	c.Job.ResultProblem = clip(in.Message)
}

// jobUnknown takes in that the pipeline does not know the job. While a request is in flight, or all
// is counted, it may know nothing of a job that it is about to answer, or has just completed. Else,
// after a grace,
//
//   - a job that was seen is lost;
//   - a request that may have arrived did not start one: it is sent again if that is safe, and the
//     run ends otherwise.
func (r Rules) jobUnknown(n *Case, now time.Time) {
	ch, d := &n.Checks, &n.Dispatch
	n.pipelineReached()
	if ch.UnknownSince.IsZero() {
		ch.UnknownSince = now
	}
	if d.Phase == PhaseInFlight || n.workIsDone() {
		return
	}
	unknownFor := now.Sub(later(ch.UnknownSince, d.UncertainSince))
	if n.Job.Seen {
		if unknownFor >= r.UnreachableAfter {
			n.finish(ReasonPipelineLost, n.lostMessage(), SourceCheck, now)
		}
		return
	}
	r.startUnknown(n, later(ch.UnknownSince, d.UncertainSince), now)
}

// startUnknown takes in that there is no sign, since a time, of the job that an uncertain dispatch
// may have started: the pipeline does not know it, or cannot be asked for it. After StartGrace the
// request is sent again if that is safe, and the run ends otherwise.
func (r Rules) startUnknown(n *Case, since, now time.Time) {
	d := &n.Dispatch
	if d.Phase != PhaseUncertain || n.Job.Seen || now.Before(since.Add(r.StartGrace)) {
		return
	}
	if r.Idempotent {
		d.queueAgain(now)
		n.Checks.UnknownSince = time.Time{}
		return
	}
	why := "and the pipeline does not know this case"
	if r.jobUnnamed(*n) {
		why = "and the pipeline cannot be asked for a job whose name is not known"
	}
	n.finish(ReasonStartUnknown, "it is not known whether the request reached the pipeline, "+why, SourceCheck, now)
}

func (c Case) lostMessage() string {
	if c.State == Pending {
		return "the pipeline does not know this case"
	}
	return "the pipeline no longer knows this case"
}

// pipelineReached notes that the pipeline answered a poll: no streak of failures goes on.
func (c *Case) pipelineReached() {
	c.Checks.ConsecutiveFailures, c.Checks.FailingSince = 0, time.Time{}
	c.Dispatch.UnreachableSince = time.Time{}
}

// pollFailed takes in that a poll got no usable answer. UnreachableAfter of that without a break
// ends the run, but not while a request is in flight, or all is counted.
func (r Rules) pollFailed(n *Case, message string, now time.Time) {
	ch := &n.Checks
	ch.FailedPolls++
	ch.ConsecutiveFailures++
	if ch.FailingSince.IsZero() {
		ch.FailingSince = now
	}
	if n.Dispatch.Phase == PhaseInFlight || n.workIsDone() {
		return
	}
	if now.Sub(later(ch.FailingSince, n.Dispatch.UncertainSince)) >= r.UnreachableAfter {
		n.finish(ReasonPipelineUnreachable, message, SourceCheck, now)
	}
}

// observe takes in a reading. Progress never goes backwards, whatever the pipeline shows; a total
// of 0 is one that is not known. It reports whether progress moved.
func (r Rules) observe(n *Case, in Reading, now time.Time) bool {
	n.Job.Reading = &in
	n.noteCompletion(in, now)
	n.noteUnmapped(in)
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
	if p.Percent < 0 && p.Total > 0 { // not given
		p.Percent = 100 * float64(p.Completed) / float64(p.Total)
	}
	p.Percent = max(old.Percent, min(oneDecimal(min(p.Percent, 100)), maxOpenPercent))
	if p == old {
		return false
	}
	n.Job.Progress, n.Job.MovedAt, n.Job.Stalled = p, now, false
	return true
}

// noteCompletion begins the completion grace when everything is counted, and ends it when it is
// not. A status beats the counts, and while a request is in flight its answer is the end, not a
// count.
func (c *Case) noteCompletion(in Reading, now time.Time) {
	switch {
	case in.Status != StatusNotGiven || !in.complete():
		c.Job.CompleteSince = time.Time{}
	case c.Dispatch.Phase != PhaseInFlight && c.Job.CompleteSince.IsZero():
		c.Job.CompleteSince = now
	}
}

// maxUnmapped is how many statuses that no list names a record keeps.
const maxUnmapped = 8

// noteUnmapped keeps a status that the description of the pipeline does not list, so that it is
// logged once.
func (c *Case) noteUnmapped(in Reading) {
	if u := c.Job.Unmapped; in.Unmapped != "" && len(u) < maxUnmapped && !slices.Contains(u, in.Unmapped) {
		c.Job.Unmapped = append(slices.Clone(u), in.Unmapped)
	}
}

// nowRunning notes that the pipeline has the job.
func (c *Case) nowRunning(now time.Time) {
	c.Job.Seen, c.Dispatch.LastError = true, ""
	if c.State != Pending {
		return
	}
	c.State, c.Job.StartedAt = Running, now
	if !c.Dispatch.SentAt.IsZero() {
		c.Job.StartedAt = c.Dispatch.SentAt
	}
}
