package reconcile

import (
	"context"
	"errors"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// Filter says which runs List returns.
type Filter = store.Filter

// Place is a place in the order of List, newest first.
type Place = store.Place

// PlaceOf returns the place of a run in the order of List.
func PlaceOf(c cases.Case) Place { return store.PlaceOf(c) }

// List returns at most limit runs that the filter admits, newest first, beginning after a place; the zero Place is the beginning. Pages may
// miss or repeat runs that change meanwhile. The error is Unavailable.
func (w *Reconciler) List(ctx context.Context, f Filter, after Place, limit int) ([]cases.Case, error) {
	page, err := w.store.List(ctx, f, after, limit)
	return page, w.storeFault(err)
}

// CountByState returns the number of runs in each state, of every state. The error is Unavailable.
func (w *Reconciler) CountByState(ctx context.Context) (map[cases.State]int, error) {
	counts, err := w.store.CountByState(ctx)
	if err != nil {
		return nil, w.storeFault(err)
	}
	all := map[cases.State]int{}
	for _, state := range cases.States() {
		all[state] = counts[state]
	}
	return all, nil
}

// maxOthers bounds the other runs of a case that Detail reads.
const maxOthers = 10

// RunDetail is a run with all that is known of it.
type RunDetail struct {
	Case    cases.Case
	View    cases.View
	Current int        // the case's current run
	Why     *cases.Why // the next check is when it is; nil once the run has ended
	// Others are the other runs of the case that are kept, newest first, at most 10; More says that there may be older ones.
	Others []cases.Case
	More   bool
}

// Detail returns a run with all that is known of it; run 0 is the current one. It never asks the pipeline.
//
// Errors: NotFound, Unavailable.
func (w *Reconciler) Detail(ctx context.Context, caseID string, run int) (RunDetail, error) {
	var d RunDetail
	err := w.retryConflicts(ctx, func(int) (err error) {
		d, err = w.detail(ctx, caseID, run)
		return err
	})
	return d, w.storeFault(err)
}

func (w *Reconciler) detail(ctx context.Context, caseID string, run int) (RunDetail, error) {
	head, c, err := w.store.Current(ctx, caseID)
	if err != nil {
		return RunDetail{}, err
	}
	d := RunDetail{Case: c, Current: head.Run}
	if run != 0 && run != head.Run {
		if d.Case, err = w.store.Get(ctx, caseID, run); err != nil {
			return RunDetail{}, err
		}
		d.Others = append(d.Others, c)
	}
	for n := head.Run - 1; n >= 1; n-- {
		if n == d.Case.Run {
			continue
		}
		if len(d.Others) == maxOthers {
			d.More = true
			break
		}
		c, err := w.store.Get(ctx, caseID, n)
		if errors.Is(err, store.ErrNotFound) {
			break // runs are purged from the first on
		}
		if err != nil {
			return RunDetail{}, err
		}
		d.Others = append(d.Others, c)
	}
	d.Why = w.cfg.Rules.Why(d.Case)
	d.View, err = w.view(ctx, d.Case)
	if errors.Is(err, store.ErrNotFound) {
		return RunDetail{}, store.ErrConflict // purged since its record was read
	}
	return d, err
}
