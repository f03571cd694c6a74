// Package overload keeps an instance from making a slow service slower. [BestEffort] admits calls
// that only improve something. [Limit] bounds the calls in flight. [Retries] bounds how many failed
// calls are repeated. None of them has a goroutine, a lasting timer or any data of a case.
package overload

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// BestEffort is the budget of one instance for calls that may be left out. It admits a few at a
// time, and none for a while after a failure. It rejects the others immediately: they do not wait.
// It is safe for concurrent use. The fields must be set before the first use.
type BestEffort struct {
	Now    func() time.Time // the clock
	AtOnce int              // the maximum of calls in flight
	Pause  time.Duration    // how long no call begins after a failure

	mu       sync.Mutex
	inFlight int
	failedAt time.Time
	probing  bool // no call has succeeded since a pause: one call at a time
}

// Outcome is how a call ended.
type Outcome int

// The outcomes of a call.
const (
	Succeeded Outcome = iota // the service responded in time
	Failed                   // the service did not respond in time
	Abandoned                // the caller left, which says nothing about the service
)

// Begin reports whether a call may begin. If so, the caller must call end once, after the call.
func (b *BestEffort) Begin() (end func(Outcome), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := b.AtOnce
	if b.probing {
		limit = 1
	}
	if b.paused() || b.inFlight >= limit {
		return nil, false
	}
	b.inFlight++
	return b.end, true
}

// paused reports whether a pause is in progress. A pause is never longer than Pause, even if the
// clock jumps.
func (b *BestEffort) paused() bool {
	return !b.failedAt.IsZero() && b.Now().Sub(b.failedAt).Abs() < b.Pause
}

func (b *BestEffort) end(o Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight--
	switch {
	case o == Failed:
		b.failedAt, b.probing = b.Now(), true
	case o == Succeeded && !b.paused(): // a call that began before the failure does not end the pause
		b.failedAt, b.probing = time.Time{}, false
	}
}

// ErrSlow means that a call was not made, because the service is slow and this instance already has
// as many calls in flight as the limit allows.
var ErrSlow = errors.New("the service is slow and too many calls are in flight")

// Limit bounds how many calls of one instance are in flight. The limit follows the service: a
// failure halves it, and a success adds one, up to Max. If a service stops responding, each
// instance soon has one call in flight, so that no calls pile up at the service. When it responds
// again, the limit doubles with each round of calls.
//
// A call over the limit waits for at most Patience. Calls with priority are admitted first. Limit
// is safe for concurrent use. The fields must be set before the first use.
type Limit struct {
	Max      int
	Patience time.Duration

	mu       sync.Mutex
	lost     int // Max minus the current limit
	inFlight int
	waiting  [2][]chan struct{} // calls with priority, and the others; closed on admission
}

// Begin waits until a call may begin. first gives it priority. If the error is nil, the caller must
// call end once, after the call. The error is ErrSlow or that of ctx.
func (l *Limit) Begin(ctx context.Context, first bool) (end func(Outcome), err error) {
	admitted, ok := l.join(first)
	if ok {
		return l.end, nil
	}
	timer := time.NewTimer(l.Patience)
	defer timer.Stop()
	select {
	case <-admitted:
		return l.end, nil
	case <-timer.C:
		err = ErrSlow
	case <-ctx.Done():
		err = ctx.Err()
	}
	if !l.leave(admitted, first) { // it was admitted at this moment
		l.end(Abandoned)
	}
	return nil, err
}

func (l *Limit) join(first bool) (admitted chan struct{}, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight < l.Max-l.lost {
		l.inFlight++
		return nil, true
	}
	admitted = make(chan struct{})
	q := l.queue(first)
	*q = append(*q, admitted)
	return admitted, false
}

func (l *Limit) queue(first bool) *[]chan struct{} {
	if first {
		return &l.waiting[0]
	}
	return &l.waiting[1]
}

// leave removes a caller from its queue. It returns false if the caller was already admitted.
func (l *Limit) leave(admitted chan struct{}, first bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queue(first)
	i := slices.Index(*q, admitted)
	if i < 0 {
		return false
	}
	*q = slices.Delete(*q, i, i+1)
	return true
}

func (l *Limit) end(o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	switch o {
	case Succeeded:
		l.lost = max(0, l.lost-1)
	case Failed:
		l.lost = l.Max - max(1, (l.Max-l.lost)/2)
	}
	for i := range l.waiting {
		for l.inFlight < l.Max-l.lost && len(l.waiting[i]) > 0 {
			close(l.waiting[i][0])
			l.waiting[i] = slices.Delete(l.waiting[i], 0, 1)
			l.inFlight++
		}
	}
}

// Retries is the budget of one instance for repeating failed calls. It works like gRPC's retry
// throttling
// (https://github.com/grpc/proposal/blob/master/A6-client-retries.md).
// Each failure takes a token, and each success returns a tenth of a token. A call is repeated only
// while more than half of the tokens are left. In the long run about one call in ten is repeated. A
// service that does not respond gets each call once. The zero Retries is full. It is safe for
// concurrent use.
//
// gRPC's own throttling does not suffice, because it counts only gRPC's own retries. gRPC retries
// neither an attempt that timed out nor a stream that broke after its first message.
type Retries struct {
	mu    sync.Mutex
	taken float64 // in tokens
}

const (
	// retryTokens is the size of the budget. Half of it covers the loss of a connection that
	// carries 50 calls: all of them are repeated.
	retryTokens = 100
	// retryRatio is how many tokens a success returns.
	retryRatio = 0.1
)

// Succeeded records a call that got a response, even an error response.
func (r *Retries) Succeeded() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = max(0, r.taken-retryRatio)
}

// Failed records a call that failed, and reports whether it may be repeated.
func (r *Retries) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = min(retryTokens, r.taken+1)
	return r.taken < retryTokens/2
}
