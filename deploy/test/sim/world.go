package sim

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// world is one run of a plan. Everything in it but the invocations' goroutines belongs to the
// scheduler.
type world struct {
	plan  Plan
	began time.Time
	rec   *Record

	events  eventHeap
	nextSeq int
	later   bool // the time has jumped
	woken   bool // a goroutine may run: wait for it before anything else

	mu       sync.Mutex
	arrivals []arrival
	kick     chan struct{} // something arrived while the scheduler slept

	instances []*instance
	alive     map[int]*invocation
	nextID    int
	names     map[string]int
	planned   map[faultKey]Fault
	faulted   int

	store *fakeStore
	queue *fakeQueue
	pipe  *fakePipeline
	topic *fakeTopic
}

type faultKey struct {
	invocation string
	call       int
}

// event is something that happens at a time, in the scheduler.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}

// arrival is a call that an invocation submits, or its end.
type arrival struct {
	inv  *invocation
	call *call // nil: it ended
	err  error
}

// Run plays the plan and returns the record.
func (p Plan) Run(t *testing.T) *Record {
	var rec *Record
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(p)
		w.setUp()
		w.loop()
		rec = w.rec
		rec.Left = w.queue.left()
		rec.Runs, rec.Forms = w.store.left()
		w.tearDown()
		if t.Failed() {
			return
		}
	})
	return rec
}

func newWorld(p Plan) *world {
	w := &world{
		plan:    p,
		began:   time.Now(),
		rec:     &Record{Plan: p, Began: time.Now()},
		kick:    make(chan struct{}, 1),
		alive:   map[int]*invocation{},
		names:   map[string]int{},
		planned: map[faultKey]Fault{},
	}
	for _, f := range p.Faults {
		w.planned[faultKey{f.Invocation, f.Call}] = f
	}
	w.store, w.queue, w.pipe, w.topic = newStore(w), newQueue(w), newPipeline(w), &fakeTopic{w: w}
	for i := range p.Skews {
		w.instances = append(w.instances, &instance{number: i})
		w.boot(w.instances[i])
	}
	return w
}

func (w *world) now() time.Duration { return time.Since(w.began) }

// after lets do happen in the scheduler later.
func (w *world) after(d time.Duration, do func()) { w.at(w.now()+max(d, 0), do) }

func (w *world) at(at time.Duration, do func()) {
	w.nextSeq++
	heap.Push(&w.events, event{max(at, w.now()), w.nextSeq, do})
}

// loop is the scheduler: it lets exactly one thing happen at a time, in the order of the virtual
// time.
func (w *world) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	w.woken = true
	for !w.rec.Over {
		if w.woken {
			w.woken = false
			synctest.Wait()
			w.takeArrivals()
			continue
		}
		if len(w.events) == 0 {
			break
		}
		if wait := w.events[0].at - w.now(); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-w.kick:
			}
			w.woken = true // timers of the code may have fired
			if w.events[0].at > w.now() {
				continue
			}
			synctest.Wait()
			w.takeArrivals()
			continue
		}
		e := heap.Pop(&w.events).(event)
		e.do()
	}
}

// takeArrivals takes the calls that invocations submitted since, in an order that does not depend
// on which goroutine ran first.
func (w *world) takeArrivals() {
	w.mu.Lock()
	all := w.arrivals
	w.arrivals = nil
	w.mu.Unlock()
	if len(all) > 1 {
		slices.SortFunc(all, func(a, b arrival) int { return cmp.Compare(a.inv.id, b.inv.id) })
	}
	w.woken = false
	for _, a := range all {
		switch {
		case a.call != nil:
			w.submit(a.call)
		default:
			delete(w.alive, a.inv.id)
			w.answer(a.inv, a.err)
		}
	}
}

func (w *world) arrive(a arrival) {
	w.mu.Lock()
	w.arrivals = append(w.arrivals, a)
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// tearDown ends all invocations that still run.
func (w *world) tearDown() {
	for len(w.alive) > 0 {
		for _, inv := range w.alive {
			inv.dead.Store(true)
			inv.ended = true
			inv.stop()
			if inv.call != nil {
				inv.call.wake()
			}
		}
		synctest.Wait()
		w.mu.Lock()
		for _, a := range w.arrivals {
			if a.call == nil {
				delete(w.alive, a.inv.id)
			} else {
				a.call.wake()
			}
		}
		w.arrivals = nil
		w.mu.Unlock()
	}
}

// broken reports whether a window of that kind is open.
func (w *world) broken(kinds ...string) bool {
	now := w.now()
	for _, x := range w.plan.Windows {
		if now >= x.From && now < x.To && slices.Contains(kinds, x.Kind) {
			return true
		}
	}
	return false
}

// anyInstance is who takes a request.
func (w *world) anyInstance(c chooser) *instance { return w.instances[c.IntN(len(w.instances))] }

func (w *world) note(inv *invocation, what string, err error, data any) {
	e := Entry{At: w.now(), What: what, Err: err, Data: data}
	if inv != nil {
		e.Invocation, e.Began, e.Instance, e.Seq = inv.name, inv.began, inv.inst.number, inv.seq
		e.Case, e.Run = inv.about.id, inv.about.run
	}
	w.rec.add(e)
}
