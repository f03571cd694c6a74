package sim

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/store"
)

var (
	errDown    = errors.New("sim: broken")
	errDied    = errors.New("sim: the instance died")
	errTimeout = errors.New("sim: no answer in time")
)

// call is something that an invocation asks of the world.
type call struct {
	inv   *invocation
	n     int // which of the invocation's
	what  string
	about runKey
	// effect is what it does, in the scheduler, at one moment. data is what the record keeps of it.
	effect func() (data any, err error)
	// wait is, if not nil, how the answer comes: it calls back when there is one. Without, it comes soon.
	wait func(c *call, err error)
	// down says that it fails now without effect.
	down func() bool

	err  error
	done chan struct{}
	gone bool // answered, or nobody waits
}

// wake lets the invocation go on.
func (c *call) wake() {
	if c.gone {
		return
	}
	c.gone = true
	close(c.done)
}

// do submits the call and waits until it is answered or ctx ends. If the instance dies meanwhile, it does not return.
func (c *call) do(ctx context.Context, w *world) error {
	if c.inv.dead.Load() {
		runtime.Goexit()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.done = make(chan struct{})
	w.arrive(arrival{inv: c.inv, call: c})
	select {
	case <-c.done:
		if c.inv.dead.Load() {
			runtime.Goexit()
		}
		return c.err
	case <-ctx.Done():
		if c.inv.dead.Load() {
			runtime.Goexit()
		}
		return ctx.Err()
	}
}

// ask is a call that returns something.
func ask[T any](ctx context.Context, w *world, what string, about runKey, down func() bool, f func() (T, any, error)) (T, error) {
	var v T
	c := &call{inv: invocationOf(ctx), what: what, about: about, down: down}
	c.effect = func() (data any, err error) {
		got, data, err := f()
		v = got
		return data, err
	}
	if err := c.do(ctx, w); err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// submit decides what becomes of a call.
func (w *world) submit(c *call) {
	inv := c.inv
	inv.calls++
	c.n = inv.calls
	inv.call = c
	if inv.dead.Load() {
		c.wake()
		w.woken = true
		return
	}
	there, back := inv.rnd.latency(w.plan.Slow), inv.rnd.latency(w.plan.Slow/2)
	if w.plan.Flat {
		there, back = 5*time.Millisecond, 5*time.Millisecond
	}
	fault, faulty := w.faultOf(c)
	if w.now() > w.plan.Until {
		there, back = min(there, 100*time.Millisecond), min(back, 100*time.Millisecond)
	}
	if faulty {
		switch fault.Kind {
		case SlowBefore:
			there += fault.For
		case SlowAfter:
			back += fault.For
		}
	}
	if limit := c.limit(); limit > 0 && there+back > limit {
		if faulty { // it would not be seen
			w.rec.Faults = slices.DeleteFunc(w.rec.Faults, func(f Fault) bool { return f == fault && f.Kind != SlowBefore && f.Kind != SlowAfter })
		}
		w.after(min(there, limit+c.inv.rnd.evenly(0, 10*time.Second)), func() {
			if !inv.dead.Load() {
				w.affect(c, "the answer comes too late")
			}
		})
		w.reply(c, errDown, limit)
		return
	}
	w.after(there, func() { w.reach(c, fault, faulty, back) })
}

// limit is how long the client of a service waits for it; 0: as long as the invocation.
func (c *call) limit() time.Duration {
	switch {
	case c.what == "store: wait":
		return 0
	case strings.HasPrefix(c.what, "store: "):
		return 45 * time.Second
	case strings.HasPrefix(c.what, "queue: "), strings.HasPrefix(c.what, "topic: "):
		return 20 * time.Second
	}
	return 0
}

// latency is how long a message takes.
func (c chooser) latency(slow float64) time.Duration {
	if c.chance(slow) {
		return c.between(200*time.Millisecond, 70*time.Second)
	}
	return c.between(500*time.Microsecond, 40*time.Millisecond)
}

// reach is the moment at which a call has its effect, if nothing breaks.
func (w *world) reach(c *call, fault Fault, faulty bool, back time.Duration) {
	inv := c.inv
	if !faulty {
		if inv.dead.Load() {
			return // it died before it sent this, as far as the world knows
		}
		if c.down != nil && c.down() {
			w.failed(c, "is down", errDown, back)
			return
		}
		if storeWrites[c.what] && w.broken(Conflicts) && inv.rnd.chance(0.9) {
			w.failed(c, "conflict", store.ErrConflict, back)
			return
		}
		w.take(c, back)
		return
	}
	switch fault.Kind {
	case FailBefore:
		w.failed(c, string(fault.Kind), errDown, back)
	case ConflictBefore:
		w.failed(c, string(fault.Kind), store.ErrConflict, back)
	case ConflictAfter:
		w.affect(c, string(fault.Kind))
		w.reply(c, store.ErrConflict, back)
	case FailAfter:
		w.affect(c, string(fault.Kind))
		w.reply(c, errDown, back)
	case FailLater:
		w.failed(c, string(fault.Kind), errDown, back)
		w.after(fault.For, func() { w.affect(c, "the effect of a call that failed before") })
	case CrashBefore:
		w.noteCall(c, string(fault.Kind), nil, nil)
		w.kill(inv.inst)
	case CrashAfter:
		w.affect(c, string(fault.Kind))
		w.kill(inv.inst)
	case CrashLater:
		w.noteCall(c, string(fault.Kind), nil, nil)
		w.kill(inv.inst)
		w.after(fault.For, func() { w.affect(c, "the effect of a call that died before") })
	case RepeatHere:
		if inv.retry != nil {
			inv.retry()
		}
		w.take(c, back)
	case SupersedeHere:
		w.request(Action{Do: "start", Supersede: true, Tries: 1}, c.about.id, "start at "+inv.name, 0)
		w.take(c, back)
	case PurgeHere:
		w.queue.purge()
		w.take(c, back)
	case CancelHere:
		w.request(Action{Do: "cancel", Tries: 1}, c.about.id, "cancel at "+inv.name, 0)
		w.take(c, back)
	default:
		w.take(c, back)
	}
}

// take lets the call have its effect and its answer.
func (w *world) take(c *call, back time.Duration) {
	err := w.affect(c, "")
	if c.wait != nil {
		c.wait(c, err)
		return
	}
	w.reply(c, err, back)
}

func (w *world) affect(c *call, fault string) error {
	data, err := c.effect()
	w.noteCall(c, fault, err, data)
	return err
}

func (w *world) failed(c *call, fault string, err error, back time.Duration) {
	w.noteCall(c, fault, err, nil)
	w.reply(c, err, back)
}

// reply answers the call later.
func (w *world) reply(c *call, err error, back time.Duration) {
	w.after(back, func() {
		if c.gone || c.inv.dead.Load() {
			return
		}
		c.err = err
		c.wake()
		w.woken = true
	})
}

func (w *world) noteCall(c *call, fault string, err error, data any) {
	w.rec.add(Entry{At: w.now(), Invocation: c.inv.name, Began: c.inv.began, Instance: c.inv.inst.number, What: c.what, Call: c.n,
		Case: c.about.id, Run: c.about.run, Fault: fault, Err: err, Data: data})
}

// faultOf says how a call fails, if it does.
func (w *world) faultOf(c *call) (Fault, bool) {
	key := faultKey{c.inv.name, c.n}
	if f, ok := w.planned[key]; ok {
		w.faulted++
		return f, true
	}
	if w.plan.Rate == 0 {
		return Fault{}, false
	}
	if c.inv.faults.Rand == nil { // its own, so that a plan without it goes on as with it
		c.inv.faults = chooser{stream(w.plan.Seed, "faults of "+c.inv.name)}
	}
	r := c.inv.faults
	if !r.chance(w.plan.Rate) || w.now() > w.plan.Until {
		return Fault{}, false
	}
	f := Fault{Invocation: key.invocation, Call: key.call, Kind: faultKinds[r.IntN(len(faultKinds))], For: r.between(10*time.Millisecond, 3*time.Minute)}
	if !c.may(f.Kind) {
		return Fault{}, false
	}
	if f.Kind == FailLater || f.Kind == CrashLater {
		f.For = min(f.For, 10*time.Second)
	}
	w.rec.Faults = append(w.rec.Faults, f)
	return f, true
}

var faultKinds = []FaultKind{FailBefore, FailAfter, FailLater, ConflictBefore, ConflictAfter, CrashBefore, CrashAfter, CrashLater, SlowBefore, SlowAfter, RepeatHere}

// may reports whether a call can fail that way at all.
func (c *call) may(k FaultKind) bool {
	_, toStore := storeWrites[c.what]
	switch {
	case k == ConflictBefore || k == ConflictAfter:
		return toStore
	case c.what == callSend || c.what == callLook: // how these fail is the pipeline's to say
		return k == CrashBefore || k == CrashAfter || k == SlowBefore || k == SlowAfter || k == RepeatHere
	}
	return true
}
