package sim

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/shared/watch"
)

// world is one run of a plan. Everything in it but the invocations' goroutines belongs to the scheduler.
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

// instance is one process of Casewatch.
type instance struct {
	number  int
	life    int // how often it died
	watcher *watch.Watcher
}

// invocation is one request to an instance.
type invocation struct {
	id     int
	name   string // says what it does, the same in every run of a plan
	inst   *instance
	began  time.Duration
	rnd    chooser
	faults chooser
	calls  int
	dead   atomic.Bool
	ended  bool // its caller has an answer, or none
	call   *call
	stop   context.CancelFunc
	end    func(err error) // tells its caller
	retry  func()          // delivers its task once more; nil if it is none
	about  runKey          // the run, or the case
}

// request is an invocation's context. It has a deadline that the scheduler keeps, so that no timer of it races with others.
type request struct {
	context.Context
	inv      *invocation
	deadline time.Time
}

type invocationKey struct{}

func (r *request) Deadline() (time.Time, bool) { return r.deadline, true }
func (r *request) Value(key any) any {
	if key == (invocationKey{}) {
		return r.inv
	}
	return r.Context.Value(key)
}

func invocationOf(ctx context.Context) *invocation {
	return ctx.Value(invocationKey{}).(*invocation)
}

// Run plays the plan and returns what was seen.
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
	w := &world{plan: p, began: time.Now(), rec: &Record{Plan: p}, kick: make(chan struct{}, 1), alive: map[int]*invocation{}, names: map[string]int{}, planned: map[faultKey]Fault{}}
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

// boot makes an instance's watcher: nothing of the one before is left.
func (w *world) boot(i *instance) {
	skew := w.plan.Skews[i.number]
	var nonces atomic.Int64
	life := i.life
	rules := w.plan.Rules
	watcher, err := watch.New(watch.Config{Rules: rules, CaseDeadline: w.plan.Deadline, CheckTimeout: w.plan.CheckTimeout}, watch.Deps{
		Store: w.store, Queue: w.queue, Pipeline: w.pipe, Events: w.topic,
		Now:    func() time.Time { return time.Now().Add(skew) },
		Jitter: func() float64 { return jitter(time.Since(w.began), w.plan.Seed) },
		Nonce:  func() string { return fmt.Sprintf("i%d.%d.%d", i.number, life, nonces.Add(1)) },
		Log:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	i.watcher = watcher
}

// jitter is a number from 0 up to 1 that only the time decides.
func jitter(at time.Duration, seed uint64) float64 {
	x := uint64(at)*0x9e3779b97f4a7c15 ^ seed
	x ^= x >> 31
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 29
	return float64(x>>11) / (1 << 53)
}

func (w *world) now() time.Duration { return time.Since(w.began) }

// after lets do happen in the scheduler later.
func (w *world) after(d time.Duration, do func()) { w.at(w.now()+max(d, 0), do) }

func (w *world) at(at time.Duration, do func()) {
	w.nextSeq++
	heap.Push(&w.events, event{max(at, w.now()), w.nextSeq, do})
}

// loop is the scheduler: it lets exactly one thing happen at a time, in the order of the virtual time.
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

// takeArrivals takes what invocations submitted since, in an order that does not depend on which of them ran first.
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

// spawn begins an invocation on an instance. Its caller is told the end once: the error, errDied if the instance died, errTimeout if it took longer
// than limit, after which its context is ended.
func (w *world) spawn(name string, about runKey, inst *instance, limit time.Duration, f func(ctx context.Context, w *watch.Watcher) error, end func(err error)) *invocation {
	w.nextID++
	w.names[name]++
	if n := w.names[name]; n > 1 {
		name = fmt.Sprintf("%s (%d)", name, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	inv := &invocation{id: w.nextID, name: name, about: about, inst: inst, began: w.now(), rnd: chooser{stream(w.plan.Seed, name)}, stop: cancel, end: end}
	r := &request{Context: ctx, inv: inv, deadline: time.Now().Add(limit)}
	w.alive[inv.id] = inv
	w.note(inv, "begins", nil, nil)
	w.after(limit, func() {
		if w.alive[inv.id] == nil {
			return
		}
		w.answer(inv, errTimeout)
		w.woken = true
		cancel()
	})
	w.woken = true
	watcher := inst.watcher
	go func() {
		err := errDied
		defer func() { w.arrive(arrival{inv: inv, err: err}) }()
		err = f(r, watcher)
		if err == nil && inv.dead.Load() {
			runtime.Goexit()
		}
	}()
	return inv
}

// answer tells the caller of an invocation how it ended, once.
func (w *world) answer(inv *invocation, err error) {
	if inv.ended {
		return
	}
	inv.ended = true
	w.note(inv, "ends", err, nil)
	if inv.end != nil {
		inv.end(err)
	}
}

// kill ends an instance: nothing of what it was at runs on. Another takes its place.
func (w *world) kill(inst *instance) {
	var dying []*invocation
	for _, inv := range w.alive {
		if inv.inst == inst && !inv.dead.Load() {
			dying = append(dying, inv)
		}
	}
	slices.SortFunc(dying, func(a, b *invocation) int { return cmp.Compare(a.id, b.id) })
	w.rec.add(Entry{At: w.now(), What: "crash", Detail: fmt.Sprintf("instance %d dies with %d invocations", inst.number, len(dying))})
	for _, inv := range dying {
		inv.dead.Store(true)
		w.answer(inv, errDied)
		inv.stop()
		if inv.call != nil {
			inv.call.wake()
		}
	}
	w.woken = true
	inst.life++
	w.boot(inst)
}

// tearDown ends all that still runs.
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
		e.Invocation, e.Began, e.Instance, e.Case, e.Run = inv.name, inv.began, inv.inst.number, inv.about.id, inv.about.run
	}
	w.rec.add(e)
}
