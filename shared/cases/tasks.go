package cases

import "time"

// Delivery says how a delivered task relates to the record.
type Delivery string

// The kinds of deliveries.
const (
	DeliveryCurrent Delivery = "current" // the record waits for it
	DeliveryOlder   Delivery = "older"   // one older than the record's: only make sure that the next task exists
	DeliveryStale   Delivery = "stale"   // older still: drop it
	DeliveryNewer   Delivery = "newer"   // the record that was read is older than the task: deliver it again
	DeliveryEnded   Delivery = "ended"   // the run has ended
)

// CheckDelivery says how the delivery of check seq relates to the record.
func (c Case) CheckDelivery(seq int64) Delivery { return c.delivery(seq, c.Checks.Seq) }

// DispatchDelivery says how the delivery of dispatch seq relates to the record.
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

// StopDelivery says how the delivery of the request seq that is to cancel the job relates to the
// record.
func (c Case) StopDelivery(seq int64) Delivery {
	switch {
	case seq > c.Stop.Seq:
		return DeliveryNewer
	case c.Stop.State != StopRequested:
		return DeliveryEnded
	case seq == c.Stop.Seq:
		return DeliveryCurrent
	case seq == c.Stop.Seq-1:
		return DeliveryOlder
	default:
		return DeliveryStale
	}
}

// DispatchMayPend reports whether the task of the last dispatch may be pending: no request was
// begun for it. An event may have said meanwhile that none is needed.
func (c Case) DispatchMayPend() bool { return c.Dispatch.Seq > 0 && c.Dispatch.Nonce == "" }

// Finding is what is left to be done for a record of which the sweep takes notice.
type Finding string

// The findings.
const (
	FindingNothing        Finding = ""
	FindingDeadline       Finding = "deadline"         // open, past its deadline
	FindingCheckLate      Finding = "check_late"       // open; its check is late, perhaps its dispatch too
	FindingDispatchLate   Finding = "dispatch_late"    // open; only its dispatch is late, which may wait in the queue
	FindingNotFinalized   Finding = "not_finalized"    // ended, and not finalized
	FindingPolledAfterEnd Finding = "polled_after_end" // a check had read the end, and polled all the same
	FindingExpired        Finding = "expired"          // past its retention
	FindingFormExpired    Finding = "form_expired"     // its form is past its retention
	FindingStopLate       Finding = "stop_late"        // the request that is to cancel its job is late
)

// Finding says what a record shows at now whose OverdueAt is before lateBefore: a task that was due
// before that is late. The first finding that applies counts; what is left after it is repaired,
// the next sweep finds.
func (r Rules) Finding(c Case, now, lateBefore time.Time) Finding {
	b := c.Bookkeeping
	switch {
	case !c.State.Ended() && !now.Before(c.DeadlineAt):
		return FindingDeadline
	case !c.State.Ended() && c.Checks.NextAt.Before(lateBefore):
		return FindingCheckLate
	case !c.State.Ended():
		return FindingDispatchLate
	case !b.Finalized:
		return FindingNotFinalized
	case b.PolledAfterEnd > 0:
		return FindingPolledAfterEnd
	case !r.ExpiresAt(c).After(lateBefore):
		return FindingExpired
	case b.FormKept && !r.FormExpiresAt(c).After(lateBefore):
		return FindingFormExpired
	case c.Stop.State == StopRequested && c.Stop.At.Before(lateBefore):
		return FindingStopLate
	default:
		return FindingNothing
	}
}

// overdueAt says when the sweep takes notice of the record. It is never later than the next thing
// that is to happen to it.
func (r Rules) overdueAt(n Case) time.Time {
	b := n.Bookkeeping
	switch {
	case !n.State.Ended() && n.Dispatch.Phase == PhaseQueued:
		return earlier(n.Checks.NextAt, n.Dispatch.At)
	case !n.State.Ended():
		return n.Checks.NextAt
	case !b.Finalized || b.PolledAfterEnd > 0:
		return n.Outcome.EndedAt
	}
	at := r.ExpiresAt(n)
	if b.FormKept {
		at = earlier(at, r.FormExpiresAt(n))
	}
	if n.Stop.State == StopRequested {
		at = earlier(at, n.Stop.At)
	}
	return at
}

// ExpiresAt is when the record of an ended run is no longer kept.
func (r Rules) ExpiresAt(c Case) time.Time { return c.Outcome.EndedAt.Add(r.Retention) }

// FormExpiresAt is when the form of an ended run that did not succeed is no longer kept.
func (r Rules) FormExpiresAt(c Case) time.Time { return c.Outcome.EndedAt.Add(r.FormRetention) }
