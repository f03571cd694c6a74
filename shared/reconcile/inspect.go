package reconcile

import (
	"context"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

const (
	// maxInspected bounds the records that one inspection reads, maxQuestions the tasks that it asks the queue for. In health there are next to none.
	maxInspected = 1000
	maxQuestions = 50
)

// Health is what a sweep would find now. In health everything but Open is 0, and nothing is said of the oldest.
type Health struct {
	Open        int `json:"open"`        // runs that have not ended
	Overdue     int `json:"overdue"`     // open runs whose wake-up has not come
	Leaked      int `json:"leaked"`      // broken promises, as [Reconciler.Sweep] counts them
	Unpublished int `json:"unpublished"` // ends that are recorded and not told, beyond the time that this takes
	// OldestOverdue is since when the open run is overdue that has been for longest.
	OldestOverdue *time.Time `json:"oldest_overdue"`
	// Partial says that there is more than was looked at, or that the queue could not be asked: the numbers are the least.
	Partial bool `json:"partial"`
}

// Inspect looks at what is overdue, as [Reconciler.Sweep] does, and changes nothing. It reads at most 1,000 records and asks for at most 50 tasks.
//
// The error is Unavailable: the store cannot be used.
func (w *Reconciler) Inspect(ctx context.Context) (Health, error) {
	i := inspection{w: w, before: w.overdueBefore()}
	var cursor store.Cursor
	for seen := 0; ; {
		page, err := w.store.Overdue(ctx, i.before, cursor, sweepPage)
		if err != nil {
			return Health{}, w.storeFault(err)
		}
		for _, c := range page {
			cursor = store.Cursor{OverdueAt: c.Bookkeeping.OverdueAt, CaseID: c.CaseID, Run: c.Run}
			i.look(ctx, c)
		}
		if len(page) < sweepPage {
			break
		}
		if seen += len(page); seen >= maxInspected || w.endsSoon(ctx) {
			i.found.Partial = true
			break
		}
	}
	var err error
	if i.found.Open, err = w.store.CountOpen(ctx); err != nil {
		return Health{}, w.storeFault(err)
	}
	return i.found, nil
}

// inspection is one inspection under way.
type inspection struct {
	w         *Reconciler
	before    time.Time
	found     Health
	questions int
}

func (i *inspection) look(ctx context.Context, c cases.Case) {
	switch i.w.find(c, i.before) {
	case cases.FindingDeadline, cases.FindingCheckLate:
		i.overdue(c)
	case cases.FindingDispatchLate: // one that waits its turn is not overdue; a lost one is
		i.ask(ctx, c, func() error {
			tick, err := i.w.lost(ctx, c, i.before)
			if tick.DispatchLost {
				i.overdue(c)
			}
			return err
		})
	case cases.FindingNotFinalized:
		i.found.Unpublished++
		i.ask(ctx, c, func() error {
			exists, err := i.w.queue.Exists(ctx, checkTask(c))
			if exists && !endedByCheck(c) {
				i.found.Leaked++
			}
			return err
		})
	case cases.FindingPolledAfterEnd:
		i.found.Leaked += c.Bookkeeping.PolledAfterEnd
	}
}

func (i *inspection) overdue(c cases.Case) {
	i.found.Overdue++
	if unscheduled(c) {
		i.found.Leaked++
	}
	if since := c.Bookkeeping.OverdueAt; i.found.OldestOverdue == nil && !since.IsZero() { // they come in this order
		i.found.OldestOverdue = &since
	}
}

// ask asks the queue something, unless it was asked enough or failed.
func (i *inspection) ask(ctx context.Context, c cases.Case, question func() error) {
	if i.questions >= maxQuestions {
		i.found.Partial = true
		return
	}
	i.questions++
	if err := question(); err != nil {
		i.found.Partial, i.questions = true, maxQuestions
		i.w.log.WarnContext(ctx, "the queue could not be asked for a task", attrs(c, slog.Any("error", err))...)
	}
}
