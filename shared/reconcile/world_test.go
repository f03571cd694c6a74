package reconcile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const traceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// world is a Reconciler in a world of its own: a real store, and a queue, a pipeline and a topic
// that do as they are told, on a clock that stands still unless it is moved.
type world struct {
	*reconcile.Reconciler
	t      testing.TB
	config reconcile.Config
	deps   reconcile.Deps
	rules  cases.Rules
	mu     sync.Mutex
	now    time.Time
	store  *faultyStore
	queue  *fakeQueue
	pipe   *fakePipeline
	topic  *fakeTopic
	log    *bytes.Buffer
}

func newWorld(t testing.TB, change ...func(*cases.Rules)) *world {
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
	w := &world{
		t: t, now: epoch, log: &bytes.Buffer{}, store: &faultyStore{Store: s},
		queue: &fakeQueue{pending: map[string]queue.Task{}, taken: map[string]bool{}}, topic: &fakeTopic{},
	}
	w.pipe = &fakePipeline{
		dispatch: func(reconcile.Job) cases.DispatchOutcome {
			return cases.DispatchOutcome{Kind: cases.DispatchAccepted}
		},
		poll: func(string) cases.CheckOutcome { return reading(1, 4, "") },
	}
	w.rules = cases.Rules{
		PipelineTimeout: 29 * time.Minute, CheckMinInterval: 2 * time.Second, CheckMaxInterval: 30 * time.Second,
		StartGrace: 2 * time.Minute, CompletionGrace: 30 * time.Second, StallAfter: 5 * time.Minute,
		UnreachableAfter: 10 * time.Minute, Retention: 720 * time.Hour, FormRetention: 24 * time.Hour,
	}
	for _, f := range change {
		f(&w.rules)
	}
	nonce := 0
	w.config = reconcile.Config{Rules: w.rules, CaseDeadline: time.Hour, CheckTimeout: 10 * time.Second}
	w.deps = reconcile.Deps{
		Store: w.store, Queue: w.queue, Pipeline: w.pipe, Events: w.topic,
		Now: w.clock, Jitter: func() float64 { return 0.5 },
		Nonce: func() string { w.mu.Lock(); defer w.mu.Unlock(); nonce++; return fmt.Sprint("nonce", nonce) },
		Log:   slog.New(gcplog.New(&lockedWriter{to: w.log}, gcplog.Options{Project: "p"})),
	}
	w.rebuild()
	return w
}

// atOnce makes the sweep handle n runs at the same time.
func (w *world) atOnce(n int) {
	w.t.Helper()
	w.config.SweepAtOnce = n
	w.rebuild()
}

// rebuild replaces the reconciler by one with w.config and w.deps.
func (w *world) rebuild() {
	w.t.Helper()
	var err error
	if w.Reconciler, err = reconcile.New(w.config, w.deps); err != nil {
		w.t.Fatal(err)
	}
}

type lockedWriter struct {
	mu sync.Mutex
	to *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) begin(change ...func(*reconcile.StartRequest)) cases.Case {
	w.t.Helper()
	req := reconcile.StartRequest{CaseID: "c", Form: []byte(`{"a":1}`), TraceParent: traceParent}
	for _, f := range change {
		f(&req)
	}
	answer, err := w.Start(w.t.Context(), req)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer.Case
}

func (w *world) get(run int) cases.Case {
	w.t.Helper()
	c, err := w.store.Store.Get(w.t.Context(), "c", run)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// deliver delivers the pending task that is due first, if it is due within the time, and moves the
// clock there. A task whose delivery fails stays pending, and is delivered again a second later
// with a higher count.
func (w *world) deliver(within time.Duration) (delivered bool, err error) {
	t, retries, ok := w.queue.next()
	if !ok || t.At.After(w.clock().Add(within)) {
		return false, nil
	}
	if wait := t.At.Sub(w.clock()); wait > 0 {
		w.pass(wait)
	}
	err = w.deliverTask(t, retries)
	w.queue.delivered(t, err == nil, w.clock().Add(time.Second))
	return true, err
}

func (w *world) deliverTask(t queue.Task, retries int) error {
	body := queue.Body{CaseID: t.CaseID, Run: t.Run, Seq: t.Seq}
	switch t.Kind {
	case queue.Dispatch:
		return w.Dispatch(w.t.Context(), body, retries)
	case queue.Stop:
		return w.Stop(w.t.Context(), body)
	}
	return w.Check(w.t.Context(), body)
}

// run delivers whatever becomes due in the time, and moves the clock to its end.
func (w *world) run(d time.Duration) {
	end := w.clock().Add(d)
	for {
		if ok, _ := w.deliver(end.Sub(w.clock())); !ok {
			break
		}
	}
	if rest := end.Sub(w.clock()); rest > 0 {
		w.pass(rest)
	}
}

func (w *world) want(run int, state cases.State, reason cases.Reason) cases.Case {
	w.t.Helper()
	c := w.get(run)
	if c.State != state || c.Outcome.End != nil && c.Outcome.End.Reason != reason ||
		c.Outcome.End == nil && reason != "" {
		w.t.Fatalf("run %d is %s, %+v; want %s, %s", run, c.State, c.Outcome.End, state, reason)
	}
	return c
}

// lines returns the log lines with that message.
func (w *world) lines(message string) []map[string]any {
	var found []map[string]any
	for line := range strings.Lines(w.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			w.t.Fatalf("a log line is not JSON: %s", line)
		}
		if fields["message"] == message {
			found = append(found, fields)
		}
	}
	return found
}

