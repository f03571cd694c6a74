package sim

import (
	"time"

	"github.com/casewatch/casewatch/shared/store"
)

// reach is the moment at which a call takes effect, if nothing fails.
func (w *world) reach(c *call, fault Fault, faulty bool, back time.Duration) {
	inv := c.inv
	if !faulty {
		if inv.dead.Load() {
			return // for the world, the instance died before it sent this
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
		_ = w.affect(c, string(fault.Kind))
		w.reply(c, store.ErrConflict, back)
	case FailAfter:
		_ = w.affect(c, string(fault.Kind))
		w.reply(c, errDown, back)
	case FailLater:
		w.failed(c, string(fault.Kind), errDown, back)
		w.after(fault.For, func() { _ = w.affect(c, "the effect of a call that failed before") })
	case CrashBefore:
		w.noteCall(c, string(fault.Kind), nil, nil)
		w.kill(inv.inst)
	case CrashAfter:
		_ = w.affect(c, string(fault.Kind))
		w.kill(inv.inst)
	case CrashLater:
		w.noteCall(c, string(fault.Kind), nil, nil)
		w.kill(inv.inst)
		w.after(fault.For, func() { _ = w.affect(c, "the effect of a call that died before") })
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

// faultOf returns how a call fails, if it does.
func (w *world) faultOf(c *call) (Fault, bool) {
	key := faultKey{c.inv.name, c.n}
	if f, ok := w.planned[key]; ok {
		w.faulted++
		return f, true
	}
	if w.plan.Rate == 0 {
		return Fault{}, false
	}
	if c.inv.faults.Rand == nil { // a stream of its own, so that a fault does not change the rest of the run
		c.inv.faults = chooser{stream(w.plan.Seed, "faults of "+c.inv.name)}
	}
	r := c.inv.faults
	if !r.chance(w.plan.Rate) || w.now() > w.plan.Until {
		return Fault{}, false
	}
	f := Fault{
		Invocation: key.invocation,
		Call:       key.call,
		Kind:       faultKinds[r.IntN(len(faultKinds))],
		For:        r.between(10*time.Millisecond, 3*time.Minute),
	}
	if !c.may(f.Kind) {
		return Fault{}, false
	}
	if f.Kind == FailLater || f.Kind == CrashLater {
		f.For = min(f.For, 10*time.Second)
	}
	w.rec.Faults = append(w.rec.Faults, f)
	return f, true
}

var faultKinds = []FaultKind{
	FailBefore,
	FailAfter,
	FailLater,
	ConflictBefore,
	ConflictAfter,
	CrashBefore,
	CrashAfter,
	CrashLater,
	SlowBefore,
	SlowAfter,
	RepeatHere,
}

// may reports whether a call can fail in that way.
func (c *call) may(k FaultKind) bool {
	_, toStore := storeWrites[c.what]
	switch {
	case k == ConflictBefore || k == ConflictAfter:
		return toStore
	case c.what == callSend || c.what == callPoll: // the plan of the pipeline decides how these fail
		return k == CrashBefore || k == CrashAfter || k == SlowBefore || k == SlowAfter || k == RepeatHere
	}
	return true
}
