package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/casewatch/casewatch/shared/reconcile"
)

// sweep runs the sweeps that Cloud Scheduler would start.
func (w *world) sweep() {
	n := int(w.now() / w.plan.SweepEvery)
	if !w.later {
		w.after(w.plan.SweepEvery, func() {
			if !w.later {
				w.sweep()
			}
		})
	}
	if w.broken(SweepsLost) {
		return
	}
	rnd := chooser{stream(w.plan.Seed, fmt.Sprint("sweep ", n))}
	var rep reconcile.Report
	began := w.now()
	var inv *invocation
	inv = w.spawn(
		fmt.Sprint("sweep ", n),
		runKey{},
		w.anyInstance(rnd),
		sweepLimit,
		func(ctx context.Context, to *reconcile.Reconciler) error {
			var err error
			rep, err = to.Sweep(ctx)
			return err
		},
		func(err error) {
			w.rec.add(
				Entry{
					At:   w.now(),
					What: "swept",
					Err:  err,
					Data: Swept{Name: inv.name, Report: rep, Began: began, Done: err == nil, Left: w.queue.left()},
				},
			)
		},
	)
}

// watchQuiet waits until nothing fails any more and all runs are over. It ends the simulation a few
// sweeps later.
func (w *world) watchQuiet() {
	now := w.now()
	if now > w.plan.Until+10*time.Minute {
		w.rec.add(Entry{At: now, What: "sample", Data: Sample{w.queue.left(), true}})
	}
	busy := w.store.open() > 0 || len(w.queue.tasks) > 0 || w.pipe.toCome > 0
	for _, k := range w.store.runs {
		busy = busy || !k.rec.Bookkeeping.Finalized && k.rec.State.Ended()
	}
	switch {
	case busy && now < w.plan.Until+w.longest():
		w.rec.QuietAt = 0
	case w.rec.QuietAt == 0:
		w.rec.QuietAt = now
	case now > w.rec.QuietAt+3*w.plan.SweepEvery:
		if !w.plan.Later {
			w.rec.Over = true
			return
		}
		w.later = true
		w.after(w.plan.Rules.Retention+time.Hour, func() {
			w.sweep()
			w.after(w.plan.SweepEvery, w.sweep)
			w.after(2*w.plan.SweepEvery, func() { w.rec.Over = true })
		})
		return
	}
	w.after(20*time.Second, w.watchQuiet)
}

// sample records the pending tasks.
func (w *world) sample() {
	w.rec.add(Entry{At: w.now(), What: "sample", Data: Sample{w.queue.left(), false}})
	if w.now() < w.plan.Until {
		w.after(7*time.Second, w.sample)
	}
}

// calm reports whether no call fails or is slow by chance, and no instance dies.
func (p Plan) calm() bool {
	dies := slices.ContainsFunc(p.Windows, func(x Window) bool { return x.Kind == Crash })
	return p.Rate == 0 && p.Slow == 0 && p.Again == 0 && len(p.Faults) == 0 && !dies
}

// punctual reports whether no call is so slow that the sweep could take a task for lost.
func (p Plan) punctual() bool {
	slow := slices.ContainsFunc(p.Faults, func(f Fault) bool {
		return f.Kind == SlowBefore || f.Kind == SlowAfter || f.Kind == FailLater || f.Kind == CrashLater
	})
	return p.Rate == 0 && p.Slow == 0 && !slow
}

// longest bounds how long the last run may take after the last failure.
func (w *world) longest() time.Duration {
	longest := w.plan.Deadline
	for _, c := range w.plan.Cases {
		for _, a := range c.Actions {
			longest = max(longest, a.Deadline)
		}
	}
	return longest + dispatchLimit + 20*time.Minute
}
