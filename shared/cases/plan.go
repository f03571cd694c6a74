package cases

import (
	"time"

	"github.com/casewatch/casewatch/shared/schedule"
)

// Awaited is what the checks of an open run wait for.
type Awaited string

const (
	awaitsEnd      Awaited = "end"      // of the work
	awaitsResult   Awaited = "result"   // of work that is complete by its counts: the completion grace ends it
	awaitsReport   Awaited = "report"   // of work that is complete by its counts, and that the pipeline says is running
	awaitsDispatch Awaited = "dispatch" // nothing was sent yet
	awaitsPipeline Awaited = "pipeline" // the polls fail
	awaitsTime     Awaited = "busy"     // the pipeline asked not to be polled before that time
	awaitsSign     Awaited = "sign"     // of a job that the pipeline does not know
	awaitsProgress Awaited = "progress" // somebody follows the run
)

// awaits says what the next check waits for. The first case that applies decides.
func (c Case) awaits() Awaited {
	switch {
	case c.isHeldBack():
		return awaitsTime
	case c.workIsDone():
		return awaitsResult
	case c.nothingSent():
		return awaitsDispatch
	case c.Checks.ConsecutiveFailures > 0:
		return awaitsPipeline
	case !c.Checks.UnknownSince.IsZero():
		return awaitsSign
	case c.Job.Reading != nil && c.Job.Reading.Status == StatusRunning && c.Job.Reading.complete():
		return awaitsReport
	default:
		return awaitsEnd
	}
}

// isHeldBack reports whether the pipeline asked, by the last poll's answer, not to be polled for
// some time.
func (c Case) isHeldBack() bool { return c.Checks.BusyUntil.After(c.Checks.LastAt) }

// interval is between which times checks follow each other.
func (r Rules) interval() schedule.Interval {
	return schedule.Interval{Min: r.CheckMinInterval, Max: r.CheckMaxInterval}
}

// nextCheck returns when the next check of an open run is due: between CheckMinInterval and
// CheckMaxInterval after the last one. There are three exceptions: the time that a busy pipeline
// named, the end of a grace, and the deadline, which no check is due after.
//
// The next check is counted from LastAt, not from now. No check is delivered before it was due, so
// a clock that says otherwise is behind. Counted from such a clock, each check would be due
// immediately.
func (r Rules) nextCheck(n Case, now time.Time, jitter float64) time.Time {
	last := n.Checks.LastAt
	switch n.awaits() {
	case awaitsTime:
		return r.checkWhenBusy(n)
	case awaitsResult:
		over := n.Job.CompleteSince.Add(r.CompletionGrace)
		if n.Job.ResultMissingSince.IsZero() && over.After(last) {
			return earlier(over, n.DeadlineAt)
		}
	}
	in := r.interval()
	at := in.Align(last, last.Add(in.Clamp(r.wait(n, now, jitter))))
	if n.Viewers.Lease.Until.After(last) && n.canExpedite() {
		at = last.Add(in.Min)
	}
	if by := r.graceOver(n); by.After(last) {
		at = earlier(at, by)
	}
	return earlier(at, n.DeadlineAt)
}

// checkWhenBusy is when a pipeline is polled again that asked not to be polled for some time. The
// check at the end of a grace does not poll, so it does not wait for that.
func (r Rules) checkWhenBusy(n Case) time.Time {
	soonest := n.Checks.LastAt.Add(r.CheckMinInterval)
	at := earlier(later(n.Checks.BusyUntil, soonest), n.DeadlineAt)
	for _, since := range []time.Time{n.Job.CompleteSince, n.Job.ResultMissingSince, n.Job.SucceededSince} {
		if !since.IsZero() {
			at = earlier(at, later(since.Add(r.CompletionGrace), soonest))
		}
	}
	return at
}

// wait is how long to wait with the next check, before the bounds.
func (r Rules) wait(n Case, now time.Time, jitter float64) time.Duration {
	switch n.awaits() {
	case awaitsResult:
		return now.Sub(later(n.Job.CompleteSince, n.Job.ResultMissingSince))
	case awaitsReport: // as long as progress has not moved
		return now.Sub(n.Job.MovedAt)
	case awaitsDispatch:
		return now.Sub(n.CreatedAt)
	case awaitsPipeline:
		return r.interval().Backoff(n.Checks.ConsecutiveFailures-1, jitter)
	case awaitsSign:
		return now.Sub(n.Checks.UnknownSince) / 2
	default:
		return r.forecast(n, now).Wait(r.interval(), jitter)
	}
}

// graceOver returns the earliest time at which the end of a grace makes a check end the run. Without
// such a grace it is the deadline.
func (r Rules) graceOver(n Case) time.Time {
	ch, d := n.Checks, n.Dispatch
	over := n.DeadlineAt
	switch n.awaits() {
	case awaitsPipeline:
		if d.Phase != PhaseInFlight {
			over = earlier(over, later(ch.FailingSince, d.UncertainSince).Add(r.UnreachableAfter))
		}
	case awaitsSign:
		if d.Phase == PhaseUncertain && !n.Job.Seen {
			over = earlier(over, later(ch.UnknownSince, d.UncertainSince).Add(r.StartGrace))
		}
	}
	if r.jobUnnamed(n) && d.Phase == PhaseUncertain && !n.Job.Seen {
		over = earlier(over, d.UncertainSince.Add(r.StartGrace))
	}
	for _, since := range []time.Time{n.Job.ResultMissingSince, n.Job.SucceededSince} {
		if !since.IsZero() {
			over = earlier(over, since.Add(r.CompletionGrace))
		}
	}
	return over
}

