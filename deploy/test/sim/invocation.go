package sim

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/casewatch/casewatch/shared/reconcile"
)

// instance is one process of Casewatch.
type instance struct {
	number     int
	life       int // how many times it died
	reconciler *reconcile.Reconciler
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
	ended  bool // whether its caller was answered or has given up
	call   *call
	stop   context.CancelFunc
	end    func(err error) // tells its caller
	retry  func()          // delivers its task once more; nil if it is none
	about  runKey          // the run, or the case
	seq    int64           // of the task that is delivered
}

// request is an invocation's context. It has a deadline that the scheduler keeps, so that no timer
// of it races with others.
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

// boot creates the reconciler of an instance. It keeps nothing of the earlier process.
func (w *world) boot(i *instance) {
	skew := w.plan.Skews[i.number]
	var nonces atomic.Int64
	life := i.life
	rules := w.plan.Rules
	reconciler, err := reconcile.New(
		reconcile.Config{Rules: rules, CaseDeadline: w.plan.Deadline, CheckTimeout: w.plan.CheckTimeout},
		reconcile.Deps{
			Store: w.store, Queue: w.queue, Pipeline: w.pipe, Events: w.topic,
			Now:    func() time.Time { return time.Now().Add(skew) },
			Jitter: func() float64 { return jitter(time.Since(w.began), w.plan.Seed) },
			Nonce:  func() string { return fmt.Sprintf("i%d.%d.%d", i.number, life, nonces.Add(1)) },
			Log:    slog.New(slog.DiscardHandler),
		},
	)
	if err != nil {
		panic(err)
	}
	i.reconciler = reconciler
}

// jitter returns a number in [0, 1) that depends only on the time.
func jitter(at time.Duration, seed uint64) float64 {
	x := uint64(at)*0x9e3779b97f4a7c15 ^ seed
	x ^= x >> 31
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 29
	return float64(x>>11) / (1 << 53)
}

// spawn starts an invocation on an instance. Its caller gets the end once: the error, errDied if
// the instance died, or errTimeout if it took longer than limit. After limit the context of the
// invocation ends.
func (w *world) spawn(
	name string,
	about runKey,
	inst *instance,
	limit time.Duration,
	f func(ctx context.Context, to *reconcile.Reconciler) error,
	end func(err error),
) *invocation {
	w.nextID++
	w.names[name]++
	if n := w.names[name]; n > 1 {
		name = fmt.Sprintf("%s (%d)", name, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	inv := &invocation{
		id:    w.nextID,
		name:  name,
		about: about,
		inst:  inst,
		began: w.now(),
		rnd:   chooser{stream(w.plan.Seed, name)},
		stop:  cancel,
		end:   end,
	}
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
	reconciler := inst.reconciler
	go func() {
		err := errDied
		defer func() { w.arrive(arrival{inv: inv, err: err}) }()
		err = f(r, reconciler)
		if err == nil && inv.dead.Load() {
			runtime.Goexit()
		}
	}()
	return inv
}

// answer reports the end of an invocation to its caller, once.
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

// kill ends an instance with all its invocations. A new instance takes its place.
func (w *world) kill(inst *instance) {
	var dying []*invocation
	for _, inv := range w.alive {
		if inv.inst == inst && !inv.dead.Load() {
			dying = append(dying, inv)
		}
	}
	slices.SortFunc(dying, func(a, b *invocation) int { return cmp.Compare(a.id, b.id) })
	w.rec.add(
		Entry{
			At:     w.now(),
			What:   "crash",
			Detail: fmt.Sprintf("instance %d dies with %d invocations", inst.number, len(dying)),
		},
	)
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
