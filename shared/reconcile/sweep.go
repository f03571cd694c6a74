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
	// overdueGrace is how late a task may be, beyond the longest poll, before the sweep asks the queue
	// whether it still exists. Asking is harmless: a task that is only late exists.
	overdueGrace = 20 * time.Second
	// sweepReserve is how much of its request's time is left when a sweep stops. The next one goes on.
	sweepReserve = 5 * time.Second
	// maxSweepProblems is after how many problems with runs a sweep no longer uses the queue and the
	// topic. It goes on with what needs only the store.
	maxSweepProblems = 3
)

// Report says what a sweep found. In health everything but Open and Purged is 0. Its names in JSON are
// public.
type Report struct {
	Open        int `json:"open"`        // runs that have not ended
	Overdue     int `json:"overdue"`     // open runs whose next task was not delivered in time
	Rescheduled int `json:"rearmed"`     // runs whose task was lost, and that have a new one
	TimedOut    int `json:"timed_out"`   // open runs that the sweep ended at their deadline
	Republished int `json:"republished"` // ended runs that were not finalized
	Purged      int `json:"purged"`      // runs past their retention
	Leaked      int `json:"leaked"`      // broken promises: see Sweep
}

// add adds what was found of one run.
func (rep *Report) add(found Report) {
	rep.Overdue += found.Overdue
	rep.Rescheduled += found.Rescheduled
	rep.TimedOut += found.TimedOut
	rep.Republished += found.Republished
	rep.Purged += found.Purged
	rep.Leaked += found.Leaked
}

// Sweep repairs what was lost, and reports it. It reads the overdue records in pages, until there is no
// more or its context is about to end. It reschedules a task only if the queue says that it no longer
// exists, under a new sequence number.
//
// Leaked counts broken promises, and is to be 0: ended runs that still had a pending check long after
// their end, checks that polled although they had read the end, and open runs without a next check.
//
// While the queue or the topic is down, runs still end at their deadline. After maxSweepProblems the
// sweep leaves what needs them to the next one.
//
// The error is Unavailable: the store, the queue or the topic could not be used. What was done is done,
// and is in the report.
func (r *Reconciler) Sweep(ctx context.Context) (Report, error) {
	s := sweep{r: r, cutoff: r.overdueCutoff()}
	var cursor store.Cursor
	for !endsSoon(ctx) {
		page, err := r.store.Overdue(ctx, s.cutoff, cursor, sweepPage)
		if err != nil {
			return s.report, storeProblem(err)
		}
		s.repairAll(ctx, page)
		if len(page) < sweepPage {
			break
		}
		cursor = cursorOf(page[len(page)-1])
	}
	var err error
	if s.report.Open, err = r.store.CountOpen(ctx); err != nil {
		return s.report, storeProblem(err)
	}
	s.logReport(ctx)
	if len(s.problems) > 0 {
		return s.report, fault.Wrap(fault.Unavailable, errors.Join(s.problems...),
			"some runs could not be handled; the next sweep tries again")
	}
	return s.report, nil
}

// overdueCutoff is the time before which a task must have been due to be overdue now.
func (r *Reconciler) overdueCutoff() time.Time {
	return r.Now().Add(-r.cfg.CheckTimeout - overdueGrace)
}

// cursorOf is the place of a record in the order of Overdue.
func cursorOf(c cases.Case) store.Cursor {
	return store.Cursor{OverdueAt: c.Bookkeeping.OverdueAt, CaseID: c.CaseID, Run: c.Run}
}

// endsSoon reports whether a request has no time left for another run.
func endsSoon(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(deadline) < sweepReserve
}

// sweep is one sweep under way.
type sweep struct {
	r      *Reconciler
	cutoff time.Time

	mu       sync.Mutex
	report   Report
	problems []error
}

func (s *sweep) logReport(ctx context.Context) {
	rep, level := s.report, slog.LevelInfo
	if rep.Leaked > 0 {
		level = slog.LevelError
	}
	s.r.log.Log(ctx, level, "sweep", "open", rep.Open, "overdue", rep.Overdue, "rearmed", rep.Rescheduled,
		"timed_out", rep.TimedOut, "republished", rep.Republished, "purged", rep.Purged, "leaked", rep.Leaked)
}

