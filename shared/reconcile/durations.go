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

// cachedDurations is what this instance last read of the duration statistics of each described pipeline.
// It does not grow with the number of runs.
type cachedDurations struct {
	mu         sync.Mutex
	byPipeline map[string]readDurations
}

// readDurations is what was last read of one pipeline's statistics.
type readDurations struct {
	at    time.Time // of the last try
	stats *schedule.DurationStats
}

// earlierDurations returns the duration statistics of a pipeline's earlier runs; nil if there are none. One caller
// reads them again every durationsMaxAge, by best effort. Meanwhile the others get those read before.
func (r *Reconciler) earlierDurations(ctx context.Context, pipeline string) *schedule.DurationStats {
	d := &r.durations
	d.mu.Lock()
	last, now := d.byPipeline[pipeline], r.Now()
	known := last.stats
	current := now.Sub(last.at).Abs() < durationsMaxAge
	if !current {
		d.set(pipeline, readDurations{now, known})
	}
	d.mu.Unlock()
	if current {
		return known
	}
	var read schedule.DurationStats
	err := r.bestEffort(ctx, durationsTimeout, func(ctx context.Context) (err error) {
		read, err = r.store.DurationStats(ctx, pipeline)
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
	d.set(pipeline, readDurations{now, &read})
	return &read
}

func (d *cachedDurations) set(pipeline string, read readDurations) {
	if d.byPipeline == nil {
		d.byPipeline = map[string]readDurations{}
	}
	d.byPipeline[pipeline] = read
}

// learnDuration adds an ended run to the duration statistics of its pipeline. It is tried once, by best effort, after
// everything else is done: if it fails, later runs teach the same.
func (r *Reconciler) learnDuration(ctx context.Context, c cases.Case) {
	sample, ok := c.DurationSample(r.jitter())
	if !ok {
		return
	}
	err := r.bestEffort(ctx, durationsTimeout, func(ctx context.Context) error {
		stats, err := r.store.DurationStats(ctx, r.settings(c).Name)
		if err != nil {
			return err
		}
		if next, ok := stats.With(sample, r.Now(), r.jitter()); ok {
			err = r.store.SaveDurationStats(ctx, r.settings(c).Name, next)
		}
		return err
	})
	if err != nil {
		r.log.DebugContext(ctx, "duration statistics not updated", attrs(c, slog.Any("error", err))...)
	}
}
