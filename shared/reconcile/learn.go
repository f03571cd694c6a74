package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
)

const (
	// statsMaxAge is for how long an instance goes by what it read of the duration statistics: they change slowly.
	statsMaxAge = time.Minute
	// statsTimeout bounds what reading or saving it may take. A run begins, or ends, without it.
	statsTimeout = time.Second
)

// remembered is what this instance last read of the duration statistics. They are of all runs, and no larger for many.
type remembered struct {
	mu    sync.Mutex
	at    time.Time
	stats *schedule.DurationStats
}

// durationStats is what is known of earlier runs; nil if nothing is. It is read again once a minute, as far as best effort goes, by one caller: the others go
// by what was read before.
func (w *Reconciler) durationStats(ctx context.Context) *schedule.DurationStats {
	r := &w.remembered
	r.mu.Lock()
	stats, now := r.stats, w.Now()
	fresh := now.Sub(r.at).Abs() < statsMaxAge
	if !fresh {
		r.at = now
	}
	r.mu.Unlock()
	if fresh {
		return stats
	}
	var read schedule.DurationStats
	err := w.bestEffort(ctx, statsTimeout, func(ctx context.Context) (err error) {
		read, err = w.store.DurationStats(ctx)
		return err
	})
	if err != nil {
		if !errors.Is(err, errLeftOut) {
			w.log.WarnContext(ctx, "what earlier runs tell could not be read", slog.Any("error", err))
		}
		return stats
	}
	if read.Version == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats = &read
	return r.stats
}

// learn adds what an ended run tells of how long runs take. It is tried once, as far as best effort goes, after all else is done; what is lost is
// learned from another run.
func (w *Reconciler) learn(ctx context.Context, c cases.Case) {
	sample, ok := c.DurationSample(w.jitter())
	if !ok {
		return
	}
	err := w.bestEffort(ctx, statsTimeout, func(ctx context.Context) error {
		stats, err := w.store.DurationStats(ctx)
		if err != nil {
			return err
		}
		if next, ok := stats.With(sample, w.Now(), w.jitter()); ok {
			err = w.store.SaveDurationStats(ctx, next)
		}
		return err
	})
	if err != nil {
		w.log.DebugContext(ctx, "a run was not learned from", attrs(c, slog.Any("error", err))...)
	}
}
