package reconcile

import (
	"context"
	"errors"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/store"
)

// Cancel ends a run as cancelled; run 0 is the current one. It returns the run, also if it was cancelled before. The
// pipeline is not told: it has no way to be.
//
// Errors: NotFound if there is no such case; Conflict if the run ended otherwise or is not the current one, be there such a run or not; Unavailable if nothing was recorded.
func (w *Reconciler) Cancel(ctx context.Context, caseID string, run int) (cases.View, error) {
	head, c, err := w.store.Current(ctx, caseID)
	if err != nil {
		return cases.View{}, w.storeFault(err)
	}
	if run != 0 && run != head.Run {
		if c, err = w.store.Get(ctx, caseID, run); err != nil && !errors.Is(err, store.ErrNotFound) {
			return cases.View{}, w.storeFault(err)
		}
		if c.State != cases.Cancelled {
			return cases.View{}, fault.New(fault.Conflict, "run %d is not the current run, which is %d", run, head.Run)
		}
	}
	ctx = gcplog.WithTrace(ctx, c.TraceParent)
	ch, err := w.apply(ctx, c, cases.Cancel{})
	if err != nil {
		return cases.View{}, err
	}
	if ch.verdict.Kind == cases.Rejected {
		return cases.View{}, fault.New(fault.Conflict, "the run has ended: %s", ch.after.State)
	}
	if err := w.settle(ctx, ch, ""); err != nil {
		return cases.View{}, err
	}
	view, err := w.view(ctx, ch.after)
	return view, w.storeFault(err)
}
