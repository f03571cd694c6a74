package reconcile

import (
	"context"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

const (
	// maxInspected bounds how many records an inspection reads, and maxLookups how many tasks it asks the
	// queue for. In health there are next to none.
	maxInspected = 1000
	maxLookups   = 50
)

// Health says what a sweep would find now. In health everything but Open is 0, and OldestOverdue nil.
type Health struct {
	Open        int `json:"open"`        // runs that have not ended
	Overdue     int `json:"overdue"`     // open runs whose next task was not delivered in time
	Leaked      int `json:"leaked"`      // broken promises, as [Reconciler.Sweep] counts them
	Unpublished int `json:"unpublished"` // ended runs that are not finalized, beyond the time that it takes
	// OldestOverdue is since when the run is overdue that has been overdue for longest.
	OldestOverdue *time.Time `json:"oldest_overdue"`
	// Partial says that there are more records than were read, or that the queue could not be asked: the
	// numbers are minimums.
	Partial bool `json:"partial"`
}

// Inspect finds what a sweep would find, and changes nothing. It reads at most 1,000 records and asks
// the queue for at most 50 tasks.
//
// The error is Unavailable: the store cannot be used.
func (r *Reconciler) Inspect(ctx context.Context) (Health, error) {
	i := inspection{r: r, cutoff: r.overdueCutoff()}
	var cursor store.Cursor
	for seen := 0; ; {
		page, err := r.store.Overdue(ctx, i.cutoff, cursor, sweepPage)
		if err != nil {
			return Health{}, storeProblem(err)
		}
		for _, c := range page {
			i.inspect(ctx, c)
		}
		if len(page) < sweepPage {
			break
		}
		cursor = cursorOf(page[len(page)-1])
		if seen += len(page); seen >= maxInspected || endsSoon(ctx) {
			i.health.Partial = true
			break
		}
	}
	var err error
	if i.health.Open, err = r.store.CountOpen(ctx); err != nil {
		return Health{}, storeProblem(err)
	}
	return i.health, nil
}

// inspection is one inspection under way.
type inspection struct {
	r       *Reconciler
	cutoff  time.Time
	health  Health
	lookups int
}

// inspect counts what an overdue record shows.
func (i *inspection) inspect(ctx context.Context, c cases.Case) {
	switch i.r.Rules(c).Finding(c, i.r.Now(), i.cutoff) {
	case cases.FindingDeadline, cases.FindingCheckLate:
		i.addOverdue(c)
	case cases.FindingDispatchLate: // one that waits its turn is not overdue; a lost one is
		i.lookUp(ctx, c, func() error {
			lost, err := i.r.lostTasks(ctx, c, i.cutoff)
			if lost.DispatchLost {
				i.addOverdue(c)
			}
			return err
		})
	case cases.FindingNotFinalized:
		i.health.Unpublished++
		i.lookUp(ctx, c, func() error {
			leaked, err := i.r.hasLeakedCheck(ctx, c)
			if leaked {
				i.health.Leaked++
			}
			return err
		})
	case cases.FindingPolledAfterEnd:
		i.health.Leaked += c.Bookkeeping.PolledAfterEnd
	}
}

// addOverdue counts an overdue run. The records come in the order of their OverdueAt.
func (i *inspection) addOverdue(c cases.Case) {
	i.health.Overdue++
	if hasNoNextCheck(c) {
		i.health.Leaked++
	}
	if since := c.Bookkeeping.OverdueAt; i.health.OldestOverdue == nil && !since.IsZero() {
		i.health.OldestOverdue = &since
	}
}

// lookUp looks for a task of a run by f, unless maxLookups are done or one has failed.
func (i *inspection) lookUp(ctx context.Context, c cases.Case, f func() error) {
	if i.lookups >= maxLookups {
		i.health.Partial = true
		return
	}
	i.lookups++
	if err := f(); err != nil {
		i.health.Partial, i.lookups = true, maxLookups
		i.r.log.WarnContext(ctx, "the queue could not be asked for a task", attrs(c, slog.Any("error", err))...)
	}
}