// forecast is what is known at now of when an open run ends.
func (r Rules) forecast(c Case, now time.Time) schedule.Forecast {
	began := c.CreatedAt
	if s := later(c.Job.StartedAt, c.Dispatch.SentAt); !s.IsZero() {
		began = s
	}
	run := schedule.Run{
		BeganAt: began, DeadlineAt: c.DeadlineAt, Earlier: c.Durations.Earlier, Halfway: c.Durations.Estimate,
	}
	run.Estimate, _ = c.estimate(now)
	return schedule.NewForecast(run, now, r.interval())
}

// estimate is when the run ends if it goes on as it has gone. False if nothing tells.
func (c Case) estimate(now time.Time) (schedule.Estimate, bool) {
	p := c.Job.Progress
	completed, total := p.parts()
	return schedule.EstimateEnd(c.Job.StartedAt, now, completed, total, p.Percent)
}

// parts are the parts of the work that are done, and all of them. Where only a percentage is given
// there are a hundred.
func (p Progress) parts() (completed, total int) {
	if p.Total <= 0 && p.Percent > 0 {
		return int(p.Percent), 100
	}
	return p.Completed, p.Total
}

// noteForForecast keeps what a reading tells of when the run ends.
func (c *Case) noteForForecast(in CheckOutcome, now time.Time) {
	p := c.Job.Progress
	if !in.Reading.Status.Terminal() && !in.Reading.complete() {
		c.Durations.UndoneAt = in.BeganAt
	}
	if c.Durations.Earlier != nil && p.Total > 0 {
		c.Durations.Earlier = c.Durations.Earlier.ForDocuments(p.Total)
	}
	// The estimate at half of the run is kept, or the first one after it.
	e, ok := c.estimate(now)
	completed, total := p.parts()
	if ok && completed < total && (!c.Durations.Estimate.Known() || 2*completed <= total) {
		c.Durations.Estimate = e
	}
}

// DurationSample returns what an ended run tells of how long runs take. False if it tells nothing,
// since it did not end by itself, or if by chance, decided by jitter, it is not to be learned from:
// the more runs were known when it began, the fewer are.
func (c Case) DurationSample(jitter float64) (schedule.Sample, bool) {
	if c.Adopted || c.Job.StartedAt.IsZero() || !c.endedByItself() || !c.Durations.Earlier.Wants(jitter) {
		return schedule.Sample{}, false
	}
	sample := schedule.Sample{
		Documents: c.Job.Progress.Total, StartedAt: c.Job.StartedAt,
		First: c.Outcome.EndedAt, Last: c.Outcome.EndedAt, Estimate: c.Durations.Estimate,
	}
	switch c.Outcome.End.Source {
	case SourceCheck, SourceDeadline, SourceSweep:
		switch {
		case !c.Job.CompleteSince.IsZero():
			sample.Last = c.Job.CompleteSince
		case c.Job.Reading != nil && c.Job.Reading.complete():
			sample.Last = c.Job.MovedAt // an estimate says when all is counted, not when the result follows
		}
		sample.First = earlier(later(c.Job.StartedAt, c.Durations.UndoneAt), sample.Last)
		sample.FoundByPoll = true
	}
	return sample, true
}

// endedByItself reports whether the pipeline's work is done, whatever came of it.
func (c Case) endedByItself() bool {
	if c.State != Failed {
		return c.State == Succeeded
	}
	return c.Outcome.End.Reason == ReasonPipelineFailed || c.Outcome.End.Reason == ReasonNoDocuments
}

// Why says why the next check of an open run is when it is, as it was decided at the last change.
// It is for people.
type Why struct {
	Awaits Awaited `json:"awaits"`
	// Runs is how many earlier runs the forecast goes by: those with about as many documents, or
	// all while few of these are known. Longer is how many of them took longer than this one had,
	// counted from when the pipeline began to work on it. Runs of long ago weigh less and less.
	Runs   int `json:"runs"`
	Longer int `json:"longer"`
	// EndAt is when the run ends if it goes on as its progress shows, give or take GiveOrTake
	// seconds; nil while progress tells nothing.
	EndAt      *time.Time `json:"end_at"`
	GiveOrTake float64    `json:"give_or_take_seconds"`
}

// Why returns nil for a run that has ended.
func (r Rules) Why(c Case) *Why {
	if c.State.Ended() {
		return nil
	}
	w := Why{Awaits: c.awaits()}
	if c.canExpedite() && !c.Checks.NextAt.After(c.Viewers.Lease.Until) {
		w.Awaits = awaitsProgress
	}
	if w.Awaits != awaitsEnd {
		return &w
	}
	f := r.forecast(c, c.UpdatedAt)
	w.Runs, w.Longer = f.Runs(), f.Longer()
	if e, ok := c.estimate(c.UpdatedAt); ok {
		w.EndAt, w.GiveOrTake = &e.EndAt, f.Deviation().Round(100*time.Millisecond).Seconds()
	}
	return &w
}
