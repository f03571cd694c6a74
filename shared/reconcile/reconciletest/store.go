package reconciletest

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

// Store is a real store whose calls can be made to fail, but those of the embedded [store.Store]. It
// says who waits.
type Store struct {
	store.Store
	Faults

	mu       sync.Mutex
	nextWait chan struct{}
	waiting  int
	waited   int
}

// NewStore returns a store in a file of its own, which is closed when the test ends.
func NewStore(t testing.TB) *Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), store.Options{Location: filepath.Join(t.TempDir(), "cases.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Store{Store: s}
}

// NextWait returns a channel that is closed when the next Wait begins.
func (s *Store) NextWait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextWait = make(chan struct{})
	return s.nextWait
}

// Waits returns how many calls of Wait are under way, and how many there were.
func (s *Store) Waits() (now, ever int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting, s.waited
}

// Wait implements [store.Store].
func (s *Store) Wait(ctx context.Context, caseID string, run int, version int64) error {
	return s.do("Wait", func() error {
		s.beginWait()
		defer s.endWait()
		return s.Store.Wait(ctx, caseID, run, version)
	})
}

func (s *Store) beginWait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting++
	s.waited++
	if s.nextWait != nil {
		close(s.nextWait)
		s.nextWait = nil
	}
}

func (s *Store) endWait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, caseID string, run int) (cases.Case, error) {
	return call(&s.Faults, "Get", func() (cases.Case, error) { return s.Store.Get(ctx, caseID, run) })
}

// Current implements [store.Store].
func (s *Store) Current(ctx context.Context, caseID string) (head store.Head, c cases.Case, err error) {
	err = s.do("Current", func() (err error) {
		head, c, err = s.Store.Current(ctx, caseID)
		return err
	})
	return head, c, err
}

// Begin implements [store.Store].
func (s *Store) Begin(ctx context.Context, b store.Begin) error {
	return s.do("Begin", func() error { return s.Store.Begin(ctx, b) })
}

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, w store.Write) error {
	return s.do("Update", func() error { return s.Store.Update(ctx, w) })
}

// Value implements [store.Store].
func (s *Store) Value(ctx context.Context, caseID string, run int, v store.Value) ([]byte, error) {
	return call(&s.Faults, "Value", func() ([]byte, error) { return s.Store.Value(ctx, caseID, run, v) })
}

// Overdue implements [store.Store].
func (s *Store) Overdue(ctx context.Context, before time.Time, after store.Cursor, limit int) ([]cases.Case, error) {
	return call(&s.Faults, "Overdue", func() ([]cases.Case, error) {
		return s.Store.Overdue(ctx, before, after, limit)
	})
}

// CountOpen implements [store.Store].
func (s *Store) CountOpen(ctx context.Context) (int, error) {
	return call(&s.Faults, "CountOpen", func() (int, error) { return s.Store.CountOpen(ctx) })
}

// CountByState implements [store.Store].
func (s *Store) CountByState(ctx context.Context) (map[cases.State]int, error) {
	return call(&s.Faults, "CountByState", func() (map[cases.State]int, error) { return s.Store.CountByState(ctx) })
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, f store.Filter, after store.Place, limit int) ([]cases.Case, error) {
	return call(&s.Faults, "List", func() ([]cases.Case, error) { return s.Store.List(ctx, f, after, limit) })
}

// Purge implements [store.Store].
func (s *Store) Purge(ctx context.Context, caseID string, run int, version int64) error {
	return s.do("Purge", func() error { return s.Store.Purge(ctx, caseID, run, version) })
}

// DurationStats implements [store.Store].
func (s *Store) DurationStats(ctx context.Context, pipeline string) (schedule.DurationStats, error) {
	return call(&s.Faults, "DurationStats", func() (schedule.DurationStats, error) {
		return s.Store.DurationStats(ctx, pipeline)
	})
}

// SaveDurationStats implements [store.Store].
func (s *Store) SaveDurationStats(ctx context.Context, pipeline string, stats schedule.DurationStats) error {
	return s.do("SaveDurationStats", func() error { return s.Store.SaveDurationStats(ctx, pipeline, stats) })
}
