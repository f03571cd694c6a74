package cost

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
)

// Count is what one case took.
type Count struct {
	mu sync.Mutex

	Invocations map[string]int           // by function
	Held        map[string]time.Duration // how long they took in virtual time: what they waited for

	Created, Found, Delivered, Deleted int // tasks
	Reads, Writes, Deletes             int // documents
	Calls                              int // of the store: on PostgreSQL, statements or short transactions
	Messages, MessageBytes             int // published and delivered; at least 1,000 bytes each
	LogLines, LogBytes                 int
	Sent                               int // bytes to viewers
	Stored                             int // bytes kept until the end of retention
}

func (n *Count) add(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// invoke counts an invocation and how long it is held.
func (n *Count) invoke(function string, f func()) {
	began := time.Now()
	f()
	n.add(func() {
		n.Invocations[function]++
		n.Held[function] += time.Since(began)
	})
}

// message counts a message published or delivered. Pub/Sub bills 1,000 bytes at least
// (https://cloud.google.com/pubsub/pricing).
func (n *Count) message(bytes int) {
	n.add(func() { n.Messages++; n.MessageBytes += max(bytes, 1000) })
}

// Write counts a log line: the handler writes each with one call.
func (n *Count) Write(p []byte) (int, error) {
	n.add(func() { n.LogLines++; n.LogBytes += len(p) })
	return len(p), nil
}

// documents counts a call of the store, at what it takes on Firestore.
func (n *Count) documents(reads, writes, deletes int) {
	n.add(func() { n.Calls++; n.Reads += reads; n.Writes += writes; n.Deletes += deletes })
}

// counted is the store of the world, counting.
type counted struct {
	*memory
	n *Count
}

func (s counted) Get(ctx context.Context, id string, run int) (cases.Case, error) {
	s.n.documents(1, 0, 0)
	return s.memory.Get(ctx, id, run)
}

func (s counted) Current(ctx context.Context, id string) (store.Head, cases.Case, error) {
	s.n.documents(2, 0, 0)
	return s.memory.Current(ctx, id)
}

func (s counted) Begin(ctx context.Context, b store.Begin) error {
	s.n.documents(0, 3, 2)
	return s.memory.Begin(ctx, b)
}

func (s counted) Update(ctx context.Context, w store.Write) error {
	err := s.memory.Update(ctx, w)
	if errors.Is(err, store.ErrConflict) {
		s.n.documents(1, 0, 0) // a commit that is refused writes nothing, and is followed by a read that tells why
		return err
	}
	s.n.documents(0, 1+len(w.Put), len(w.Drop))
	return err
}

func (s counted) Value(ctx context.Context, id string, run int, v store.Value) ([]byte, error) {
	s.n.documents(1, 0, 0)
	return s.memory.Value(ctx, id, run, v)
}

func (s counted) Overdue(ctx context.Context, before time.Time, after store.Cursor, limit int) ([]cases.Case, error) {
	found, err := s.memory.Overdue(ctx, before, after, limit)
	s.n.documents(len(found), 0, 0)
	return found, err
}

func (s counted) Purge(ctx context.Context, id string, run int, version int64) error {
	s.n.documents(2, 1, 5)
	return s.memory.Purge(ctx, id, run, version)
}

// DurationStats knows nothing: the case is the first of its kind. Neither it nor SaveDurationStats
// is counted: an instance reads it once a minute, and of many runs at most one in eight is learned
// from, with two reads and a write.
func (counted) DurationStats(context.Context, string) (schedule.DurationStats, error) {
	return schedule.DurationStats{}, nil
}

// SaveDurationStats keeps nothing, see DurationStats.
func (counted) SaveDurationStats(context.Context, string, schedule.DurationStats) error { return nil }

// Wait reads two documents at its beginning and each 10 s, and one at a change.
func (s counted) Wait(ctx context.Context, id string, run int, version int64) error {
	began := time.Now()
	err := s.memory.Wait(ctx, id, run, version)
	reads := 2 + 2*int(time.Since(began)/(10*time.Second))
	if err == nil {
		reads++
	}
	s.n.documents(reads, 0, 0)
	return err
}

// size is how many bytes a value takes as JSON.
func size(v any) int {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // it is made of what encodes
	}
	return len(data)
}
