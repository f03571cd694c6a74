package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
)

const (
	// How Cloud Tasks repeats, as the queues are set up, and how long it waits for an answer.
	leastBackoff     = time.Second
	longestBackoff   = time.Minute
	dispatchDeadline = 30 * time.Minute
	checkSlack       = 50 * time.Second
	// How long an instance may work on a request.
	dispatchLimit = time.Hour
	requestLimit  = 5 * time.Minute
	sweepLimit    = 10 * time.Minute
)

// fakeQueue simulates both queues of Cloud Tasks.
type fakeQueue struct {
	w     *world
	tasks map[string]*pending
	taken map[string]time.Duration // until when each name is taken
}

// pending is a task that is not done.
type pending struct {
	task     queue.Task
	name     string
	due      time.Duration
	retries  int
	running  int           // deliveries in progress
	since    time.Duration // when it was created, or the last of them ended
	attempts int           // deliveries begun
	gone     bool
}

func newQueue(w *world) *fakeQueue {
	return &fakeQueue{w: w, tasks: map[string]*pending{}, taken: map[string]time.Duration{}}
}

func (q *fakeQueue) down() bool { return q.w.broken(QueueDown) }

func (q *fakeQueue) Create(ctx context.Context, t queue.Task) (bool, error) {
	return ask(ctx, q.w, "queue: create "+string(t.Kind), runKey{t.CaseID, t.Run}, q.down, func() (bool, any, error) {
		name := t.Name()
		until, taken := q.taken[name]
		if q.tasks[name] != nil || taken && q.w.now() < until {
			return false, TaskChange{Kind: t.Kind, Seq: t.Seq, Name: name, Gone: q.tasks[name] == nil}, nil
		}
		p := &pending{task: t, name: name, due: max(t.At.Sub(q.w.began), q.w.now()), since: q.w.now()}
		q.tasks[name] = p
		q.schedule(p, p.due)
		return true, TaskChange{Kind: t.Kind, Seq: t.Seq, Name: name, Created: true, Waiting: q.waiting(t)}, nil
	})
}

func (q *fakeQueue) Delete(ctx context.Context, t queue.Task) error {
	_, err := ask(
		ctx,
		q.w,
		"queue: delete "+string(t.Kind),
		runKey{t.CaseID, t.Run},
		q.down,
		func() (bool, any, error) {
			name := t.Name()
			if p := q.tasks[name]; p != nil {
				q.remove(p)
			}
			return true, TaskChange{Kind: t.Kind, Seq: t.Seq, Name: name, Deleted: true}, nil
		},
	)
	return err
}

func (q *fakeQueue) Exists(ctx context.Context, t queue.Task) (bool, error) {
	return ask(ctx, q.w, "queue: exists "+string(t.Kind), runKey{t.CaseID, t.Run}, q.down, func() (bool, any, error) {
		_, ok := q.tasks[t.Name()]
		return ok, Existence{t.Kind, t.Seq, ok}, nil
	})
}

