package watch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

const (
	// pastKept is for how long an instance goes by what it read of the past: it changes slowly.
	pastKept = time.Minute
	// pastTimeout bounds what reading or saving it may take. A run begins, or ends, without it.
	pastTimeout = time.Second
)

// remembered is what this instance last read of the past. It is of all runs, and no larger for many.
type remembered struct {
	mu   sync.Mutex
	at   time.Time
	past *cases.Past
}

// past is what is known of earlier runs; nil if nothing is. It is read again once a minute, as far as best effort goes, by one caller: the others go
// by what was read before.
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
	var read cases.Past
	err := w.bestEffort(ctx, pastTimeout, func(ctx context.Context) (err error) {
		read, err = w.Store.Past(ctx)
		return err
	})
	if err != nil {
		if !errors.Is(err, errLeftOut) {
			w.Log.WarnContext(ctx, "what earlier runs tell could not be read", slog.Any("error", err))
		}
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

// learn adds what an ended run tells of how long runs take. It is tried once, as far as best effort goes, after all else is done; what is lost is
// learned from another run.
func (w *Watcher) learn(ctx context.Context, c cases.Case) {
	if !c.Learns(w.Jitter()) {
		return
	}
	err := w.bestEffort(ctx, pastTimeout, func(ctx context.Context) error {
		past, err := w.Store.Past(ctx)
		if err != nil {
			return err
		}
		if next, ok := past.With(c, w.now(), w.Jitter()); ok {
			err = w.Store.SavePast(ctx, next)
		}
		return err
	})
	if err != nil {
		w.Log.DebugContext(ctx, "a run was not learned from", attrs(c, slog.Any("error", err))...)
	}
}
