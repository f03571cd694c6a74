package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// setUp schedules every event of the plan.
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

// request performs an action, and repeats it until it is answered.
func (w *world) request(a Action, id, name string, try int) {
	rnd := chooser{stream(w.plan.Seed, fmt.Sprint(name, try))}
	var asked Asked
	began := w.now()
	w.spawn(
		fmt.Sprintf("%s try %d", name, try+1),
		runKey{id: id},
		w.anyInstance(rnd),
		requestLimit,
		func(ctx context.Context, to *reconcile.Reconciler) error {
			var err error
			asked, err = w.perform(ctx, to, a, id, name)
			return err
		},
		func(err error) {
			again := false
			switch {
			case err == nil:
				w.rec.add(Entry{At: w.now(), What: "answered", Began: began, Case: id, Run: asked.Run, Data: asked})
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
		},
	)
}

func (w *world) perform(ctx context.Context, to *reconcile.Reconciler, a Action, id, name string) (Asked, error) {
	asked := Asked{Action: a}
	switch a.Do {
	case "start":
		if a.Adopt {
			// Another system sent it to the pipeline before; that is no call of Casewatch.
			_, _ = ask(
				ctx,
				w,
				"the pipeline works on it already",
				runKey{id: id},
				nil,
				func() (bool, any, error) { w.pipe.adopted(id); return true, nil, nil },
			)
		}
		req := reconcile.StartRequest{
			CaseID:    id,
			Form:      form(id, a, name),
			Key:       a.Key,
			Deadline:  a.Deadline,
			Supersede: a.Supersede,
			Adopt:     a.Adopt,
		}
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
		asked.Of = run
		return asked, err
	default:
		view, err := to.Cancel(ctx, id, a.Run)
		asked.Run, asked.State = view.Run, view.State
		return asked, err
	}
}

func (a *Asked) take(s reconcile.StartAnswer, form string) {
	a.Run, a.State, a.Begun, a.Form = s.Case.Run, s.Case.State, s.Begun, form
	a.Created, a.DeadlineAt, a.Version = s.Case.CreatedAt, s.Case.DeadlineAt, s.Case.Version
}

// form returns the form of a caller. For one key it is always the same, unless the action asks for
// another one.
func form(id string, a Action, name string) []byte {
	of := a.Key
	if of == "" || a.Other {
		of += name
	}
	return fmt.Appendf(nil, `{"case_id":%q,"of":%q}`, id, of)
}

// followName is the prefix of the names of invocations that wait for news of a case.
const followName = "follow: "

// reader reads a case repeatedly, one view after the other.
type reader struct {
	Reader
	w     *world
	id    string
	name  string
	rnd   chooser
	n     int
	known reconcile.Snapshot
}

func (r *reader) next() {
	w := r.w
	if w.now() > r.To || r.n > 400 {
		return
	}
	r.n++
	var got reconcile.Snapshot
	began := w.now()
	name, follows := fmt.Sprint(r.name, " time ", r.n), r.Follow && r.known.View.Version > 0
	if follows {
		name = followName + name
	}
	w.spawn(
		name,
		runKey{id: r.id},
		w.anyInstance(r.rnd),
		requestLimit,
		func(ctx context.Context, to *reconcile.Reconciler) error {
			if follows {
				s, err := to.Follow(ctx, r.id, 0, &r.known)
				switch {
				case s.NewsTo(&r.known):
					got = *s
				case s != nil:
					r.known = *s
				}
				return err
			}
			var err error
			got, err = to.Read(ctx, r.id, 0)
			return err
		},
		func(err error) {
			wait := r.Every
			if r.Follow {
				wait = time.Millisecond
			}
			switch {
			case err != nil:
				wait = max(wait, 5*time.Second)
			case got.View.Run > 0:
				r.known = got
				w.rec.add(
					Entry{
						At:         w.now(),
						What:       "shown",
						Invocation: r.name,
						Began:      began,
						Case:       r.id,
						Run:        got.View.Run,
						Data:       Shown{Reader: r.name, Followed: follows, View: got.View},
					},
				)
				if r.Follow && !got.Open() {
					wait = max(wait, 20*time.Second)
				}
			}
			w.after(wait+r.rnd.between(time.Millisecond, time.Second), r.next)
		},
	)
}