// repairAll repairs the runs of a page, SweepAtOnce of them at the same time, until the request is about
// to end.
func (s *sweep) repairAll(ctx context.Context, page []cases.Case) {
	var all sync.WaitGroup
	places := make(chan struct{}, max(1, s.r.cfg.SweepAtOnce))
	for _, c := range page {
		places <- struct{}{}
		if endsSoon(ctx) {
			break
		}
		all.Go(func() {
			defer func() { <-places }()
			ctx := gcplog.WithTrace(ctx, c.TraceParent)
			defer s.recoverPanic(ctx, c)
			s.repairOne(ctx, c)
		})
	}
	all.Wait()
}

// repairOne repairs one run and counts what was found. If another invocation has changed the run
// meanwhile, it is repaired as what it has become: it may still be overdue, and a run past its deadline
// does not wait for another sweep.
func (s *sweep) repairOne(ctx context.Context, c cases.Case) {
	var found Report
	current := c
	err := s.r.retryConflicts(ctx, func(try int) (err error) {
		if try > 0 {
			if current, err = s.r.store.Get(ctx, c.CaseID, c.Run); err != nil {
				return err
			}
		}
		found, err = s.repair(ctx, current)
		return err
	})
	if errors.Is(err, store.ErrNotFound) { // another sweep has purged it
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.add(found)
	if err != nil {
		s.addProblem(ctx, c, err)
	}
}

// addProblem notes what the next sweep has to try again. It is called under the lock.
func (s *sweep) addProblem(ctx context.Context, c cases.Case, err error) {
	s.r.log.ErrorContext(ctx, "the sweep could not handle a run", attrs(c, slog.Any("error", err))...)
	s.problems = append(s.problems, err)
}

// recoverPanic turns a panic over one run into a problem. net/http recovers only panics of the
// request's own goroutine; one of any other ends the instance.
func (s *sweep) recoverPanic(ctx context.Context, c cases.Case) {
	if p := recover(); p != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.addProblem(ctx, c, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}

// onlyStore reports whether the queue and the topic have failed so many times that the sweep goes on
// without them.
func (s *sweep) onlyStore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.problems) >= maxSweepProblems
}

// repair does what a record needs, and reports what it found. ErrConflict means that nothing was done.
func (s *sweep) repair(ctx context.Context, c cases.Case) (Report, error) {
	switch s.r.Rules(c).Finding(c, s.r.Now(), s.cutoff) {
	case cases.FindingDeadline:
		return s.endAtDeadline(ctx, c)
	case cases.FindingCheckLate, cases.FindingDispatchLate:
		return s.reschedule(ctx, c)
	case cases.FindingNotFinalized:
		return s.finalize(ctx, c)
	case cases.FindingPolledAfterEnd:
		return s.reportPolls(ctx, c)
	case cases.FindingExpired:
		return s.purge(ctx, c)
	case cases.FindingFormExpired:
		return s.dropForm(ctx, c)
	case cases.FindingStopLate:
		return s.requestStop(ctx, c)
	}
	return Report{}, nil
}

// endAtDeadline ends an open run past its deadline.
func (s *sweep) endAtDeadline(ctx context.Context, c cases.Case) (Report, error) {
	found := overdue(c)
	ch, err := s.r.applyOnce(ctx, c, cases.Tick{})
	if err != nil {
		return found, err
	}
	found.TimedOut = 1
	if s.onlyStore() {
		return found, nil
	}
	return found, s.r.finalize(ctx, ch.after, "")
}

// reschedule creates the tasks anew that an open run waits for and that the queue no longer has. Those
// that it has are late, and left alone.
func (s *sweep) reschedule(ctx context.Context, c cases.Case) (Report, error) {
	var found Report
	if c.Checks.NextAt.Before(s.cutoff) {
		found = overdue(c)
	}
	if found.Leaked > 0 {
		s.r.log.WarnContext(ctx, "an open run had no next check", attrs(c)...)
	}
	if s.onlyStore() {
		return found, nil
	}
	lost, err := s.r.lostTasks(ctx, c, s.cutoff)
	if err != nil {
		return found, err
	}
	ch, err := s.r.applyOnce(ctx, c, lost)
	if err != nil || !ch.verdict.Changed() {
		return found, err
	}
	if found.Overdue == 0 {
		found = overdue(c) // a dispatch that waits its turn is not overdue; a lost one is
	}
	found.Rescheduled = 1
	s.r.log.WarnContext(ctx, "lost task rescheduled",
		attrs(ch.after, slog.Bool("check", lost.CheckLost), slog.Bool("dispatch", lost.DispatchLost))...)
	return found, s.r.reconcile(ctx, ch, "")
}

