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
	// maxSweepFaults is after how many faults of the queue or the topic a sweep no longer asks them: it goes on with what needs only the store.
	maxSweepFaults = 3
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
// A queue or topic that is down does not keep runs from ending at their deadline: after a few faults the rest is done without them, and
// what needs them is left to the next sweep.
//
// The error is Unavailable: the store cannot be used, or the queue or the topic could not. What was done is done.
func (w *Watcher) Sweep(ctx context.Context) (Report, error) {
	s := sweep{w: w, before: w.overdueBefore()}
	var cursor store.Cursor
	for !w.endsSoon(ctx) {
		page, err := w.Store.Overdue(ctx, s.before, cursor, sweepPage)
		if err != nil {
			return s.rep, w.storeFault(err)
		}
		for _, c := range page {
			cursor = store.Cursor{WakeAt: c.WakeAt, CaseID: c.CaseID, Run: c.Run}
			if w.endsSoon(ctx) {
				break
			}
			s.handle(gcplog.WithTrace(ctx, c.TraceParent), c)
		}
		if len(page) < sweepPage {
			break
		}
	}
	var err error
	if s.rep.Open, err = w.Store.CountOpen(ctx); err != nil {
		return s.rep, w.storeFault(err)
	}
	level := slog.LevelInfo
	if s.rep.Leaked > 0 {
		level = slog.LevelError
	}
	w.Log.Log(ctx, level, "sweep", "open", s.rep.Open, "overdue", s.rep.Overdue, "rearmed", s.rep.Rearmed, "timed_out", s.rep.TimedOut,
		"republished", s.rep.Republished, "purged", s.rep.Purged, "leaked", s.rep.Leaked)
	if len(s.faults) > 0 {
		return s.rep, fault.Wrap(fault.Unavailable, errors.Join(s.faults...), "some runs could not be handled; the next sweep tries again")
	}
	return s.rep, nil
}

func (w *Watcher) endsSoon(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(deadline) < sweepReserve
}

// sweep is one sweep under way.
type sweep struct {
	w      *Watcher
	before time.Time // what should have been woken before is overdue
	rep    Report
	faults []error
}

// handle handles one record whose time to wake is past. If somebody else was at it meanwhile, it is handled as what it has become: it may still
// be overdue, and past its deadline it is not to wait for another sweep.
func (s *sweep) handle(ctx context.Context, c cases.Case) {
	counted := s.rep
	err := s.repair(ctx, c)
	for try := 0; errors.Is(err, store.ErrConflict) && try < maxTries; try++ {
		s.rep = counted // a conflict is had before anything is done
		if err = s.w.pause(ctx, try); err != nil {
			break
		}
		if c, err = s.w.Store.Get(ctx, c.CaseID, c.Run); err == nil {
			err = s.repair(ctx, c)
		}
	}
	if err == nil || errors.Is(err, store.ErrNotFound) { // another sweep has purged it
		return
	}
	s.w.Log.ErrorContext(ctx, "the sweep could not handle a run", attrs(c, slog.Any("error", err))...)
	s.faults = append(s.faults, err)
}

// alone reports whether the queue and the topic are to be left alone, since they failed too often.
func (s *sweep) alone() bool { return len(s.faults) >= maxSweepFaults }

func (s *sweep) repair(ctx context.Context, c cases.Case) error {
	w := s.w
	switch w.find(c, s.before) {
	case foundDeadline:
		return s.end(ctx, c)
	case foundCheckLate, foundDispatchLate:
		return s.rearm(ctx, c)
	case foundUntold:
		return s.tell(ctx, c)
	case foundAsked:
		s.rep.Leaked += c.AskedAfterEnd
		_, err := w.save(ctx, c, cases.Tick{})
		return err
	case foundExpired:
		if err := w.Store.Purge(ctx, c.CaseID, c.Run, c.Version); err != nil {
			return err
		}
		s.rep.Purged++
	case foundFormExpired:
		_, err := w.save(ctx, c, cases.Tick{FormDropped: true})
		return err
	}
	return nil
}

// end ends a run past its deadline.
func (s *sweep) end(ctx context.Context, c cases.Case) error {
	s.overdue(c)
	ch, err := s.w.save(ctx, c, cases.Tick{})
	if err != nil {
		return err
	}
	s.rep.TimedOut++
	if s.alone() {
		return nil
	}
	return s.w.tellEnd(ctx, ch.after, "")
}

// rearm schedules anew what the queue no longer has. What it has is late, and left alone.
func (s *sweep) rearm(ctx context.Context, c cases.Case) error {
	late := c.Checks.NextAt.Before(s.before)
	if late {
		s.overdue(c)
	}
	if s.alone() {
		return nil
	}
	tick, err := s.w.lost(ctx, c, s.before)
	if err != nil {
		return err
	}
	ch, err := s.w.save(ctx, c, tick)
	if err != nil || !ch.verdict.Changed() {
		return err
	}
	if !late {
		s.overdue(c) // a dispatch that waits its turn is not; a lost one is
	}
	s.rep.Rearmed++
	s.w.Log.WarnContext(ctx, "a wake-up was lost; scheduled anew", attrs(ch.after, slog.Bool("check", tick.CheckGone), slog.Bool("dispatch", tick.DispatchGone))...)
	return s.w.settle(ctx, ch, "")
}

// overdue counts an open run whose wake-up has not come.
func (s *sweep) overdue(c cases.Case) {
	s.rep.Overdue++
	if unscheduled(c) {
		s.rep.Leaked++
	}
}

// tell tells an end that was recorded and never told.
func (s *sweep) tell(ctx context.Context, c cases.Case) error {
	if s.alone() {
		return nil
	}
	exists, err := s.w.Queue.Exists(ctx, checkTask(c))
	if err != nil {
		return err
	}
	if exists {
		s.rep.Leaked++
	}
	if err := s.w.tellEnd(ctx, c, ""); err != nil {
		return err
	}
	s.rep.Republished++
	return nil
}
