package cases

import (
	"time"

	"github.com/casewatch/casewatch/shared/schedule"
)

// firstBackoff is how long to wait after the first attempt that started nothing.
const firstBackoff = time.Second

// dispatchBegun takes in that a delivery of the dispatch task is about to send the request. The
// first step that applies decides:
//
//  1. The run has ended, or this is not the pending dispatch: stale.
//  2. The mark of this very attempt is there already, since a save that seemed to fail took effect:
//     a duplicate.
//  3. Another attempt is in flight, and this delivery has a higher retry count: the queue delivers
//     again like that when it has given the attempt up. The attempt is lost, and uncertain.
//  4. Nothing is queued: stale.
//  5. The deadline has passed: the run ends.
//  6. The mark is set, and the request may be sent.
func (r Rules) dispatchBegun(n *Case, in DispatchBegun, now time.Time) Verdict {
	d := &n.Dispatch
	switch {
	case n.State.Ended() || in.Seq != d.Seq:
		return Verdict{Kind: Stale}
	case d.Phase == PhaseInFlight && d.Nonce == in.Nonce:
		return Verdict{Kind: Duplicate}
	case d.Phase == PhaseInFlight && in.RetryCount > d.RetryCount:
		r.giveUpRequest(n, now)
	case d.Phase != PhaseQueued:
		return Verdict{Kind: Stale}
	case !now.Before(n.DeadlineAt):
		r.endAtDeadline(n, SourceDeadline, now)
	default:
		d.markInFlight(in, now)
		// While it is in flight its answer is the end, not what was counted before.
		n.Job.MovedAt, n.Job.CompleteSince = now, time.Time{}
	}
	return Verdict{Kind: Applied}
}

func (d *Dispatch) markInFlight(in DispatchBegun, now time.Time) {
	d.Phase, d.UncertainSince = PhaseInFlight, time.Time{}
	d.Nonce, d.RetryCount, d.SentAt = in.Nonce, in.RetryCount, now
	d.Attempts++
	d.Begun++
}

func (d *Dispatch) becomeUncertain(now time.Time) { d.Phase, d.UncertainSince = PhaseUncertain, now }

// giveUpRequest gives a request in flight up for lost. Its answer still counts, should it arrive.
func (r Rules) giveUpRequest(n *Case, now time.Time) {
	n.Dispatch.becomeUncertain(now)
	if !n.Job.SucceededSince.IsZero() {
		r.endSucceeded(n, n.announcedBy(), now)
	}
}

// dispatchOutcome takes in how an attempt went. The first step that applies decides:
//
//  1. The answer has a terminal report: it is taken in like any other, whichever attempt it
//     answers.
//  2. The run has ended: if the job began all the same, it is cancelled, see startedAfterEnd.
//  3. The pipeline accepted this attempt, or an earlier one that may have arrived: it has the job.
//  4. It is the outcome of another attempt than the one that is awaited: stale.
//  5. An event has reported success already: the answer that was awaited for its result has none,
//     and the run ends.
//  6. Nothing came of the attempt, see attemptFailed.
func (r Rules) dispatchOutcome(n *Case, in DispatchOutcome, now time.Time, jitter float64) Verdict {
	d := &n.Dispatch
	awaited := in.Nonce == d.Nonce && (d.Phase == PhaseInFlight || d.Phase == PhaseUncertain)
	if !n.State.Ended() && in.JobID != "" && (awaited || n.Job.ID == "") {
		n.Job.ID = in.JobID
	}
	if rep, ok := n.reportIn(in, awaited); ok {
		return r.takeReport(n, rep, now)
	}
	switch {
	case n.State.Ended():
		return r.startedAfterEnd(n, in, awaited, now)
	case in.Kind == DispatchAccepted && (awaited || d.Attempts > 0):
		return r.accepted(n, in, awaited, now)
	case !awaited:
		return Verdict{Kind: Stale}
	case !n.Job.SucceededSince.IsZero():
		r.endSucceeded(n, n.announcedBy(), now)
		return Verdict{Kind: Applied}
	default:
		return r.attemptFailed(n, in, now, jitter)
	}
}

// reportIn returns the terminal report in an answer. A busy answer has one only if its body says
// that the run failed, and the pipeline was seen to work on this run: then it began, and this is
// how it ended. After a succeeded event that is the end already.
func (c Case) reportIn(in DispatchOutcome, awaited bool) (terminalReport, bool) {
	rep := terminalReport{
		id: "dispatch:" + in.Nonce, status: StatusFailed,
		message: in.Message, result: in.Result, source: SourceDispatch,
	}
	switch in.Kind {
	case DispatchSucceeded, DispatchFailed, DispatchCancelled:
		rep.status = Status(in.Kind)
		return rep, true
	case DispatchBusy:
		announced := !c.State.Ended() && !c.Job.SucceededSince.IsZero()
		return rep, in.SaysFailed && awaited && c.seenAtWork() && !announced
	default:
		return rep, false
	}
}

