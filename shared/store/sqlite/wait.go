package sqlite

import (
	"context"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/store"
)

// How often a waiter looks for writes of other processes: soon at first, then more rarely. A look reads two rows by key.
const (
	firstLook = 250 * time.Millisecond
	laterLook = time.Second
)

// waiters are those who wait for a case in this process.
type waiters struct {
	firstLook time.Duration

	mu    sync.Mutex
	cases map[string]*audience
}

// audience waits for one case.
type audience struct {
	news    chan struct{} // closed at the next write
	waiting int
}

// join begins to wait for the case; who joined leaves again.
func (w *waiters) join(caseID string) *audience {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.cases[caseID]
	if a == nil {
		if w.cases == nil {
			w.cases = map[string]*audience{}
		}
		a = &audience{news: make(chan struct{})}
		w.cases[caseID] = a
	}
	a.waiting++
	return a
}

func (w *waiters) leave(caseID string, a *audience) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.waiting--; a.waiting == 0 {
		delete(w.cases, caseID)
	}
}

// news is closed at the next write from now.
func (w *waiters) news(a *audience) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a.news
}

// wake tells those who wait for the case to look again.
func (w *waiters) wake(caseID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.cases[caseID]; a != nil {
		close(a.news)
		a.news = make(chan struct{})
	}
}

// Wait implements [store.Store].
func (s *Store) Wait(ctx context.Context, caseID string, run int, version int64) error {
	a := s.waiters.join(caseID)
	defer s.waiters.leave(caseID, a)
	pause := s.waiters.firstLook
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		news := s.waiters.news(a) // before the look, so that no write falls between
		newer, err := s.newer(ctx, caseID, run, version)
		if err != nil || newer {
			return readErr(ctx, err, "waiting for %q run %d", caseID, run)
		}
		select {
		case <-ctx.Done():
			return readErr(ctx, ctx.Err(), "waiting for %q run %d", caseID, run)
		case <-news:
		case <-timer.C:
			pause = min(2*pause, laterLook)
			timer.Reset(pause)
		}
	}
}

// newer reports whether there is something newer than that version of the run.
func (s *Store) newer(ctx context.Context, caseID string, run int, version int64) (bool, error) {
	var at store.Head
	err := s.reads.versions.QueryRowContext(ctx, caseID, run).Scan(&at.Version, &at.Run)
	return at.Version > version || at.Run > run, err
}
