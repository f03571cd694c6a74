package watch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/store"
)

const (
	// sweepPage is how many records are read at once.
	sweepPage = 100
	// sweepSlack is, beyond the longest look, how late a task may be before the sweep asks whether it still exists. Asking is
	// harmless: a task that is only late exists.
	sweepSlack = 20 * time.Second
	// sweepReserve is what is left of the request when the sweep stops; the next one goes on.
	sweepReserve = 5 * time.Second
	// maxSweepFaults is after how many records that could not be handled it gives up: something is down.
	maxSweepFaults = 10
)

// Report is what a sweep found. In health everything but Open and Purged is 0.
type Report struct {
	Open        int `json:"open"`        // runs that have not ended
	Overdue     int `json:"overdue"`     // open runs whose wake-up has not come
	Rearmed     int `json:"rearmed"`     // of these, those whose task was lost and is now scheduled anew
	TimedOut    int `json:"timed_out"`   // of these, those that had to be ended at their deadline
	Republished int `json:"republished"` // ends that were recorded and not told
	Purged      int `json:"purged"`      // runs past their retention
	Leaked      int `json:"leaked"`      // broken promises: see Sweep
}

// Sweep repairs what was lost, and reports it. It looks at what is overdue, in pages, until there is no more or its context is about to end.
//
// Leaked counts ended runs that still had a pending check long after, or whose pipeline was asked by a check that began after the end, and open
// runs with no next wake-up. It is to be 0.
//
// The error is Unavailable: the store cannot be read, or too many records could not be handled. What was done is done.
func (w *Watcher) Sweep(ctx context.Context) (Report, error) {
	var rep Report
	now := w.now()
	before := now.Add(-w.cfg.CheckTimeout - sweepSlack)
	var cursor store.Cursor
	var faults []error
	for !w.endsSoon(ctx) {
		page, err := w.Store.Overdue(ctx, before, cursor, sweepPage)
		if err != nil {
			return rep, w.storeFault(err)
		}
		for _, c := range page {
			cursor = store.Cursor{WakeAt: c.WakeAt, CaseID: c.CaseID, Run: c.Run}
			if w.endsSoon(ctx) {
				break
			}
			caseCtx := gcplog.WithTrace(ctx, c.TraceParent)
			if err := w.sweepOne(caseCtx, c, before, &rep); err != nil && !errors.Is(err, store.ErrConflict) {
				w.Log.ErrorContext(caseCtx, "the sweep could not handle a run", attrs(c, slog.Any("error", err))...)
				if faults = append(faults, err); len(faults) >= maxSweepFaults {
					return rep, fault.Wrap(fault.Unavailable, errors.Join(faults...), "too many runs could not be handled")
				}
			}
		}
		if len(page) < sweepPage {
			break
		}
	}
	var err error
	if rep.Open, err = w.Store.CountOpen(ctx); err != nil {
		return rep, w.storeFault(err)
	}
	level := slog.LevelInfo
	if rep.Leaked > 0 {
		level = slog.LevelError
	}
	w.Log.Log(ctx, level, "sweep", "open", rep.Open, "overdue", rep.Overdue, "rearmed", rep.Rearmed, "timed_out", rep.TimedOut,
		"republished", rep.Republished, "purged", rep.Purged, "leaked", rep.Leaked)
	return rep, nil
}

func (w *Watcher) endsSoon(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(deadline) < sweepReserve
}

// sweepOne handles one record whose time to wake is past. ErrConflict means that somebody else was at it meanwhile: all is well.
func (w *Watcher) sweepOne(ctx context.Context, c cases.Case, before time.Time, rep *Report) error {
	switch {
	case !c.State.Ended():
		return w.sweepOpen(ctx, c, before, rep)
	case !c.Settled:
		return w.sweepUntold(ctx, c, rep)
	case c.AskedAfterEnd > 0:
		rep.Leaked += c.AskedAfterEnd
		_, err := w.save(ctx, c, cases.Tick{})
		return err
	case !w.cfg.Rules.ExpiresAt(c).After(before):
		if err := w.Store.Purge(ctx, c.CaseID, c.Run, c.Version); err != nil {
			return err
		}
		rep.Purged++
	case c.FormKept:
		_, err := w.save(ctx, c, cases.Tick{FormDropped: true})
		return err
	}
	return nil
}

func (w *Watcher) sweepOpen(ctx context.Context, c cases.Case, before time.Time, rep *Report) error {
	rep.Overdue++
	if c.Checks.NextAt.IsZero() {
		rep.Leaked++
	}
	var tick cases.Tick
	if w.now().Before(c.DeadlineAt) {
		if c.Checks.NextAt.Before(before) {
			exists, err := w.Queue.Exists(ctx, checkTask(c))
			if err != nil {
				return err
			}
			tick.CheckGone = !exists
		}
		if c.Dispatch.Phase == cases.PhaseQueued && c.Dispatch.At.Before(before) {
			exists, err := w.Queue.Exists(ctx, dispatchTask(c))
			if err != nil {
				return err
			}
			tick.DispatchGone = !exists
		}
	}
	ch, err := w.save(ctx, c, tick)
	if err != nil || !ch.verdict.Changed() {
		return err
	}
	if ch.after.State.Ended() {
		rep.TimedOut++
	} else {
		rep.Rearmed++
		w.Log.WarnContext(ctx, "a wake-up was lost; scheduled anew", attrs(ch.after, slog.Bool("check", tick.CheckGone), slog.Bool("dispatch", tick.DispatchGone))...)
	}
	return w.settle(ctx, ch, "")
}

func (w *Watcher) sweepUntold(ctx context.Context, c cases.Case, rep *Report) error {
	exists, err := w.Queue.Exists(ctx, checkTask(c))
	if err != nil {
		return err
	}
	if exists {
		rep.Leaked++
	}
	if err := w.tellEnd(ctx, c, ""); err != nil {
		return err
	}
	rep.Republished++
	return nil
}
