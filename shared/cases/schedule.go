package cases

import "time"

// nextLook says when an open run is looked at next. Never past the deadline, and but for that, the ends of graces and the time that a busy pipeline
// named never sooner than CheckMinInterval nor later than CheckMaxInterval.
//
// What decides is [Case.awaits]: the end of the work, as a rule, and then the wait is [outlook.wait]. While the pipeline cannot be asked, it backs
// off, with jitter. Graces are looked at when they end. When all is counted and the pipeline says that it runs, the wait is as long
// as progress has not moved. While somebody watches, looks follow each other at the least interval, see [Watched].
//
// A check comes no earlier than it was due, so a clock that says otherwise is behind: it is counted from when the check was due (LastAt), or each
// look would be due at once as long as that clock is.
func (r Rules) nextCheck(n Case, now time.Time, jitter float64) time.Time {
	ch, d := n.Checks, n.Dispatch
	from := ch.LastAt
	var wait time.Duration
	limit := n.DeadlineAt
	switch n.awaits() {
	case awaitsTime:
		at := earlier(later(ch.BusyUntil, from.Add(r.CheckMinInterval)), limit)
		for _, since := range []time.Time{n.Job.CompleteSince, n.Job.SucceededSince} { // a check at the end of a grace polls nothing
			if !since.IsZero() {
				at = earlier(at, later(since.Add(r.CompletionGrace), from.Add(r.CheckMinInterval)))
			}
		}
		return at
	case awaitsResult:
		over := n.Job.CompleteSince.Add(r.CompletionGrace)
		if over.After(from) {
			return earlier(over, limit)
		}
		wait = now.Sub(n.Job.CompleteSince)
	case awaitsReport:
		wait = now.Sub(n.Job.MovedAt)
	case awaitsDispatch:
		wait = now.Sub(n.CreatedAt)
	case awaitsPipeline:
		wait = backoff(r.CheckMinInterval, r.CheckMaxInterval, ch.ConsecutiveFailures-1, jitter)
		if d.Phase != PhaseInFlight {
			limit = earlier(limit, later(ch.FailingSince, d.UncertainSince).Add(r.UnreachableAfter))
		}
	case awaitsSign:
		wait = now.Sub(ch.UnknownSince) / 2
		if since := later(ch.UnknownSince, d.UncertainSince); d.Phase == PhaseUncertain && !n.Job.Seen {
			limit = earlier(limit, since.Add(r.StartGrace))
		}
	case awaitsEnd:
		wait = r.forecast(n, now).wait(r.CheckMinInterval, r.CheckMaxInterval, jitter)
	}
	if !n.Job.SucceededSince.IsZero() {
		limit = earlier(limit, n.Job.SucceededSince.Add(r.CompletionGrace))
	}
	var at time.Time
	if n.Viewers.Lease.Until.After(from) && n.canExpedite() {
		at = from.Add(r.CheckMinInterval)
	} else {
		at = r.onGrid(from, from.Add(min(max(wait, r.CheckMinInterval), r.CheckMaxInterval)))
	}
	if limit.After(from) {
		at = earlier(at, limit)
	}
	return earlier(at, n.DeadlineAt)
}

// onGrid moves a look to the nearest multiple of an eighth of the least interval, the same for all runs, if that leaves at least CheckMinInterval and
// at most CheckMaxInterval after from. Looks that come together share what a commit of the store, a batch of tasks or a busy instance costs.
func (r Rules) onGrid(from, at time.Time) time.Time {
	grid := r.CheckMinInterval / 8
	least, most := from.Add(r.CheckMinInterval), from.Add(max(r.CheckMinInterval, r.CheckMaxInterval))
	at = at.Round(grid)
	if at.Before(least) {
		at = least.Add(grid - 1).Truncate(grid)
	}
	return earlier(at, most)
}

// Awaited is what the looks at an open run wait for.
type Awaited string

const (
	awaitsEnd      Awaited = "end"      // of the work
	awaitsResult   Awaited = "result"   // of work that is done, by its counts: it ends with the completion grace
	awaitsReport   Awaited = "report"   // of work that is done by its counts, and that the pipeline says is running
	awaitsDispatch Awaited = "dispatch" // nothing was sent yet
	awaitsPipeline Awaited = "pipeline" // which cannot be asked
	awaitsTime     Awaited = "busy"     // that the pipeline named: it asked not to be polled before
	awaitsSign     Awaited = "sign"     // of a job that the pipeline does not know
	awaitsProgress Awaited = "progress" // for somebody who watches
)

