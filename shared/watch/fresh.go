package watch

import (
	"context"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
)

// armPatience is how often it is asked for the task of the next look before none is taken to be pending: after a check has saved when that look is due, it
// takes a moment until its task is there.
const armPatience = 4

// freshenTimeout bounds the saving of a lease and what follows from it. It goes on when its viewer has left: half done, the look that was brought
// forward would wait for the delivery of the one before.
const freshenTimeout = 10 * time.Second

// freshen says that the run is watched, if that has to be said. The next look is brought forward like any change: saved, then scheduled, and only then
// the task deleted that nobody waits for any more; if that is not reached, its delivery is one behind the record, and does no more than see that
// the next task exists. Whoever else watches the run finds it said, or meets it by the compare-and-swap.
//
// It returns the record's version after which there may be news to who knows the snapshot. What fails is logged: viewers are shown what there is.
func (w *Watcher) freshen(ctx context.Context, known *Snapshot) int64 {
	if !known.Open() || known.record == nil {
		return known.Seen().Version
	}
	c, version := *known.record, known.View.Version
	if w.Queue == nil || !w.cfg.Rules.Freshens(c, w.now()) {
		return version
	}
	ctx, cancel := context.WithTimeout(gcplog.WithTrace(context.WithoutCancel(ctx), c.TraceParent), freshenTimeout)
	defer cancel()
	var ch change
	pending, err := w.pendingCheck(ctx, c)
	if err == nil {
		ch, err = w.apply(ctx, c, cases.Watched{Pending: pending})
	}
	if err == nil && ch.before.Checks.Seq != ch.after.Checks.Seq {
		if err = w.arm(ctx, ch.after, true, false); err == nil {
			err = w.Queue.Delete(ctx, checkTask(ch.before))
		}
	}
	if err != nil && fault.KindOf(err) != fault.NotFound {
		w.Log.WarnContext(ctx, "progress may not be fresh for those who watch", attrs(c, slog.Any("error", err))...)
	}
	if ch.before.Version == version && ch.verdict.Changed() {
		return ch.after.Version
	}
	return version
}

// pendingCheck reports whether the task of the next look is pending, if that look is far. To take the place of one that is not there yet would leave two:
// the check that saved it goes on to schedule it.
func (w *Watcher) pendingCheck(ctx context.Context, c cases.Case) (bool, error) {
	if !w.cfg.Rules.IsFar(c, w.now()) {
		return false, nil
	}
	for try := 1; ; try++ {
		exists, err := w.Queue.Exists(ctx, checkTask(c))
		if exists || err != nil || try == armPatience || w.sleep(ctx, 50*time.Millisecond<<try) != nil {
			return exists, err
		}
	}
}
