// Package waiters keeps the waiters of one process by case, and wakes them to look again. It keeps
// nothing for a case without waiters and starts no goroutine: a waiter waits in its own request.
package waiters

import (
	"context"
	"sync"
	"time"
)

// Waiters are the waiters of a process. The zero value is ready to use. The methods are safe for
// concurrent use.
type Waiters struct {
	mu    sync.Mutex
	cases map[string]*audience
}

// audience is the waiters of one case.
type audience struct {
	news    chan struct{} // closed by the next wake
	waiting int
}

// Pauses is how long a waiter waits before it looks without having been woken: First, then twice as
// long each time, up to Later.
type Pauses struct{ First, Later time.Duration }

// Wait calls look immediately, and again after every wake of the case and every pause, until look
// returns true or an error, or ctx ends. Between two looks it calls idle, which must return when
// news is closed or its context ends, and may return earlier. last reports whether no waiter of any
// case is left.
func (w *Waiters) Wait(ctx context.Context, caseID string, p Pauses, look func() (bool, error),
	idle func(ctx context.Context, news <-chan struct{})) (last bool, err error) {
	a := w.join(caseID)
	defer func() { last = w.leave(caseID, a) }()
	for pause := p.First; ; {
		news := w.news(a) // before the look, so that no write is missed
		if found, err := look(); found || err != nil {
			return false, err
		}
		resting, cancel := context.WithTimeout(ctx, pause)
		idle(resting, news)
		if resting.Err() != nil {
			pause = min(2*pause, p.Later)
		}
		cancel()
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
}

// Rest is an idle function that only waits.
func Rest(ctx context.Context, news <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-news:
	}
}

// Wake wakes the waiters of the case.
func (w *Waiters) Wake(caseID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.cases[caseID]; a != nil {
		a.wake()
	}
}

// WakeAll wakes all waiters.
func (w *Waiters) WakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.cases {
		a.wake()
	}
}

// Count returns the number of waiters and of cases that they wait for.
func (w *Waiters) Count() (waiting, cases int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.cases {
		waiting += a.waiting
	}
	return waiting, len(w.cases)
}

func (w *Waiters) join(caseID string) *audience {
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

func (w *Waiters) leave(caseID string, a *audience) (last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.waiting--; a.waiting == 0 {
		delete(w.cases, caseID)
	}
	return len(w.cases) == 0
}

// news returns a channel that the next wake closes.
func (w *Waiters) news(a *audience) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a.news
}

func (a *audience) wake() {
	close(a.news)
	a.news = make(chan struct{})
}
