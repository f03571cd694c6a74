package reconciletest

import (
	"cmp"
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/queue"
)

// Queue keeps tasks in memory, and delivers none by itself: Next says which is due first. A name is
// taken for ever once a task had it. The zero Queue is ready. It is safe for concurrent use.
type Queue struct {
	Faults

	mu       sync.Mutex
	onCreate func(queue.Task) error
	created  []queue.Task
	taken    map[string]bool
	pending  map[string]*pendingTask // by name
	deleted  []queue.Task
	underWay int
	most     int
}

type pendingTask struct {
	task    queue.Task
	retries int
}

// OnCreate sets what runs before a task is created; nil for nothing. If it returns an error, so does
// Create, and no task is created.
func (q *Queue) OnCreate(hook func(queue.Task) error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.onCreate = hook
}

// Create implements [queue.Queue].
func (q *Queue) Create(_ context.Context, t queue.Task) (bool, error) {
	defer q.begin()()
	return call(&q.Faults, "Create", func() (bool, error) {
		q.mu.Lock()
		hook := q.onCreate
		q.mu.Unlock()
		if hook != nil {
			if err := hook(t); err != nil {
				return false, err
			}
		}
		return q.add(t), nil
	})
}

func (q *Queue) add(t queue.Task) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.addLocked(t)
}

func (q *Queue) addLocked(t queue.Task) bool {
	if q.taken[t.Name()] {
		return false
	}
	if q.taken == nil {
		q.taken, q.pending = map[string]bool{}, map[string]*pendingTask{}
	}
	q.taken[t.Name()] = true
	q.pending[t.Name()] = &pendingTask{task: t}
	q.created = append(q.created, t)
	return true
}

// Delete implements [queue.Queue].
func (q *Queue) Delete(_ context.Context, t queue.Task) error {
	defer q.begin()()
	return q.do("Delete", func() error {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.pending, t.Name())
		q.deleted = append(q.deleted, t)
		return nil
	})
}

// Exists implements [queue.Queue].
func (q *Queue) Exists(_ context.Context, t queue.Task) (bool, error) {
	defer q.begin()()
	return call(&q.Faults, "Exists", func() (bool, error) {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.pending[t.Name()] != nil, nil
	})
}

// begin counts a call, lets other goroutines call meanwhile, and returns what ends the count.
func (q *Queue) begin() (end func()) {
	q.mu.Lock()
	q.underWay++
	q.most = max(q.most, q.underWay)
	q.mu.Unlock()
	runtime.Gosched()
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.underWay--
	}
}

// MaxAtOnce returns how many calls were under way at the same time, at most.
func (q *Queue) MaxAtOnce() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.most
}

// Created returns all tasks that were created, in order.
func (q *Queue) Created() []queue.Task {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.created)
}

// Deleted returns the tasks that Delete was called for, in order.
func (q *Queue) Deleted() []queue.Task {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.deleted)
}

// Pending returns the number of pending tasks of a kind.
func (q *Queue) Pending(kind queue.Kind) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, p := range q.pending {
		if p.task.Kind == kind {
			n++
		}
	}
	return n
}

// Next returns the pending task that is due first, and how many times its delivery has failed. Of those
// due at the same time it is a dispatch, if there is one.
func (q *Queue) Next() (t queue.Task, retries int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == 0 {
		return queue.Task{}, 0, false
	}
	first := slices.MinFunc(slices.Collect(maps.Values(q.pending)), func(a, b *pendingTask) int {
		return cmp.Or(a.task.At.Compare(b.task.At), cmp.Compare(b.task.Kind, a.task.Kind),
			cmp.Compare(a.task.Name(), b.task.Name()))
	})
	return first.task, first.retries, true
}

// Done ends the delivery of a task. One that failed is due again at a time, and has one retry more.
func (q *Queue) Done(t queue.Task, err error, again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.pending[t.Name()]
	switch {
	case p == nil: // deleted during its delivery
	case err == nil:
		delete(q.pending, t.Name())
	default:
		p.task.At = again
		p.retries++
	}
}

// Put makes a task pending, whether or not its name is taken.
func (q *Queue) Put(t queue.Task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.taken, t.Name())
	q.addLocked(t)
}

// Purge loses the pending tasks for which lose says so; nil loses all. Their names stay taken.
func (q *Queue) Purge(lose func(queue.Task) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	maps.DeleteFunc(q.pending, func(_ string, p *pendingTask) bool { return lose == nil || lose(p.task) })
}

// Forget loses all tasks and their names.
func (q *Queue) Forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.pending)
	clear(q.taken)
}