func (c Case) awaits() Awaited {
	switch {
	case c.isHeldBack():
		return awaitsTime
	case !c.Job.CompleteSince.IsZero():
		return awaitsResult
	case c.Dispatch.Phase == PhaseQueued && c.Dispatch.Attempts == 0:
		return awaitsDispatch
	case c.Checks.ConsecutiveFailures > 0:
		return awaitsPipeline
	case !c.Checks.UnknownSince.IsZero():
		return awaitsSign
	case c.Job.Reading != nil && c.Job.Reading.Status == StatusRunning && c.Job.Reading.counted():
		return awaitsReport
	default:
		return awaitsEnd
	}
}

// Remaining estimates how long the run will still take if it goes on as it has gone: from the share that is done and the time
// that took, now included, so that the estimate grows while nothing moves. False if there is nothing to judge by, nothing
// has moved for long, or the pipeline does not know the job now.
func (c Case) Remaining(now time.Time) (time.Duration, bool) {
	p := c.Job.Progress
	if c.State.Ended() || c.Job.Stalled || p.Total <= 0 || c.Job.StartedAt.IsZero() || !c.Checks.UnknownSince.IsZero() {
		return 0, false
	}
	done := max(float64(p.Completed)/float64(p.Total), p.Percent/100)
	elapsed := now.Sub(c.Job.StartedAt)
	if done <= 0 || elapsed <= 0 {
		return 0, false
	}
	// Bounded by the deadline, which also keeps tiny shares from overflowing.
	return min(time.Duration(min(float64(elapsed)*(1-min(done, 1))/done, float64(365*24*time.Hour))), max(0, c.DeadlineAt.Sub(now))), true
}

// isHeldBack reports whether the pipeline asked, by the last poll's answer, not to be polled for some time.
func (c Case) isHeldBack() bool { return c.Checks.BusyUntil.After(c.Checks.LastAt) }

// wakeAt says when somebody has to look at the record at the latest.
func (r Rules) overdueAt(n Case) time.Time {
	switch {
	case !n.State.Ended() && n.Dispatch.Phase == PhaseQueued:
		return earlier(n.Checks.NextAt, n.Dispatch.At)
	case !n.State.Ended():
		return n.Checks.NextAt
	case !n.Bookkeeping.Finalized:
		return n.Outcome.EndedAt
	case n.Bookkeeping.PolledAfterEnd > 0:
		return n.Outcome.EndedAt
	case n.Bookkeeping.FormKept:
		return earlier(r.FormExpiresAt(n), r.ExpiresAt(n))
	default:
		return r.ExpiresAt(n)
	}
}

// ExpiresAt is when the record of an ended run is no longer kept.
func (r Rules) ExpiresAt(c Case) time.Time { return c.Outcome.EndedAt.Add(r.Retention) }

// FormExpiresAt is when the form of an ended run that did not succeed is no longer kept.
func (r Rules) FormExpiresAt(c Case) time.Time { return c.Outcome.EndedAt.Add(r.FormRetention) }

// backoff doubles from least with each attempt before, to at most most; jitter takes up to half of it away, but not below least.
func backoff(least, most time.Duration, before int, jitter float64) time.Duration {
	d := least
	for range min(before, 62) {
		if d >= most/2 {
			d = most
			break
		}
		d *= 2
	}
	d = min(d, most)
	return max(min(least, most), d-time.Duration(float64(d)*jitter/2))
}

// Delivery is where a delivered task stands towards the record.
type Delivery string

// The kinds of deliveries.
const (
	DeliveryCurrent Delivery = "current" // the record waits for it
	DeliveryOlder   Delivery = "behind"  // one behind: only make sure that the next task exists
	DeliveryStale   Delivery = "stale"   // further behind: drop it
	DeliveryNewer   Delivery = "ahead"   // the record that was read is older than the task: come again
	DeliveryEnded   Delivery = "ended"   // the run has ended
)

// CheckDelivery says where the delivery of check seq stands.
func (c Case) CheckDelivery(seq int64) Delivery { return c.delivery(seq, c.Checks.Seq) }

// DispatchPends reports whether the task of the last dispatch may be pending: no request was begun for it. An event may have
// said meanwhile that none is needed.
func (c Case) DispatchMayPend() bool { return c.Dispatch.Seq > 0 && c.Dispatch.Nonce == "" }

// DispatchDelivery says where the delivery of dispatch seq stands.
func (c Case) DispatchDelivery(seq int64) Delivery { return c.delivery(seq, c.Dispatch.Seq) }

func (c Case) delivery(seq, pending int64) Delivery {
	switch {
	case c.State.Ended():
		return DeliveryEnded
	case seq == pending:
		return DeliveryCurrent
	case seq > pending:
		return DeliveryNewer
	case seq == pending-1:
		return DeliveryOlder
	default:
		return DeliveryStale
	}
}
