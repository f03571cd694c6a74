package status

import (
	"sync"
	"time"
)

const (
	// maxHeld is how many requests about one case, streams and long polls, an instance holds at the same time. An instance serves a
	// bounded number of requests: one case must not take all of them.
	maxHeld = 32
	// comeBackIn is when somebody is to come back who was not held for that.
	comeBackIn = 5 * time.Second
)

// held counts the requests that are held, by their case. The zero value is ready, and safe for concurrent use.
type held struct {
	mu sync.Mutex
	n  map[string]int
}

// take reports whether one more request about a case may be held. If so, release has to follow.
func (h *held) take(caseID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n[caseID] == maxHeld {
		return false
	}
	if h.n == nil {
		h.n = map[string]int{}
	}
	h.n[caseID]++
	return true
}

func (h *held) release(caseID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n[caseID]--; h.n[caseID] == 0 {
		delete(h.n, caseID)
	}
}