func (w *world) publish(id, data string) error {
	return w.Complete(w.t.Context(), reconcile.Message{ID: id, Published: w.clock(), Data: []byte(data)})
}

func reading(completed, total int, status cases.Status) cases.CheckOutcome {
	return cases.CheckOutcome{
		Kind:    cases.CheckReading,
		Reading: cases.Reading{Completed: completed, Total: total, Percent: -1, Status: status},
	}
}

// faultyStore fails where it is told to.
type faultyStore struct {
	store.Store
	mu     sync.Mutex
	before func(method string) error // before the call; an error is returned instead
	after  func(method string) error // after it took effect
	waited func()                    // called when Wait is
}

func (s *faultyStore) fail(after bool, method string) error {
	s.mu.Lock()
	f := s.before
	if after {
		f = s.after
	}
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(method)
}

func call[T any](s *faultyStore, method string, f func() (T, error)) (T, error) {
	var zero T
	if err := s.fail(false, method); err != nil {
		return zero, err
	}
	v, err := f()
	if err == nil {
		err = s.fail(true, method)
	}
	return v, err
}

func (s *faultyStore) Get(ctx context.Context, id string, run int) (cases.Case, error) {
	return call(s, "Get", func() (cases.Case, error) { return s.Store.Get(ctx, id, run) })
}

func (s *faultyStore) Current(ctx context.Context, id string) (h store.Head, c cases.Case, err error) {
	c, err = call(s, "Current", func() (cases.Case, error) { h, c, err = s.Store.Current(ctx, id); return c, err })
	return h, c, err
}

func (s *faultyStore) Begin(ctx context.Context, b store.Begin) error {
	_, err := call(s, "Begin", func() (bool, error) { return true, s.Store.Begin(ctx, b) })
	return err
}

func (s *faultyStore) Update(ctx context.Context, wr store.Write) error {
	_, err := call(s, "Update", func() (bool, error) { return true, s.Store.Update(ctx, wr) })
	return err
}

func (s *faultyStore) Wait(ctx context.Context, id string, run int, version int64) error {
	if s.waited != nil {
		s.waited()
	}
	return s.Store.Wait(ctx, id, run, version)
}

func (s *faultyStore) Value(ctx context.Context, id string, run int, v store.Value) ([]byte, error) {
	return call(s, "Value", func() ([]byte, error) { return s.Store.Value(ctx, id, run, v) })
}

func (s *faultyStore) Overdue(ctx context.Context, before time.Time, after store.Cursor,
	limit int) ([]cases.Case, error) {
	return call(s, "Overdue", func() ([]cases.Case, error) { return s.Store.Overdue(ctx, before, after, limit) })
}

func (s *faultyStore) CountOpen(ctx context.Context) (int, error) {
	return call(s, "CountOpen", func() (int, error) { return s.Store.CountOpen(ctx) })
}

func (s *faultyStore) Purge(ctx context.Context, id string, run int, version int64) error {
	_, err := call(s, "Purge", func() (bool, error) { return true, s.Store.Purge(ctx, id, run, version) })
	return err
}

func (s *faultyStore) DurationStats(ctx context.Context, pipeline string) (schedule.DurationStats, error) {
	return call(s, "DurationStats", func() (schedule.DurationStats, error) {
		return s.Store.DurationStats(ctx, pipeline)
	})
}

func (s *faultyStore) SaveDurationStats(ctx context.Context, pipeline string, p schedule.DurationStats) error {
	_, err := call(s, "SaveDurationStats", func() (bool, error) {
		return true, s.Store.SaveDurationStats(ctx, pipeline, p)
	})
	return err
}

// failing fails the nth call of a method, from 1, and those after it up to and including the mth.
func failing(method string, n, m int) func(string) error {
	calls := 0
	return func(called string) error {
		if called == method {
			if calls++; calls >= n && calls <= m {
				return errDown
			}
		}
		return nil
	}
}

