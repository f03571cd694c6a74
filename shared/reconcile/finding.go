package reconcile

import (
	"context"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// overdueBefore is what a wake-up has to be before to be overdue now: later than the longest poll, and than a task may be.
func (w *Reconciler) overdueBefore() time.Time { return w.Now().Add(-w.cfg.CheckTimeout - sweepSlack) }

// find says what a record shows whose OverdueAt is before that time.
func (w *Reconciler) find(c cases.Case, before time.Time) cases.Finding {
	return w.cfg.Rules.Finding(c, w.Now(), before)
}

// unscheduled reports whether an open run has no next wake-up: a broken promise.
func unscheduled(c cases.Case) bool { return c.Checks.NextAt.IsZero() }

// endedByCheck reports whether a check made the end. Its own task pends until its delivery is answered, which takes long if saving does: it began
// before anybody could know the end.
func endedByCheck(c cases.Case) bool {
	return c.Outcome.End.Source == cases.SourceCheck || c.Outcome.End.Source == cases.SourceDeadline
}

// lost asks which of the tasks that an open run waits for, and that are late, the queue no longer has.
func (w *Reconciler) lost(ctx context.Context, c cases.Case, before time.Time) (cases.Tick, error) {
	var tick cases.Tick
	if c.Checks.NextAt.Before(before) {
		exists, err := w.queue.Exists(ctx, checkTask(c))
		if err != nil {
			return tick, err
		}
		tick.CheckLost = !exists
	}
	if c.Dispatch.Phase == cases.PhaseQueued && c.Dispatch.At.Before(before) {
		exists, err := w.queue.Exists(ctx, dispatchTask(c))
		if err != nil {
			return tick, err
		}
		tick.DispatchLost = !exists
	}
	return tick, nil
}
