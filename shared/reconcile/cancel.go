package reconcile

import (
	"context"
	"errors"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/store"
)

// Cancel ends a run as cancelled; run 0 means the current one. It returns the run, also if it was
// cancelled before. [Reconciler.Stop] then tells the pipeline, if that can be told.
//
// Errors: NotFound if there is no such case. Conflict if the run has ended otherwise, or is not the
// current one, whether it exists or not. Unavailable if nothing was recorded.
func (r *Reconciler) Cancel(ctx context.Context, caseID string, run int) (cases.View, error) {
	c, err := r.toCancel(ctx, caseID, run)
	if err != nil {
		return cases.View{}, storeProblem(err)
	}
	ctx = gcplog.WithTrace(ctx, c.TraceParent)
	ch, err := r.apply(ctx, c, cases.Cancel{})
	if err != nil {
		return cases.View{}, err
	}
	if ch.verdict.Kind == cases.Rejected {
		return cases.View{}, fault.New(fault.Conflict, "the run has ended: %s", ch.after.State)
	}
	if err := r.reconcile(ctx, ch, ""); err != nil {
		return cases.View{}, err
	}
	view, err := r.view(ctx, ch.after)
	return view, storeProblem(err)
}

// toCancel returns the run that a cancel means: the current one, or another that is cancelled already.
func (r *Reconciler) toCancel(ctx context.Context, caseID string, run int) (cases.Case, error) {
	head, c, err := r.store.Current(ctx, caseID)
	if err != nil || run == 0 || run == head.Run {
		return c, err
	}
	c, err = r.store.Get(ctx, caseID, run)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return c, err
	}
	if c.State != cases.Cancelled {
		return c, fault.New(fault.Conflict, "run %d is not the current run, which is %d", run, head.Run)
	}
	return c, nil
}
