package reconcile

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/queue"
)

// healAfter is how old an end that nobody has told must be before a delivery tells it: while it is younger, whoever made it is
// probably still at it.
const healAfter = 2 * time.Second

// Check handles the delivery of a check task: it polls once, and ends the run or schedules the next check.
//
// A nil error means that the delivery is done with, whatever it found; Unavailable that it is to be repeated.
func (w *Reconciler) Check(ctx context.Context, task queue.Body) error {
	began := w.Now()
	c, err := w.store.Get(ctx, task.CaseID, task.Run)
	if err != nil {
		return w.storeFault(err)
	}
	ctx = gcplog.WithTrace(ctx, c.TraceParent)
	switch c.CheckDelivery(task.Seq) {
	case cases.DeliveryNewer:
		return fault.New(fault.Unavailable, "the record is older than the task")
	case cases.DeliveryOlder:
		return w.arm(ctx, c, true, true)
	case cases.DeliveryStale:
		return nil
	case cases.DeliveryEnded:
		return w.heal(ctx, c)
	}
	found := cases.CheckOutcome{Kind: cases.CheckSkipped}
	if w.cfg.Rules.ShouldPoll(c, w.Now()) {
		found = w.pipeline.Poll(ctx, c.CaseID, c.Run, c.TraceParent)
	}
	found.Seq, found.BeganAt, found.ReadVersion = task.Seq, began, c.Version
	ch, err := w.apply(ctx, c, found)
	if err != nil {
		return err
	}
	w.logCheck(ctx, ch, found)
	if ch.verdict.Kind == cases.Stale && ch.after.CheckDelivery(task.Seq) == cases.DeliveryOlder {
		return w.arm(ctx, ch.after, true, true) // another delivery of this task saved first, and may have died since
	}
	return w.settle(ctx, ch, queue.Check)
}

func (w *Reconciler) logCheck(ctx context.Context, ch change, found cases.CheckOutcome) {
	c := ch.after
	more := []any{slog.Int64("seq", found.Seq), slog.String("found", string(found.Kind)), slog.String("verdict", string(ch.verdict.Kind)),
		slog.Int("completed", c.Job.Progress.Completed), slog.Int("total", c.Job.Progress.Total), slog.Bool("moved", ch.moved())}
	if !c.State.Ended() {
		more = append(more, slog.Float64("next_seconds", float64(c.Checks.NextAt.Sub(w.Now()).Milliseconds())/1000))
	}
	if found.Kind == cases.CheckFailed {
		w.log.WarnContext(ctx, "poll failed", attrs(c, append(more, slog.String("cause", cmp.Or(found.Cause, found.Message)))...)...)
	} else {
		w.log.InfoContext(ctx, "progress checked", attrs(c, append(more, cause(found.Cause)...)...)...)
	}
	if c.Job.Stalled && !ch.before.Job.Stalled {
		w.log.WarnContext(ctx, "progress stalled", attrs(c, slog.Time("since", c.Job.MovedAt))...)
	}
}

// cause is the attribute that says what went wrong, if anything did.
func cause(text string) []any {
	if text == "" {
		return nil
	}
	return []any{slog.String("cause", text)}
}

// heal tells an end that was recorded and never told. If the end is young it first gives whoever made it the time to tell it.
func (w *Reconciler) heal(ctx context.Context, c cases.Case) error {
	waiting, cancel := context.WithTimeout(ctx, healAfter-w.Now().Sub(c.Outcome.EndedAt))
	defer cancel()
	for !c.Bookkeeping.Finalized && waiting.Err() == nil {
		if err := w.store.Wait(waiting, c.CaseID, c.Run, c.Version); err != nil {
			if ctx.Err() != nil || waiting.Err() == nil {
				return w.storeFault(err)
			}
			break // it was time enough
		}
		var err error
		if c, err = w.store.Get(ctx, c.CaseID, c.Run); err != nil {
			return w.storeFault(err)
		}
	}
	if c.Bookkeeping.Finalized {
		return nil
	}
	if err := w.tellEnd(ctx, c, ""); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the end is recorded but not told; try again")
	}
	return nil
}
