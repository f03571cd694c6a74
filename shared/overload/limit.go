package overload

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrSlow says that a call was not made: the service is slow, and as many calls of this instance are under way as it answers.
var ErrSlow = errors.New("too many calls are under way for how slow the answers are")

// Limit bounds how many calls of one instance are under way at the same time. It follows the service: a call that failed halves the limit, one that
// succeeded adds one, up to Max. So of a service that answers nothing each instance soon asks one thing at a time, whoever calls, and what it
// could not answer does not pile up there; once it answers, the limit doubles with each round of calls.
//
// A call over the limit waits for its turn, for at most Patience. Those that are to go first do so. It is safe for concurrent use; its fields are set
// before the first use.
type Limit struct {
	Max      int
	Patience time.Duration

	mu       sync.Mutex
	lost     int // how far the limit is below Max
	underWay int
	waiting  [2][]chan struct{} // closed when it is one's turn: of those who go first, and of the others
}

// Begin waits until a call may begin. Then end has to be called once, when the call is over. The error is ErrSlow, or that of ctx.
func (l *Limit) Begin(ctx context.Context, first bool) (end func(Outcome), err error) {
	turn, ok := l.join(first)
	if ok {
		return l.end, nil
	}
	timer := time.NewTimer(l.Patience)
	defer timer.Stop()
	select {
	case <-turn:
		return l.end, nil
	case <-timer.C:
		err = ErrSlow
	case <-ctx.Done():
		err = ctx.Err()
	}
	if !l.leave(turn, first) { // its turn has come in this moment
		l.end(Abandoned)
	}
	return nil, err
}

func (l *Limit) join(first bool) (turn chan struct{}, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.underWay < l.Max-l.lost {
		l.underWay++
		return nil, true
	}
	turn = make(chan struct{})
	q := l.queue(first)
	*q = append(*q, turn)
	return turn, false
}

func (l *Limit) queue(first bool) *[]chan struct{} {
	if first {
		return &l.waiting[0]
	}
	return &l.waiting[1]
}

// leave takes a caller out of its queue. It reports false if the caller's turn has come.
func (l *Limit) leave(turn chan struct{}, first bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queue(first)
	i := slices.Index(*q, turn)
	if i < 0 {
		return false
	}
	*q = slices.Delete(*q, i, i+1)
	return true
}

func (l *Limit) end(o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay--
	switch o {
	case Succeeded:
		l.lost = max(0, l.lost-1)
	case Failed:
		l.lost = l.Max - max(1, (l.Max-l.lost)/2)
	}
	for i := range l.waiting {
		for l.underWay < l.Max-l.lost && len(l.waiting[i]) > 0 {
			close(l.waiting[i][0])
			l.waiting[i] = slices.Delete(l.waiting[i], 0, 1)
			l.underWay++
		}
	}
}
