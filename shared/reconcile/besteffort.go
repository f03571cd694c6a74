package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/overload"
	"github.com/casewatch/casewatch/shared/store"
)

const (
	// maxBestEffort is how many best-effort calls of an instance may be made at the same time. The
	// driver of PostgreSQL has 4 connections, and one of them may listen: so one is left for the calls
	// that carry a run forward.
	maxBestEffort = 2
	// bestEffortPause is how long no best-effort call is made after one failed.
	bestEffortPause = 30 * time.Second
)

// errSkipped says that a best-effort call was not made: enough are under way, or one has just failed.
// It is not logged, since that failure was.
var errSkipped = errors.New("reconcile: skipped: the store or the queue is slow, or has just failed")

// bestEffort calls f, which only improves something, with a short time limit. It is not tried again,
// and what f loses is lost. If the budget for such calls is used up, bestEffort returns errSkipped
// immediately. A conflict and a missing record are no failures of the service: the store answered.
func (r *Reconciler) bestEffort(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	end, ok := r.budget.Begin()
	if !ok {
		return errSkipped
	}
	outcome := overload.Failed // if f panics
	defer func() { end(outcome) }()
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := f(limited)
	switch {
	case err == nil, errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound),
		fault.KindOf(err) == fault.NotFound:
		outcome = overload.Succeeded
	case errors.Is(ctx.Err(), context.Canceled):
		outcome = overload.Abandoned
	}
	return err
}
