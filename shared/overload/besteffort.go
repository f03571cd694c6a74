// Package overload keeps an instance from making a slow service slower. [BestEffort] admits calls that only improve something, and [Retries]
// bounds how many failed calls are repeated. Neither has a goroutine or a timer, and neither holds anything of a case.
package overload

import (
	"sync"
	"time"
)

// BestEffort is the budget of one instance for calls that can be left out. It admits a few at a time, and none for a while after one failed. The
// others are left out at once: they do not queue. It is safe for concurrent use. Its fields are set before the first use.
type BestEffort struct {
	Now    func() time.Time // the clock
	AtOnce int              // how many calls may be under way
	Pause  time.Duration    // for how long none begins after one failed

	mu       sync.Mutex
	underWay int
	failedAt time.Time
	probing  bool // a call failed, and none has succeeded since the pause: one at a time
}

// Outcome is how a call ended.
type Outcome int

// The outcomes of a call.
const (
	Succeeded Outcome = iota // the service answered, in time
	Failed                   // it did not
	Abandoned                // its caller left: it tells nothing of the service
)

// Begin reports whether a call may begin. If so, end has to be called once, when the call is over.
func (b *BestEffort) Begin() (end func(Outcome), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := b.AtOnce
	if b.probing {
		limit = 1
	}
	if b.paused() || b.underWay >= limit {
		return nil, false
	}
	b.underWay++
	return b.end, true
}

// paused works with a clock that jumps: it lasts no longer than Pause, in either direction.
func (b *BestEffort) paused() bool {
	return !b.failedAt.IsZero() && b.Now().Sub(b.failedAt).Abs() < b.Pause
}

func (b *BestEffort) end(o Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.underWay--
	switch {
	case o == Failed:
		b.failedAt, b.probing = b.Now(), true
	case o == Succeeded && !b.paused(): // one that began before the failure does not end the pause
		b.failedAt, b.probing = time.Time{}, false
	}
}
