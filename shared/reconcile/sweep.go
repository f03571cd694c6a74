package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/store"
)

const (
	// sweepPage is how many records are read at once.
	sweepPage = 100
	// sweepSlack is, beyond the longest poll, how late a task may be before the sweep asks whether it still exists. Asking is
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

// add counts what was found of one run.
func (r *Report) add(found Report) {
	r.Overdue += found.Overdue
	r.Rearmed += found.Rearmed
	r.TimedOut += found.TimedOut
	r.Republished += found.Republished
	r.Purged += found.Purged
	r.Leaked += found.Leaked
}

// Sweep repairs what was lost, and reports it. It looks at what is overdue, in pages, until there is no more or its context is about to end.
//
// Leaked counts ended runs that still had a pending check long after, or whose pipeline was asked by a check that had read the end, and open
// runs with no next wake-up. It is to be 0.
//
// A queue or topic that is down does not keep runs from ending at their deadline: after a few faults the rest is done without them, and
// what needs them is left to the next sweep.
//
// The error is Unavailable: the store cannot be used, or the queue or the topic could not. What was done is done.
func (w *Reconciler) Sweep(ctx context.Context) (Report, error) {
	s := sweep{w: w, before: w.overdueBefore()}
	var cursor store.Cursor
	for !w.endsSoon(ctx) {
		page, err := w.store.Overdue(ctx, s.before, cursor, sweepPage)
		if err != nil {
			return s.rep, w.storeFault(err)
		}
		s.handleAll(ctx, page)
		if len(page) < sweepPage {
			break
		}
		last := page[len(page)-1]
		cursor = store.Cursor{OverdueAt: last.Bookkeeping.OverdueAt, CaseID: last.CaseID, Run: last.Run}
	}
	var err error
	if s.rep.Open, err = w.store.CountOpen(ctx); err != nil {
		return s.rep, w.storeFault(err)
	}
	level := slog.LevelInfo
	if s.rep.Leaked > 0 {
		level = slog.LevelError
	}
	w.log.Log(ctx, level, "sweep", "open", s.rep.Open, "overdue", s.rep.Overdue, "rearmed", s.rep.Rearmed, "timed_out", s.rep.TimedOut,
		"republished", s.rep.Republished, "purged", s.rep.Purged, "leaked", s.rep.Leaked)
	if len(s.faults) > 0 {
		return s.rep, fault.Wrap(fault.Unavailable, errors.Join(s.faults...), "some runs could not be handled; the next sweep tries again")
	}
	return s.rep, nil
}

func (w *Reconciler) endsSoon(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(deadline) < sweepReserve
}

// sweep is one sweep under way.
type sweep struct {
	w      *Reconciler
	before time.Time // what should have been woken before is overdue

	mu     sync.Mutex
	rep    Report
	faults []error
}

// handleAll handles a page of records, some of them at once, until the request is about to end.
func (s *sweep) handleAll(ctx context.Context, page []cases.Case) {
	var all sync.WaitGroup
	places := make(chan struct{}, max(1, s.w.cfg.SweepAtOnce))
	for _, c := range page {
		places <- struct{}{}
		if s.w.endsSoon(ctx) {
			break
		}
		all.Go(func() {
			defer func() { <-places }()
			defer s.recovered(ctx, c)
			s.handle(gcplog.WithTrace(ctx, c.TraceParent), c)
		})
	}
	all.Wait()
}

// handle handles one record whose OverdueAt is past. If somebody else was at it meanwhile, it is handled as what it has become: it may still
// be overdue, and past its deadline it is not to wait for another sweep.
func (s *sweep) handle(ctx context.Context, c cases.Case) {
	var found Report
	err := s.w.retryConflicts(ctx, func(try int) (err error) {
		if try > 0 {
			if c, err = s.w.store.Get(ctx, c.CaseID, c.Run); err != nil {
				return err
			}
		}
		found, err = s.repair(ctx, c)
		return err
	})
	if errors.Is(err, store.ErrNotFound) { // another sweep has purged it
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rep.add(found)
	if err != nil {
		s.failed(ctx, c, err)
	}
}

// failed notes, under the lock, what the next sweep is to try again.
func (s *sweep) failed(ctx context.Context, c cases.Case, err error) {
	s.w.log.ErrorContext(ctx, "the sweep could not handle a run", attrs(c, slog.Any("error", err))...)
	s.faults = append(s.faults, err)
}

// recovered makes a panic over one run a fault like any other: beside the goroutine of the request nobody else would, and the instance would end.
func (s *sweep) recovered(ctx context.Context, c cases.Case) {
	if p := recover(); p != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed(gcplog.WithTrace(ctx, c.TraceParent), c, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}

// alone reports whether the queue and the topic are to be left alone, since they failed too often.
func (s *sweep) alone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.faults) >= maxSweepFaults
}

// repair repairs what is amiss with a run, and reports what it found.
func (s *sweep) repair(ctx context.Context, c cases.Case) (Report, error) {
	var found Report
	w := s.w
	switch w.find(c, s.before) {
	case cases.FindingDeadline:
		return s.end(ctx, c)
	case cases.FindingCheckLate, cases.FindingDispatchLate:
		return s.rearm(ctx, c)
	case cases.FindingNotFinalized:
		return s.tell(ctx, c)
	case cases.FindingPolledAfterEnd:
		found.Leaked = c.Bookkeeping.PolledAfterEnd
		_, err := w.save(ctx, c, cases.Tick{})
		return found, err
	case cases.FindingExpired:
		if err := w.store.Purge(ctx, c.CaseID, c.Run, c.Version); err != nil {
			return found, err
		}
		found.Purged = 1
	case cases.FindingFormExpired:
		_, err := w.save(ctx, c, cases.Tick{FormDropped: true})
		return found, err
	}
	return found, nil
}

// end ends a run past its deadline.
func (s *sweep) end(ctx context.Context, c cases.Case) (Report, error) {
	found := overdue(c)
	ch, err := s.w.save(ctx, c, cases.Tick{})
	if err != nil {
		return found, err
	}
	found.TimedOut = 1
	if s.alone() {
		return found, nil
	}
	return found, s.w.tellEnd(ctx, ch.after, "")
}

// rearm schedules anew what the queue no longer has. What it has is late, and left alone.
func (s *sweep) rearm(ctx context.Context, c cases.Case) (Report, error) {
	var found Report
	if c.Checks.NextAt.Before(s.before) {
		found = overdue(c)
	}
	if s.alone() {
		return found, nil
	}
	tick, err := s.w.lost(ctx, c, s.before)
	if err != nil {
		return found, err
	}
	ch, err := s.w.save(ctx, c, tick)
	if err != nil || !ch.verdict.Changed() {
		return found, err
	}
	if found.Overdue == 0 {
		found = overdue(c) // a dispatch that waits its turn is not; a lost one is
	}
	found.Rearmed = 1
	s.w.log.WarnContext(ctx, "a wake-up was lost; scheduled anew", attrs(ch.after, slog.Bool("check", tick.CheckLost), slog.Bool("dispatch", tick.DispatchLost))...)
	return found, s.w.settle(ctx, ch, "")
}

// overdue is the report of an open run whose wake-up has not come.
func overdue(c cases.Case) Report {
	if unscheduled(c) {
		return Report{Overdue: 1, Leaked: 1}
	}
	return Report{Overdue: 1}
}

// tell tells an end that was recorded and never told.
func (s *sweep) tell(ctx context.Context, c cases.Case) (Report, error) {
	var found Report
	if s.alone() {
		return found, nil
	}
	exists, err := s.w.queue.Exists(ctx, checkTask(c))
	if err != nil {
		return found, err
	}
	if exists && !endedByCheck(c) {
		found.Leaked = 1
	}
	if err := s.w.tellEnd(ctx, c, ""); err != nil {
		return found, err
	}
	found.Republished = 1
	return found, nil
}
