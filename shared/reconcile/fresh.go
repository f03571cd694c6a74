package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/store"
)

// maxPendingLookups bounds how many times expedite looks for the pending task before it concludes that there is none: after a check has saved when that check is due, it
// takes a moment until its task is there.
const maxPendingLookups = 4

// expediteTimeout bounds the saving of a lease and what follows from it. It goes on when its viewer has left: half done, the check that was brought
// forward would wait for the delivery of the one before.
const expediteTimeout = 3 * time.Second

// expedite says that the run is watched, if that has to be said, as far as best effort goes. The next check is brought forward like any change: saved,
// then scheduled, and only then the task deleted that nobody waits for any more; if that is not reached, its delivery is one behind the record, and
// does no more than see that the next task exists. It is tried once: a save that meets another's change is left, since either a check was saved, and the viewer comes again
// with what that found, or somebody else said that the run is watched.
//
// It returns the record's version after which there may be news to who knows the snapshot. What fails is logged: viewers are shown what there is.
func (w *Reconciler) expedite(ctx context.Context, known *Snapshot) int64 {
	if !known.Open() || known.record == nil {
		return known.Seen().Version
	}
	c, version := *known.record, known.View.Version
	if w.queue == nil || !w.cfg.Rules.AcceptsViewer(c, w.Now()) {
		return version
	}
	ctx = gcplog.WithTrace(context.WithoutCancel(ctx), c.TraceParent)
	var ch change
	err := w.bestEffort(ctx, expediteTimeout, func(ctx context.Context) error {
		pending, err := w.pendingCheck(ctx, c)
		if err != nil {
			return err
		}
		saved, err := w.save(ctx, c, cases.Viewed{CheckPending: pending})
		if err != nil {
			return err
		}
		if ch = saved; ch.before.Checks.Seq == ch.after.Checks.Seq {
			return nil
		}
		if err := w.arm(ctx, ch.after, true, false); err != nil {
			return err
		}
		return w.queue.Delete(ctx, checkTask(ch.before))
	})
	switch {
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
		return version
	case err != nil && !errors.Is(err, errLeftOut):
		w.log.WarnContext(ctx, "progress may not be fresh for those who watch", attrs(c, slog.Any("error", err))...)
	}
	if ch.verdict.Changed() {
		return ch.after.Version
	}
	return version
}

// pendingCheck reports whether the task of the next check is pending, if that check is far away. To take the place of one that is not there yet would leave two:
// the check that saved it goes on to schedule it.
func (w *Reconciler) pendingCheck(ctx context.Context, c cases.Case) (bool, error) {
	if !w.cfg.Rules.NextCheckIsFar(c, w.Now()) {
		return false, nil
	}
	for try := 1; ; try++ {
		exists, err := w.queue.Exists(ctx, checkTask(c))
		if exists || err != nil || try == maxPendingLookups || ctxtime.Sleep(ctx, 50*time.Millisecond<<try) != nil {
			return exists, err
		}
	}
}
