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

const (
	// maxPendingLookups bounds how many times expedite looks for the pending task before it concludes
	// that there is none. After a check has saved when the next one is due, it takes a moment until the
	// task of that one exists.
	maxPendingLookups = 4
	// expediteTimeout bounds what expedite does. It goes on when its viewer leaves: a check that is
	// brought forward only halfway waits for the delivery of the one before.
	expediteTimeout = 3 * time.Second
)

// expedite saves that an open run is viewed, if that has to be said again, and brings its next check
// forward. It does so by best effort, and logs what fails: viewers are shown what there is.
//
// As with any change, the record is saved first, then the new task is created. Only then is the task
// deleted that it replaces. If expedite does not get that far, the delivery of that task is one behind
// the record, and only makes sure that the new one exists.
//
// It is tried once. A conflict means that a check was saved, whose news the viewer is shown before it
// comes back here, or that another viewer has said the same.
//
// It returns the version of the record after which a viewer of the snapshot may find news.
func (r *Reconciler) expedite(ctx context.Context, shown *Snapshot) int64 {
	if !shown.Open() || shown.record == nil {
		return shown.Seen().Version
	}
	c, version := *shown.record, shown.View.Version
	if r.queue == nil || !r.Rules(c).AcceptsViewer(c, r.Now()) {
		return version
	}
	ctx = gcplog.WithTrace(context.WithoutCancel(ctx), c.TraceParent)
	var saved change
	err := r.bestEffort(ctx, expediteTimeout, func(ctx context.Context) error {
		pending, err := r.nextCheckPends(ctx, c)
		if err != nil {
			return err
		}
		ch, err := r.applyOnce(ctx, c, cases.Viewed{CheckPending: pending})
		if err != nil {
			return err
		}
		saved = ch
		if ch.before.Checks.Seq == ch.after.Checks.Seq {
			return nil
		}
		if _, err := r.ensureTasks(ctx, ch); err != nil {
			return err
		}
		return r.queue.Delete(ctx, checkTask(ch.before))
	})
	switch {
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
		return version
	case err != nil && !errors.Is(err, errSkipped):
		r.log.WarnContext(ctx, "next check not brought forward", attrs(c, slog.Any("error", err))...)
	}
	if saved.verdict.Changed() {
		return saved.after.Version
	}
	return version
}

// nextCheckPends reports whether the task of a check that is not due soon is pending. Only then may
// another replace it. A task that does not exist yet will be created by the check that saved when it is
// due: with a second one, two checks would be pending.
func (r *Reconciler) nextCheckPends(ctx context.Context, c cases.Case) (bool, error) {
	if !r.Rules(c).NextCheckIsFar(c, r.Now()) {
		return false, nil
	}
	for lookup := 1; ; lookup++ {
		exists, err := r.queue.Exists(ctx, checkTask(c))
		if exists || err != nil || lookup == maxPendingLookups ||
			ctxtime.Sleep(ctx, 50*time.Millisecond<<lookup) != nil {
			return exists, err
		}
	}
}