// fakeQueue keeps tasks by name, and names for ever.
type fakeQueue struct {
	mu      sync.Mutex
	pending map[string]queue.Task
	retries map[string]int
	taken   map[string]bool
	down    bool
	deleted []string
	created int

	failDelete bool

	called func(method string) // at each call; nil for nothing
	now    atomic.Int64        // calls under way, and the most of them
	most   atomic.Int64
}

// call notes a call, and lets others come meanwhile.
func (q *fakeQueue) call(method string) (done func()) {
	n := q.now.Add(1)
	for most := q.most.Load(); n > most && !q.most.CompareAndSwap(most, n); most = q.most.Load() {
	}
	if q.called != nil {
		q.called("queue." + method)
	}
	runtime.Gosched()
	return func() { q.now.Add(-1) }
}

func (q *fakeQueue) Create(_ context.Context, t queue.Task) (bool, error) {
	defer q.call("Create")()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down {
		return false, errDown
	}
	if q.taken[t.Name()] {
		return false, nil
	}
	q.taken[t.Name()] = true
	q.pending[t.Name()] = t
	q.created++
	return true, nil
}

func (q *fakeQueue) Delete(_ context.Context, t queue.Task) error {
	defer q.call("Delete")()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down || q.failDelete {
		return errDown
	}
	delete(q.pending, t.Name())
	q.deleted = append(q.deleted, t.Name())
	return nil
}

func (q *fakeQueue) Exists(_ context.Context, t queue.Task) (bool, error) {
	defer q.call("Exists")()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down {
		return false, errDown
	}
	_, ok := q.pending[t.Name()]
	return ok, nil
}

func (q *fakeQueue) next() (queue.Task, int, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []queue.Task
	for _, t := range q.pending {
		all = append(all, t)
	}
	if len(all) == 0 {
		return queue.Task{}, 0, false
	}
	first := slices.MinFunc(all, func(a, b queue.Task) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(string(b.Kind)+b.Name(), string(a.Kind)+a.Name()) // dispatch first
	})
	return first, q.retries[first.Name()], true
}

func (q *fakeQueue) delivered(t queue.Task, done bool, again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if done {
		delete(q.pending, t.Name())
		return
	}
	if q.retries == nil {
		q.retries = map[string]int{}
	}
	q.retries[t.Name()]++
	if _, ok := q.pending[t.Name()]; ok {
		t.At = again
		q.pending[t.Name()] = t
	}
}

func (q *fakeQueue) count(kind queue.Kind) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, t := range q.pending {
		if t.Kind == kind {
			n++
		}
	}
	return n
}

func (q *fakeQueue) purge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.pending)
}

func (q *fakeQueue) setDown(down bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.down = down
}

// fakePipeline answers as it is told, and counts.
type fakePipeline struct {
	mu       sync.Mutex
	dispatch func(reconcile.Job) cases.DispatchOutcome
	poll     func(caseID string) cases.CheckOutcome
	cancel   func(reconcile.Job) cases.CancelOutcome // nil confirms
	callback func(body []byte) (reconcile.Callback, error)
	jobs     []reconcile.Job
	polled   []reconcile.Job
	stopped  []reconcile.Job
	polls    int
}

func (p *fakePipeline) Cancel(_ context.Context, job reconcile.Job) cases.CancelOutcome {
	p.mu.Lock()
	p.stopped = append(p.stopped, job)
	p.mu.Unlock()
	if p.cancel == nil {
		return cases.CancelOutcome{Kind: cases.CancelConfirmed}
	}
	return p.cancel(job)
}

func (p *fakePipeline) ReadCallback(_ string, _ map[string][]string, body []byte) (reconcile.Callback, error) {
	if p.callback == nil {
		return reconcile.Callback{Event: true}, nil
	}
	return p.callback(body)
}

func (p *fakePipeline) Dispatch(_ context.Context, job reconcile.Job) cases.DispatchOutcome {
	p.mu.Lock()
	p.jobs = append(p.jobs, job)
	p.mu.Unlock()
	return p.dispatch(job)
}

func (p *fakePipeline) Poll(_ context.Context, job reconcile.Job) cases.CheckOutcome {
	p.mu.Lock()
	p.polls++
	p.polled = append(p.polled, job)
	p.mu.Unlock()
	return p.poll(job.CaseID)
}

// fakeTopic keeps what is published.
type fakeTopic struct {
	mu      sync.Mutex
	ended   []cases.View
	invalid []string
	down    bool
}

func (p *fakeTopic) PublishEnded(_ context.Context, v cases.View, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return errDown
	}
	p.ended = append(p.ended, v)
	return nil
}

func (p *fakeTopic) ForwardInvalid(_ context.Context, data []byte, _ map[string]string, why string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return errDown
	}
	p.invalid = append(p.invalid, string(data)+": "+why)
	return nil
}
