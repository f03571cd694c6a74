package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/watch"
)

// setUp plans everything that the world does by itself.
func (w *world) setUp() {
	for _, c := range w.plan.Cases {
		for n, a := range c.Actions {
			w.at(a.At, func() { w.request(a, c.ID, fmt.Sprintf("%s %s by caller %d", a.Do, c.ID, n), 0) })
		}
		for n, r := range c.Readers {
			name := fmt.Sprintf("read %s by reader %d", c.ID, n)
			rd := &reader{w: w, Reader: r, id: c.ID, name: name, rnd: chooser{stream(w.plan.Seed, name)}}
			w.at(r.From, rd.next)
		}
	}
	for _, x := range w.plan.Windows {
		if x.Kind != Crash && x.Kind != TasksPurged && x.Kind != PipelineStops {
			continue
		}
		w.at(x.From, func() {
			w.rec.add(Entry{At: w.now(), What: x.Kind})
			switch x.Kind {
			case Crash:
				w.kill(w.instances[x.Instance%len(w.instances)])
			case TasksPurged:
				w.queue.purge()
			case PipelineStops:
				w.pipe.stop()
			}
		})
	}
	w.at(w.plan.SweepEvery/3, w.sweep)
	w.at(w.plan.Until, w.watchQuiet)
	if w.plan.calm() {
		w.at(0, w.sample)
	}
}

// request does what an action says, and again until it is answered.
func (w *world) request(a Action, id, name string, try int) {
	rnd := chooser{stream(w.plan.Seed, fmt.Sprint(name, try))}
	var asked Asked
	w.spawn(fmt.Sprintf("%s try %d", name, try+1), runKey{id: id}, w.anyInstance(rnd), requestLimit, func(ctx context.Context, to *watch.Watcher) error {
		var err error
		asked, err = w.perform(ctx, to, a, id, name)
		return err
	}, func(err error) {
		again := false
		switch {
		case err == nil:
			w.rec.add(Entry{At: w.now(), What: "answered", Case: id, Run: asked.Run, Data: asked})
			again = a.Again > 0
			a.Again--
		case errors.Is(err, errDied), errors.Is(err, errTimeout), fault.KindOf(err) == fault.Unavailable:
			again = true
			a.Tries--
		case fault.KindOf(err) == fault.Internal:
			w.rec.add(Entry{At: w.now(), What: "answered", Case: id, Err: err, Data: Broken{err.Error()}})
		}
		if again && a.Tries > 0 {
			w.after(rnd.between(100*time.Millisecond, 30*time.Second), func() { w.request(a, id, name, try+1) })
		}
	})
}

func (w *world) perform(ctx context.Context, to *watch.Watcher, a Action, id, name string) (Asked, error) {
	asked := Asked{Action: a}
	switch a.Do {
	case "start":
		if a.Adopt {
			// Somebody handed it over before; that is no call of ours.
			_, _ = ask(ctx, w, "the pipeline works on it already", runKey{id: id}, nil, func() (bool, any, error) { w.pipe.adopted(id); return true, nil, nil })
		}
		req := watch.StartRequest{CaseID: id, Form: form(id, a, name), Key: a.Key, Deadline: a.Deadline, Supersede: a.Supersede, Adopt: a.Adopt}
		answer, err := to.Start(ctx, req)
		asked.take(answer, string(req.Form))
		return asked, err
	case "rerun":
		run := a.Run
		if run == 0 {
			s, err := to.Read(ctx, id, 0)
			if err != nil {
				return asked, err
			}
			run = s.View.Run
		}
		answer, err := to.Rerun(ctx, id, run, "")
		asked.take(answer, "")
		return asked, err
	default:
		view, err := to.Cancel(ctx, id, a.Run)
		asked.Run, asked.State = view.Run, view.State
		return asked, err
	}
}

func (a *Asked) take(s watch.StartAnswer, form string) {
	a.Run, a.State, a.Begun, a.Form = s.Case.Run, s.Case.State, s.Begun, form
	a.Created, a.DeadlineAt, a.Version = s.Case.CreatedAt, s.Case.DeadlineAt, s.Case.Version
}

// form is what a caller hands in: with a key, always the same.
func form(id string, a Action, name string) []byte {
	of := a.Key
	if of == "" {
		of = name
	}
	return fmt.Appendf(nil, `{"case_id":%q,"of":%q}`, id, of)
}

// reader is somebody who looks at a case again and again, one view after the other.
type reader struct {
	Reader
	w     *world
	id    string
	name  string
	rnd   chooser
	n     int
	known watch.Seen
}

func (r *reader) next() {
	w := r.w
	if w.now() > r.To || r.n > 400 {
		return
	}
	r.n++
	var got watch.Snapshot
	began := w.now()
	w.spawn(fmt.Sprint(r.name, " time ", r.n), runKey{id: r.id}, w.anyInstance(r.rnd), requestLimit, func(ctx context.Context, to *watch.Watcher) error {
		if r.Follow && r.known.Version > 0 {
			s, err := to.Follow(ctx, r.id, 0, r.known)
			if s != nil {
				got = *s
			}
			return err
		}
		var err error
		got, err = to.Read(ctx, r.id, 0)
		return err
	}, func(err error) {
		wait := r.Every
		if r.Follow {
			wait = time.Millisecond
		}
		switch {
		case err != nil:
			wait = max(wait, 5*time.Second)
		case got.View.Run > 0:
			r.known = got.Seen()
			w.rec.add(Entry{At: w.now(), What: "shown", Invocation: r.name, Began: began, Case: r.id, Run: got.View.Run, Data: Shown{Reader: r.name, View: got.View}})
			if r.Follow && !got.Open() {
				wait = max(wait, 20*time.Second)
			}
		}
		w.after(wait+r.rnd.between(time.Millisecond, time.Second), r.next)
	})
}

// sweep is what Cloud Scheduler does.
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
	var rep watch.Report
	began := w.now()
	var inv *invocation
	inv = w.spawn(fmt.Sprint("sweep ", n), runKey{}, w.anyInstance(rnd), sweepLimit, func(ctx context.Context, to *watch.Watcher) error {
		var err error
		rep, err = to.Sweep(ctx)
		return err
	}, func(err error) {
		w.rec.add(Entry{At: w.now(), What: "swept", Err: err, Data: Swept{Name: inv.name, Report: rep, Began: began, Done: err == nil}})
	})
}

// watchQuiet looks, once nothing breaks any more, whether all is over, and ends the run a few sweeps later.
func (w *world) watchQuiet() {
	now := w.now()
	if now > w.plan.Until+10*time.Minute {
		w.rec.add(Entry{At: now, What: "sample", Data: Sample{w.queue.left(), true}})
	}
	busy := w.store.open() > 0 || len(w.queue.tasks) > 0 || w.pipe.toCome > 0
	for _, k := range w.store.runs {
		busy = busy || !k.rec.Settled && k.rec.State.Ended()
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

// sample notes what is pending now.
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

// punctual reports whether nothing is so slow that the sweep could take it for lost.
func (p Plan) punctual() bool {
	slow := slices.ContainsFunc(p.Faults, func(f Fault) bool {
		return f.Kind == SlowBefore || f.Kind == SlowAfter || f.Kind == FailLater || f.Kind == CrashLater
	})
	return p.Rate == 0 && p.Slow == 0 && !slow
}

// longest is how long after the last trouble the last run may last.
func (w *world) longest() time.Duration {
	longest := w.plan.Deadline
	for _, c := range w.plan.Cases {
		for _, a := range c.Actions {
			longest = max(longest, a.Deadline)
		}
	}
	return longest + dispatchLimit + 20*time.Minute
}