// waiting lists the tasks of a kind for a run that were not delivered yet.
func (q *fakeQueue) waiting(t queue.Task) (seqs []int64) {
	for _, p := range q.tasks {
		if o := p.task; o.Kind == t.Kind && o.CaseID == t.CaseID && o.Run == t.Run && p.attempts == 0 {
			seqs = append(seqs, o.Seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

func (q *fakeQueue) remove(p *pending) {
	p.gone = true
	delete(q.tasks, p.name)
	q.taken[p.name] = q.w.now() + q.w.plan.Tombstone
}

// schedule delivers a task at a time, or when its queue is no longer paused.
func (q *fakeQueue) schedule(p *pending, at time.Duration) {
	rnd := chooser{stream(q.w.plan.Seed, fmt.Sprint("delivery ", p.name, p.attempts, p.retries))}
	late := rnd.between(2*time.Millisecond, 300*time.Millisecond)
	if at < q.w.plan.Until && rnd.chance(q.w.plan.Slow/2) {
		late = rnd.between(time.Second, 3*time.Minute)
	}
	var deliver func()
	deliver = func() {
		if p.gone {
			return
		}
		if until := q.paused(p.task.Kind); until > 0 {
			q.w.at(until+rnd.evenly(0, 3*time.Second), deliver)
			return
		}
		q.deliver(p, rnd)
	}
	q.w.at(at+late, deliver)
}

// paused returns until when the queue of that kind is paused; 0 if it is not.
func (q *fakeQueue) paused(k queue.Kind) (until time.Duration) {
	now := q.w.now()
	for _, x := range q.w.plan.Windows {
		if (x.Kind == TasksPaused || x.Kind == ChecksPaused && k == queue.Check) && now >= x.From && now < x.To {
			until = max(until, x.To)
		}
	}
	return until
}

// deliver makes a delivery, perhaps twice.
func (q *fakeQueue) deliver(p *pending, rnd chooser) {
	q.attempt(p, rnd, true)
	if q.w.now() < q.w.plan.Until && rnd.chance(q.w.plan.Again) {
		q.w.after(rnd.between(time.Millisecond, 5*time.Minute), func() { q.attempt(p, rnd, false) })
	}
}

// attempt makes one delivery. A delivery that counts decides what happens to the task.
func (q *fakeQueue) attempt(p *pending, rnd chooser, counts bool) {
	w, t := q.w, p.task
	p.attempts++
	retries := p.retries
	if counts {
		p.running++
	}
	over := false
	finished := func(err error) {
		if over || !counts {
			return
		}
		over = true
		p.running--
		p.since = w.now()
		if p.gone {
			return
		}
		if err == nil {
			q.remove(p)
			return
		}
		p.retries++
		wait := min(leastBackoff<<min(p.retries-1, 6), longestBackoff)
		q.schedule(p, w.now()+wait)
	}
	limit, deadline := requestLimit, min(w.plan.CheckTimeout+checkSlack, dispatchDeadline)
	if t.Kind == queue.Dispatch {
		limit, deadline = dispatchLimit, dispatchDeadline
	}
	name := fmt.Sprintf("%s %s/%d #%d delivery %d", t.Kind, t.CaseID, t.Run, t.Seq, p.attempts)
	body, err := queue.DecodeBody(t.EncodeBody())
	if err != nil {
		w.rec.add(Entry{At: w.now(), What: "a task", Data: Broken{err.Error()}})
		finished(nil)
		return
	}
	inv := w.spawn(
		name,
		runKey{t.CaseID, t.Run},
		w.anyInstance(rnd),
		limit,
		func(ctx context.Context, to *reconcile.Reconciler) error {
			switch t.Kind {
			case queue.Dispatch:
				return known(to.Dispatch(ctx, body, retries))
			case queue.Stop:
				return known(to.Stop(ctx, body))
			}
			return known(to.Check(ctx, body))
		},
		finished,
	)
	inv.seq = t.Seq
	inv.retry = func() { q.attempt(p, rnd, false) }
	if w.now() < w.plan.Until && rnd.chance(w.plan.Again/2) { // the connection breaks, and the instance continues
		w.after(rnd.between(10*time.Millisecond, 10*time.Minute), func() {
			if !inv.ended {
				finished(errDown)
			}
		})
	}
	cut := rnd.chance(0.5)
	w.after(deadline, func() {
		if over || inv.ended {
			return
		}
		finished(errTimeout)
		if cut { // the instance may or may not notice that the connection is closed
			inv.stop()
			w.woken = true
		}
	})
}

// known answers success to a delivery for an unknown run, like the functions do.
func known(err error) error {
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// purge empties the queues.
func (q *fakeQueue) purge() {
	for _, p := range q.sorted() {
		q.remove(p)
	}
}

func (q *fakeQueue) sorted() []*pending {
	var all []*pending
	for _, p := range q.tasks {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *pending) int { return cmp.Compare(a.name, b.name) })
	return all
}

// left returns the pending tasks.
func (q *fakeQueue) left() []Task {
	var all []Task
	for _, p := range q.sorted() {
		all = append(
			all,
			Task{
				Kind:    p.task.Kind,
				Case:    p.task.CaseID,
				Run:     p.task.Run,
				Seq:     p.task.Seq,
				Running: p.running > 0,
				Tried:   p.attempts > 0,
				Since:   p.since,
			},
		)
	}
	return all
}
