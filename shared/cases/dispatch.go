package cases

import (
	"time"

	"github.com/casewatch/casewatch/shared/schedule"
)

func (r Rules) dispatchBegun(n *Case, in DispatchBegun, now time.Time) Verdict {
	d := &n.Dispatch
	switch {
	case n.State.Ended() || in.Seq != d.Seq:
		return Verdict{Kind: Stale}
	case d.Phase == PhaseInFlight && d.Nonce == in.Nonce:
		return Verdict{Kind: Duplicate} // the save of this mark took effect though it seemed to fail
	case d.Phase == PhaseInFlight && in.RetryCount > d.RetryCount:
		// Cloud Tasks delivers again with a higher count when it has given the attempt before up for lost.
		r.makeUncertain(n, now)
		return Verdict{Kind: Applied}
	case d.Phase != PhaseQueued:
		return Verdict{Kind: Stale}
	case !now.Before(n.DeadlineAt):
		r.endAtDeadline(n, SourceDeadline, now)
		return Verdict{Kind: Applied}
	}
	d.Phase, d.Nonce, d.RetryCount, d.SentAt, d.UncertainSince = PhaseInFlight, in.Nonce, in.RetryCount, now, time.Time{}
	d.Attempts++
	d.Begun++
	n.Job.MovedAt, n.Job.CompleteSince = now, time.Time{} // while it is open its answer, not a count, is the end
	return Verdict{Kind: Applied}
}

// closeUncertain gives an open dispatch up for lost. Its answer still counts, should it come.
func (r Rules) makeUncertain(n *Case, now time.Time) {
	n.Dispatch.Phase, n.Dispatch.UncertainSince = PhaseUncertain, now
	if !n.Job.SucceededSince.IsZero() {
		r.endSucceeded(n, SourceEvent, now)
	}
}

func (r Rules) dispatchOutcome(n *Case, in DispatchOutcome, now time.Time, jitter float64) Verdict {
	id := "dispatch:" + in.Nonce
	d, ch := &n.Dispatch, &n.Checks
	mine := in.Nonce == d.Nonce && (d.Phase == PhaseInFlight || d.Phase == PhaseUncertain)
	if in.Kind == DispatchBusy && in.SaysFailed && mine && n.seenAtWork() && (n.State.Ended() || n.Job.SucceededSince.IsZero()) {
		in.Kind = DispatchFailed // it began, so this is how it ended
	}
	switch in.Kind {
	case DispatchSucceeded, DispatchFailed:
		return r.takeReport(n, report{id: id, succeeded: in.Kind == DispatchSucceeded, message: in.Message, result: in.Result, source: SourceDispatch}, now)
	}
	switch {
	case n.State.Ended():
		return Verdict{Kind: Ignored}
	case in.Kind == DispatchAccepted && (mine || d.Attempts > 0):
		if n.Job.Seen && d.Phase == PhaseAnswered {
			return Verdict{Kind: Ignored}
		}
		if mine || d.Phase != PhaseInFlight {
			d.Phase = PhaseAnswered
		}
		ch.UnknownSince, ch.ConsecutiveFailures, ch.FailingSince = time.Time{}, 0, time.Time{} // it was reached, and knows it
		d.Confirmed = true
		n.nowRunning(now)
		if !n.Job.SucceededSince.IsZero() && d.Phase == PhaseAnswered {
			r.endSucceeded(n, SourceEvent, now)
		}
	case !mine:
		return Verdict{Kind: Stale}
	case !n.Job.SucceededSince.IsZero():
		r.endSucceeded(n, SourceEvent, now) // the answer that was waited for has no result
	case in.Kind == DispatchRefused:
		n.Outcome.Reported = d.Attempts == 1
		n.finish(Failed, ReasonPipelineRefused, in.Message, SourceDispatch, now)
	case in.Kind == DispatchUnreachable && d.Confirmed:
		d.Phase = PhaseAnswered
	case in.Kind == DispatchUnreachable, in.Kind == DispatchBusy && !n.seenAtWork():
		r.requeue(n, in, now, jitter)
	case d.Phase != PhaseInFlight:
		return Verdict{Kind: Ignored} // uncertain already
	default:
		d.UnreachableSince, d.Backoffs = time.Time{}, 0
		r.makeUncertain(n, now)
	}
	return Verdict{Kind: Applied}
}

// seenAtWork reports whether the pipeline was seen to work on this run since its request was sent, so that an answer that says
// otherwise does not send it again. A poll's reading shows that, unless some earlier run of the case may still be at work: the
// pipeline does not know runs.
func (c Case) seenAtWork() bool { return c.Dispatch.Confirmed || c.Job.Seen && !c.PriorUnreported }

// requeue schedules another dispatch after one that started nothing.
func (r Rules) requeue(n *Case, in DispatchOutcome, now time.Time, jitter float64) {
	d, ch := &n.Dispatch, &n.Checks
	if d.Attempts--; d.Attempts == 0 { // whatever was seen was of something else
		if n.Job.Seen {
			n.Job.Baseline = n.Job.Reading
		}
		n.Job.Seen, n.Job.CompleteSince, ch.UnknownSince = false, time.Time{}, time.Time{}
	}
	ch.ConsecutiveFailures, ch.FailingSince = 0, time.Time{}
	d.Failures++
	d.LastError = clip(messageOf(in))
	d.Phase, d.Nonce, d.SentAt, d.UncertainSince = PhaseQueued, "", time.Time{}, time.Time{}
	d.Seq++
	if in.Kind == DispatchBusy {
		d.UnreachableSince = time.Time{}
	} else if d.UnreachableSince.IsZero() {
		d.UnreachableSince = now
	}
	delay := schedule.Interval{Min: time.Second, Max: r.CheckMaxInterval}.Backoff(d.Backoffs, jitter)
	d.Backoffs++
	d.At = now.Add(max(delay, in.RetryAfter))
	if in.Kind == DispatchUnreachable {
		end := d.UnreachableSince.Add(r.UnreachableAfter)
		if !now.Before(end) {
			n.finish(Failed, ReasonPipelineUnreachable, in.Message, SourceDispatch, now)
			return
		}
		d.At = earlier(d.At, end)
	}
	if !now.Before(n.DeadlineAt) {
		r.endAtDeadline(n, SourceDeadline, now)
		return
	}
	d.At = earlier(d.At, n.DeadlineAt)
}

// nothingSent reports whether no request of the run can have arrived.
func (c Case) nothingSent() bool { return c.Dispatch.Phase == PhaseQueued && c.Dispatch.Attempts == 0 }