// finalize finalizes an ended run.
func (s *sweep) finalize(ctx context.Context, c cases.Case) (Report, error) {
	var found Report
	if s.onlyStore() {
		return found, nil
	}
	leaked, err := s.r.hasLeakedCheck(ctx, c)
	if err != nil {
		return found, err
	}
	if leaked {
		found.Leaked = 1
		s.r.log.WarnContext(ctx, "a check was pending after the end", attrs(c)...)
	}
	if err := s.r.finalize(ctx, c, ""); err != nil {
		return found, err
	}
	found.Republished = 1
	return found, nil
}

// reportPolls reports the polls after a run's end, once.
func (s *sweep) reportPolls(ctx context.Context, c cases.Case) (Report, error) {
	polls := c.Bookkeeping.PolledAfterEnd
	s.r.log.WarnContext(ctx, "the pipeline was polled after the end", attrs(c, slog.Int("polls", polls))...)
	_, err := s.r.applyOnce(ctx, c, cases.Tick{})
	return Report{Leaked: polls}, err
}

func (s *sweep) purge(ctx context.Context, c cases.Case) (Report, error) {
	if err := s.r.store.Purge(ctx, c.CaseID, c.Run, c.Version); err != nil {
		return Report{}, err
	}
	return Report{Purged: 1}, nil
}

func (s *sweep) dropForm(ctx context.Context, c cases.Case) (Report, error) {
	_, err := s.r.applyOnce(ctx, c, cases.Tick{FormDropped: true})
	return Report{}, err
}

// requestStop creates anew the task that is to cancel the job of an ended run, if the queue no longer
// has it. One that it has is late, and left alone.
func (s *sweep) requestStop(ctx context.Context, c cases.Case) (Report, error) {
	if s.onlyStore() {
		return Report{}, nil
	}
	exists, err := s.r.queue.Exists(ctx, stopTask(c))
	if err != nil || exists {
		return Report{}, err
	}
	ch, err := s.r.applyOnce(ctx, c, cases.Tick{StopLost: true})
	if err != nil {
		return Report{}, err
	}
	s.r.log.WarnContext(ctx, "lost request to cancel a job repeated", attrs(ch.after)...)
	return Report{Rescheduled: 1}, s.r.reconcile(ctx, ch, "")
}

// overdue is the report of an open run whose next task was not delivered in time.
func overdue(c cases.Case) Report {
	if hasNoNextCheck(c) {
		return Report{Overdue: 1, Leaked: 1}
	}
	return Report{Overdue: 1}
}

// hasNoNextCheck reports whether no check of an open run is scheduled: a broken promise.
func hasNoNextCheck(c cases.Case) bool { return c.Checks.NextAt.IsZero() }

// lostTasks says which of the overdue tasks of an open run the queue no longer has. The error is the
// queue's.
func (r *Reconciler) lostTasks(ctx context.Context, c cases.Case, cutoff time.Time) (cases.Tick, error) {
	var lost cases.Tick
	if c.Checks.NextAt.Before(cutoff) {
		exists, err := r.queue.Exists(ctx, checkTask(c))
		if err != nil {
			return lost, err
		}
		lost.CheckLost = !exists
	}
	if c.Dispatch.Phase == cases.PhaseQueued && c.Dispatch.At.Before(cutoff) {
		exists, err := r.queue.Exists(ctx, dispatchTask(c))
		if err != nil {
			return lost, err
		}
		lost.DispatchLost = !exists
	}
	return lost, nil
}

// hasLeakedCheck reports whether a check of an ended run is still pending: a broken promise. The check
// that made the end is none: its task pends until its delivery is answered, which takes long if saving
// does. The error is the queue's.
func (r *Reconciler) hasLeakedCheck(ctx context.Context, c cases.Case) (bool, error) {
	exists, err := r.queue.Exists(ctx, checkTask(c))
	madeEnd := c.Outcome.End.Source == cases.SourceCheck || c.Outcome.End.Source == cases.SourceDeadline
	return exists && !madeEnd, err
}
