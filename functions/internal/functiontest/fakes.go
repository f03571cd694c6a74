package functiontest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

var errDown = errors.New("functiontest: down, with a secret detail of SQL")

// outage makes the calls of a fake fail while it is down.
type outage struct {
	mu   sync.Mutex
	down bool
}

// SetDown sets whether every call fails.
func (o *outage) SetDown(down bool) { o.mu.Lock(); defer o.mu.Unlock(); o.down = down }

func (o *outage) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return errDown
	}
	return nil
}

// Store is a real store that can be down and that counts the calls of Wait.
type Store struct {
	store.Store
	outage

	waits   sync.Mutex
	began   chan struct{}
	waiting int
	waited  int
}

// NextWait returns a channel that is closed when the next Wait begins.
func (s *Store) NextWait() <-chan struct{} {
	s.waits.Lock()
	defer s.waits.Unlock()
	s.began = make(chan struct{})
	return s.began
}

// Waits returns how many calls of Wait are in flight, and how many there were in total.
func (s *Store) Waits() (now, ever int) {
	s.waits.Lock()
	defer s.waits.Unlock()
	return s.waiting, s.waited
}

// Wait implements [store.Store].
func (s *Store) Wait(ctx context.Context, caseID string, run int, version int64) error {
	if err := s.err(); err != nil {
		return err
	}
	s.count(1)
	defer s.count(-1)
	return s.Store.Wait(ctx, caseID, run, version)
}

func (s *Store) count(change int) {
	s.waits.Lock()
	defer s.waits.Unlock()
	s.waiting += change
	if change < 0 {
		return
	}
	s.waited++
	if s.began != nil {
		close(s.began)
		s.began = nil
	}
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, caseID string, run int) (cases.Case, error) {
	if err := s.err(); err != nil {
		return cases.Case{}, err
	}
	return s.Store.Get(ctx, caseID, run)
}

// Current implements [store.Store].
func (s *Store) Current(ctx context.Context, caseID string) (store.Head, cases.Case, error) {
	if err := s.err(); err != nil {
		return store.Head{}, cases.Case{}, err
	}
	return s.Store.Current(ctx, caseID)
}

// Overdue implements [store.Store].
func (s *Store) Overdue(ctx context.Context, before time.Time, after store.Cursor, limit int) ([]cases.Case, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.Overdue(ctx, before, after, limit)
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, f store.Filter, after store.Place, limit int) ([]cases.Case, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, f, after, limit)
}

// Queue keeps tasks in memory and delivers none.
type Queue struct {
	outage
	mu      sync.Mutex
	tasks   map[string]queue.Task
	deleted []queue.Task
}

// Tasks returns all tasks that were ever created.
func (q *Queue) Tasks() []queue.Task {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Collect(maps.Values(q.tasks))
}

// Deleted returns the tasks that Delete was called with.
func (q *Queue) Deleted() []queue.Task {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.deleted)
}

// Create implements [queue.Queue].
func (q *Queue) Create(_ context.Context, t queue.Task) (bool, error) {
	if err := q.err(); err != nil {
		return false, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	_, taken := q.tasks[t.Name()]
	q.tasks[t.Name()] = t
	return !taken, nil
}

// Delete implements [queue.Queue].
func (q *Queue) Delete(_ context.Context, t queue.Task) error {
	if err := q.err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deleted = append(q.deleted, t)
	return nil
}

// Exists implements [queue.Queue]. A task exists until it is deleted.
func (q *Queue) Exists(_ context.Context, t queue.Task) (bool, error) {
	if err := q.err(); err != nil {
		return false, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.tasks[t.Name()]
	deleted := slices.ContainsFunc(q.deleted, func(d queue.Task) bool { return d.Name() == t.Name() })
	return ok && !deleted, nil
}

// Invalid is a message that was forwarded as invalid.
type Invalid struct {
	Data       string
	Attributes map[string]string
	Why        string
}

// Topic keeps the published messages in memory.
type Topic struct {
	outage
	mu      sync.Mutex
	ended   []cases.View
	invalid []Invalid
}

// Ended returns the ended events.
func (p *Topic) Ended() []cases.View { p.mu.Lock(); defer p.mu.Unlock(); return slices.Clone(p.ended) }

// Invalid returns the messages that were forwarded as invalid.
func (p *Topic) Invalid() []Invalid { p.mu.Lock(); defer p.mu.Unlock(); return slices.Clone(p.invalid) }

// PublishEnded implements [reconcile.Publisher].
func (p *Topic) PublishEnded(_ context.Context, v cases.View, _ string) error {
	if err := p.err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = append(p.ended, v)
	return nil
}

// ForwardInvalid implements [reconcile.Publisher].
func (p *Topic) ForwardInvalid(_ context.Context, data []byte, attributes map[string]string, why string) error {
	if err := p.err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.invalid = append(p.invalid, Invalid{string(data), attributes, why})
	return nil
}

// Pipeline accepts every job. Every poll reads a progress of 1 of 4.
type Pipeline struct {
	mu   sync.Mutex
	jobs []reconcile.Job
	hold <-chan struct{}
}

// Hold makes later calls of Dispatch block until the channel is closed or their context ends.
func (p *Pipeline) Hold(until <-chan struct{}) { p.mu.Lock(); defer p.mu.Unlock(); p.hold = until }

// Jobs returns the jobs that Dispatch was called with.
func (p *Pipeline) Jobs() []reconcile.Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.jobs)
}

// Dispatch implements [reconcile.Pipeline].
func (p *Pipeline) Dispatch(ctx context.Context, job reconcile.Job) cases.DispatchOutcome {
	p.mu.Lock()
	p.jobs = append(p.jobs, job)
	hold := p.hold
	p.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return cases.DispatchOutcome{Kind: cases.DispatchUncertain, Message: "the request ended first"}
		}
	}
	return cases.DispatchOutcome{Kind: cases.DispatchAccepted}
}

// Poll implements [reconcile.Pipeline].
func (p *Pipeline) Poll(context.Context, string, int, string) cases.CheckOutcome {
	return cases.CheckOutcome{Kind: cases.CheckReading, Reading: cases.Reading{Completed: 1, Total: 4, Percent: -1}}
}
