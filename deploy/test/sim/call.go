package sim

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"time"
)

var (
	errDown    = errors.New("sim: broken")
	errDied    = errors.New("sim: the instance died")
	errTimeout = errors.New("sim: no answer in time")
)

// call is a request of an invocation to the world.
type call struct {
	inv   *invocation
	n     int // its number within the invocation
	what  string
	about runKey
	// effect runs in the scheduler, at one moment. data is what the record keeps of it.
	effect func() (data any, err error)
	// wait, if not nil, calls back when the answer is ready. If it is nil, the answer comes soon.
	wait func(c *call, err error)
	// down reports whether the call fails now without effect.
	down func() bool

	err  error
	done chan struct{}
	gone bool // answered, or its invocation has ended
}

// wake lets the invocation continue.
func (c *call) wake() {
	if c.gone {
		return
	}
	c.gone = true
	close(c.done)
}

// do submits the call and waits until it is answered or ctx ends. If the instance dies meanwhile,
// it does not return.
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

// ask submits a call that returns a value.
func ask[T any](
	ctx context.Context,
	w *world,
	what string,
	about runKey,
	down func() bool,
	f func() (T, any, error),
) (T, error) {
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

// submit decides whether and how a call fails.
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
		if faulty { // the fault would have no visible effect
			w.rec.Faults = slices.DeleteFunc(
				w.rec.Faults,
				func(f Fault) bool { return f == fault && f.Kind != SlowBefore && f.Kind != SlowAfter },
			)
		}
		w.after(min(there, limit+c.inv.rnd.evenly(0, 10*time.Second)), func() {
			if !inv.dead.Load() {
				_ = w.affect(c, "the answer comes too late")
			}
		})
		w.reply(c, errDown, limit)
		return
	}
	w.after(there, func() { w.reach(c, fault, faulty, back) })
}

// limit is how long the client of a service waits for the call. 0 means as long as the invocation.
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

// latency returns the travel time of a message.
func (c chooser) latency(slow float64) time.Duration {
	if c.chance(slow) {
		return c.between(200*time.Millisecond, 70*time.Second)
	}
	return c.between(500*time.Microsecond, 40*time.Millisecond)
}

// take executes the effect of the call and sends its answer.
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
	w.rec.add(
		Entry{
			At:         w.now(),
			Invocation: c.inv.name,
			Began:      c.inv.began,
			Instance:   c.inv.inst.number,
			Seq:        c.inv.seq,
			What:       c.what,
			Call:       c.n,
			Case:       c.about.id,
			Run:        c.about.run,
			Fault:      fault,
			Err:        err,
			Data:       data,
		},
	)
}
