// Package waiters holds who waits for which case within one process, and tells them to look again. It holds nothing for a case
// that nobody waits for, and begins no goroutine: who waits does so in its own request.
package waiters

import (
	"context"
	"sync"
	"time"
)

// Waiters are those who wait. The zero value is ready; its methods are safe for concurrent use.
type Waiters struct {
	mu    sync.Mutex
	cases map[string]*audience
}

// audience waits for one case.
type audience struct {
	news    chan struct{} // closed at the next news
	waiting int
}

// Pauses says how often a waiter looks without having been told: after First, then after twice as long each time, up to Later.
type Pauses struct{ First, Later time.Duration }

// Wait looks at once, and again whenever there is news of the case or a pause is over, until look reports true or fails, or ctx
// ends. Between two looks it calls idle, which returns when news is closed, its context ends, or earlier.
// It reports whether nobody is waiting any more, for any case.
func (w *Waiters) Wait(ctx context.Context, caseID string, p Pauses, look func() (bool, error),
	idle func(ctx context.Context, news <-chan struct{})) (last bool, err error) {
	a := w.join(caseID)
	defer func() { last = w.leave(caseID, a) }()
	for pause := p.First; ; {
		news := w.news(a) // before the look, so that no write falls between
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

// Rest idles without doing anything.
func Rest(ctx context.Context, news <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-news:
	}
}

// Wake tells those who wait for the case to look again.
func (w *Waiters) Wake(caseID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.cases[caseID]; a != nil {
		a.wake()
	}
}

// WakeAll tells everybody to look again.
func (w *Waiters) WakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.cases {
		a.wake()
	}
}

// Count returns how many wait, and for how many cases.
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

// news is closed at the next news from now.
func (w *Waiters) news(a *audience) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a.news
}

func (a *audience) wake() {
	close(a.news)
	a.news = make(chan struct{})
}