// accepted takes in that the pipeline has the job.
func (r Rules) accepted(n *Case, in DispatchOutcome, awaited bool, now time.Time) Verdict {
	d, ch := &n.Dispatch, &n.Checks
	if n.Job.Seen && d.Phase == PhaseAnswered {
		return Verdict{Kind: Ignored}
	}
	if awaited || d.Phase != PhaseInFlight {
		d.Phase = PhaseAnswered
	}
	ch.UnknownSince, ch.ConsecutiveFailures, ch.FailingSince = time.Time{}, 0, time.Time{}
	d.Confirmed = true
	n.nowRunning(now)
	if in.Reading != nil {
		r.observe(n, *in.Reading, now)
	}
	if !n.Job.SucceededSince.IsZero() && d.Phase == PhaseAnswered {
		r.endSucceeded(n, n.announcedBy(), now)
	}
	return Verdict{Kind: Applied}
}

// attemptFailed takes in that the awaited attempt brought neither a report nor an acceptance. A run
// that the pipeline was seen to work on is never sent again, whatever the answer.
func (r Rules) attemptFailed(n *Case, in DispatchOutcome, now time.Time, jitter float64) Verdict {
	d := &n.Dispatch
	switch {
	case in.Kind == DispatchRefused:
		n.Outcome.Reported = d.Attempts == 1
		n.finish(ReasonPipelineRefused, in.Message, SourceDispatch, now)
	case in.Kind == DispatchUnreachable && d.Confirmed: // an earlier attempt was taken
		d.Phase = PhaseAnswered
	case in.Kind == DispatchUnreachable, in.Kind == DispatchBusy && !n.seenAtWork():
		r.requeue(n, in, now, jitter)
	case d.Phase == PhaseInFlight:
		d.UnreachableSince, d.Backoffs = time.Time{}, 0
		r.giveUpRequest(n, now)
	default: // it was given up already
		return Verdict{Kind: Ignored}
	}
	return Verdict{Kind: Applied}
}

// seenAtWork reports whether the pipeline was seen to work on this run since its request was sent,
// so that an answer that says otherwise does not send it again. A poll's reading shows that, unless
// some earlier run of the case may still be at work: the pipeline does not know runs.
func (c Case) seenAtWork() bool {
	return c.Dispatch.Confirmed || c.Job.Seen && (!c.PriorUnreported || c.Job.ID != "")
}

// nothingSent reports whether no request of the run can have arrived.
func (c Case) nothingSent() bool { return c.Dispatch.Phase == PhaseQueued && c.Dispatch.Attempts == 0 }

// requeue plans another attempt after one that started nothing. A pipeline that could not be
// reached for UnreachableAfter, and the deadline, end the run instead.
func (r Rules) requeue(n *Case, in DispatchOutcome, now time.Time, jitter float64) {
	d := &n.Dispatch
	if d.Attempts--; d.Attempts == 0 {
		n.forgetJob()
	}
	n.Checks.ConsecutiveFailures, n.Checks.FailingSince = 0, time.Time{}
	d.Failures++
	d.LastError = clip(messageOf(in))
	wait := schedule.Interval{Min: firstBackoff, Max: r.CheckMaxInterval}.Backoff(d.Backoffs, jitter)
	d.Backoffs++
	d.queueAgain(now.Add(max(wait, in.RetryAfter)))
	if in.Kind == DispatchBusy {
		d.UnreachableSince = time.Time{}
	} else {
		if d.UnreachableSince.IsZero() {
			d.UnreachableSince = now
		}
		giveUpAt := d.UnreachableSince.Add(r.UnreachableAfter)
		if !now.Before(giveUpAt) {
			n.finish(ReasonPipelineUnreachable, in.Message, SourceDispatch, now)
			return
		}
		d.At = earlier(d.At, giveUpAt)
	}
	if !now.Before(n.DeadlineAt) {
		r.endAtDeadline(n, SourceDeadline, now)
		return
	}
	d.At = earlier(d.At, n.DeadlineAt)
}

// queueAgain makes the dispatch pending under a new number.
func (d *Dispatch) queueAgain(at time.Time) {
	d.Phase, d.Nonce, d.SentAt, d.UncertainSince = PhaseQueued, "", time.Time{}, time.Time{}
	d.Seq++
	d.At = at
}

// forgetJob forgets what was seen of a job while nothing was started: it was of something else. It
// is the baseline of the next attempt.
func (c *Case) forgetJob() {
	if c.Job.Seen {
		c.Job.Baseline = c.Job.Reading
	}
	c.Job.Seen, c.Job.CompleteSince, c.Checks.UnknownSince = false, time.Time{}, time.Time{}
	c.Job.ResultMissingSince, c.Job.ResultProblem = time.Time{}, ""
}
