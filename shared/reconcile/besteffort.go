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
	// maxBestEffort is how many best-effort calls of an instance are under way. PostgreSQL's driver has 4 connections, of which one may listen: one is
	// left for what carries a run forward.
	maxBestEffort = 2
	// bestEffortPause is for how long there is none after one failed.
	bestEffortPause = 30 * time.Second
)

// errLeftOut says that a best-effort call was not made: enough are under way, or one failed a moment ago. It is not logged: that failure was.
var errLeftOut = errors.New("reconcile: left out: the store or the queue is slow, or failed a moment ago")

// bestEffort calls f, which only improves something, with a short time limit, or returns errLeftOut immediately. What f loses is lost; it is not tried
// again. A conflict counts as a success: the store answered.
func (w *Reconciler) bestEffort(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	end, ok := w.effort.Begin()
	if !ok {
		return errLeftOut
	}
	outcome := overload.Failed // also if f panics
	defer func() { end(outcome) }()
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := f(limited)
	switch {
	case err == nil, errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound), fault.KindOf(err) == fault.NotFound:
		outcome = overload.Succeeded
	case errors.Is(ctx.Err(), context.Canceled):
		outcome = overload.Abandoned
	}
	return err
}
