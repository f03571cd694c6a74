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

// List returns at most limit runs that the filter admits, newest first, that come after a place; the
// zero Place is the beginning. Pages may miss or repeat runs that change meanwhile. The error is
// Unavailable.
func (r *Reconciler) List(ctx context.Context, f Filter, after Place, limit int) ([]cases.Case, error) {
	page, err := r.store.List(ctx, f, after, limit)
	return page, storeProblem(err)
}

// CountByState returns the number of runs in every state. The error is Unavailable.
func (r *Reconciler) CountByState(ctx context.Context) (map[cases.State]int, error) {
	counts, err := r.store.CountByState(ctx)
	if err != nil {
		return nil, storeProblem(err)
	}
	all := map[cases.State]int{}
	for _, state := range cases.States() {
		all[state] = counts[state]
	}
	return all, nil
}

// maxOthers bounds the other runs of a case that Detail reads.
const maxOthers = 10

// RunDetail is a run with everything that is known of it.
type RunDetail struct {
	Case    cases.Case
	View    cases.View
	Current int        // the case's current run
	Why     *cases.Why // why the next check is when it is; nil once the run has ended
	// Others are the other runs of the case that are kept, newest first, at most 10. More says that
	// there may be older ones.
	Others []cases.Case
	More   bool
}

// Detail returns a run with everything that is known of it; run 0 means the current one. It never polls
// the pipeline.
//
// Errors: NotFound, Unavailable.
func (r *Reconciler) Detail(ctx context.Context, caseID string, run int) (RunDetail, error) {
	var d RunDetail
	err := r.retryConflicts(ctx, func(int) (err error) {
		d, err = r.detailOnce(ctx, caseID, run)
		return err
	})
	return d, storeProblem(err)
}

func (r *Reconciler) detailOnce(ctx context.Context, caseID string, run int) (RunDetail, error) {
	head, current, err := r.store.Current(ctx, caseID)
	if err != nil {
		return RunDetail{}, err
	}
	d := RunDetail{Case: current, Current: head.Run}
	if run != 0 && run != head.Run {
		if d.Case, err = r.store.Get(ctx, caseID, run); err != nil {
			return RunDetail{}, err
		}
		d.Others = append(d.Others, current)
	}
	for n := head.Run - 1; n >= 1; n-- {
		if n == d.Case.Run {
			continue
		}
		if len(d.Others) == maxOthers {
			d.More = true
			break
		}
		other, err := r.store.Get(ctx, caseID, n)
		if errors.Is(err, store.ErrNotFound) {
			break // the oldest runs are purged first
		}
		if err != nil {
			return RunDetail{}, err
		}
		d.Others = append(d.Others, other)
	}
	d.Why = r.Rules(d.Case).Why(d.Case)
	d.View, err = r.view(ctx, d.Case)
	if errors.Is(err, store.ErrNotFound) {
		return RunDetail{}, store.ErrConflict // purged since its record was read
	}
	return d, err
}
