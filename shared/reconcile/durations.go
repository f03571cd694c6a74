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
	// durationsMaxAge is how long an instance uses the duration statistics that it read last. They
	// change slowly.
	durationsMaxAge = time.Minute
	// durationsTimeout bounds a read or save of them. Runs begin and end without them.
	durationsTimeout = time.Second
)

// cachedDurations is what this instance last read of the duration statistics of all runs. It does not
// grow with their number.
type cachedDurations struct {
	mu     sync.Mutex
	readAt time.Time // of the last try
	stats  *schedule.DurationStats
}

// earlierDurations returns the duration statistics of earlier runs; nil if there are none. One caller
// reads them again every durationsMaxAge, by best effort. Meanwhile the others get those read before.
func (r *Reconciler) earlierDurations(ctx context.Context) *schedule.DurationStats {
	d := &r.durations
	d.mu.Lock()
	known, now := d.stats, r.Now()
	current := now.Sub(d.readAt).Abs() < durationsMaxAge
	if !current {
		d.readAt = now
	}
	d.mu.Unlock()
	if current {
		return known
	}
	var read schedule.DurationStats
	err := r.bestEffort(ctx, durationsTimeout, func(ctx context.Context) (err error) {
		read, err = r.store.DurationStats(ctx)
		return err
	})
	if err != nil {
		if !errors.Is(err, errSkipped) {
			r.log.WarnContext(ctx, "duration statistics not read", slog.Any("error", err))
		}
		return known
	}
	if read.Version == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats = &read
	return d.stats
}

// learnDuration adds an ended run to the duration statistics. It is tried once, by best effort, after
// everything else is done: if it fails, later runs teach the same.
func (r *Reconciler) learnDuration(ctx context.Context, c cases.Case) {
	sample, ok := c.DurationSample(r.jitter())
	if !ok {
		return
	}
	err := r.bestEffort(ctx, durationsTimeout, func(ctx context.Context) error {
		stats, err := r.store.DurationStats(ctx)
		if err != nil {
			return err
		}
		if next, ok := stats.With(sample, r.Now(), r.jitter()); ok {
			err = r.store.SaveDurationStats(ctx, next)
		}
		return err
	})
	if err != nil {
		r.log.DebugContext(ctx, "duration statistics not updated", attrs(c, slog.Any("error", err))...)
	}
}
