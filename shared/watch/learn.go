package watch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

const (
	// pastKept is for how long an instance goes by what it read of the past: it changes slowly.
	pastKept = time.Minute
	// pastPatience bounds what reading or saving it may take. Whoever has no luck goes without.
	pastPatience = time.Second
)

// remembered is what this instance last read of the past. It is of all runs, and no larger for many.
type remembered struct {
	mu   sync.Mutex
	at   time.Time
	past *cases.Past
}

// past is what is known of earlier runs; nil if nothing is. It is read again once a minute, by one caller: the others go by what was read before.
func (w *Watcher) past(ctx context.Context) *cases.Past {
	r := &w.remembered
	r.mu.Lock()
	past, now := r.past, w.now()
	fresh := now.Sub(r.at).Abs() < pastKept
	if !fresh {
		r.at = now
	}
	r.mu.Unlock()
	if fresh {
		return past
	}
	ctx, cancel := context.WithTimeout(ctx, pastPatience)
	defer cancel()
	read, err := w.Store.Past(ctx)
	if err != nil {
		w.Log.WarnContext(ctx, "what earlier runs tell could not be read", slog.Any("error", err))
		return past
	}
	if read.Version == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.past = &read
	return r.past
}

// learn adds what an ended run tells of how long runs take. It is tried once, after all else is done; what is lost is learned from another run.
func (w *Watcher) learn(ctx context.Context, c cases.Case) {
	if !c.Learns(w.Jitter()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pastPatience)
	defer cancel()
	past, err := w.Store.Past(ctx)
	if err == nil {
		if next, ok := past.With(c, w.now(), w.Jitter()); ok {
			err = w.Store.SavePast(ctx, next)
		}
	}
	if err != nil {
		w.Log.DebugContext(ctx, "a run was not learned from", attrs(c, slog.Any("error", err))...)
	}
}
