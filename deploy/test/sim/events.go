package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/events"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// publish publishes an event of the pipeline. Pub/Sub delivers it until it is acknowledged.
func (p *fakePipeline) publish(j *job, n int, word Word) {
	w := p.w
	data := map[string]any{"case_id": j.key.id, "status": word.Status}
	named := !word.NoRun && !j.adopted || w.plan.Callbacks
	if named {
		data["run"] = j.key.run
	}
	p.words++
	said := Said{
		At:     w.now(),
		Case:   j.key.id,
		Run:    j.key.run,
		Named:  named,
		Status: word.Status,
		Word:   p.words,
		ID:     fmt.Sprintf("m%d", p.words),
	}
	if word.Result && word.Status != "running" {
		outcome := j.work.Outcome
		if word.Status == "failed" {
			outcome = OutcomeFailure
		} else if outcome == OutcomeFailure || outcome == OutcomeNowhere {
			outcome = OutcomeSuccess
		}
		said.Result = true
		said.Nothing = outcome == OutcomeNothing
		data["result"] = resultData(j.key, outcome, p.words, "event")
	}
	if word.Status == "failed" {
		data["error"] = map[string]any{"code": "E1", "message": "it says no"}
	}
	if word.Progress {
		r := j.reading(w.now())
		data["progress"] = map[string]any{"completed": r.Completed, "total": r.Total, "current_doc": r.Current}
	}
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	said.Lost = word.Lost
	w.rec.add(Entry{At: w.now(), What: "published", Case: j.key.id, Run: j.key.run, Data: said})
	if word.Lost {
		return
	}
	m := &message{w: w, said: said, Message: reconcile.Message{ID: said.ID, Published: time.Now(), Data: raw}}
	p.toCome++
	m.rnd = chooser{stream(w.plan.Seed, fmt.Sprint("event ", j.key.id, j.key.run, n, p.taken[j.key.id]))}
	w.after(word.Delay, m.deliver)
	if m.rnd.chance(w.plan.Again) {
		w.after(word.Delay+m.rnd.between(time.Millisecond, 10*time.Minute), m.deliver)
	}
}

// message is one message in delivery to complete.
type message struct {
	reconcile.Message
	w     *world
	said  Said
	rnd   chooser
	tries int
	done  bool
}

func (m *message) deliver() {
	w, p := m.w, m.w.pipe
	if w.broken(EventsHeld) {
		w.after(m.rnd.between(time.Second, time.Minute), m.deliver)
		return
	}
	m.tries++
	name := fmt.Sprintf("complete %s/%d %s delivery %d", m.said.Case, m.said.Run, m.ID, m.tries)
	w.spawn(
		name,
		runKey{m.said.Case, m.said.Run},
		w.anyInstance(m.rnd),
		requestLimit,
		func(ctx context.Context, to *reconcile.Reconciler) error {
			if !w.plan.Callbacks {
				return to.Complete(ctx, m.Message)
			}
			err := to.Callback(ctx, reconcile.CallbackReport{
				CaseID: m.said.Case, Run: m.said.Run, Body: m.Data, Header: map[string][]string{"Webhook-Id": {m.ID}},
			})
			if err == nil || fault.KindOf(err) == fault.NotFound || fault.KindOf(err) == fault.Invalid {
				return nil // the pipeline does not repeat what is not taken
			}
			return err
		},
		func(err error) {
			if err != nil {
				w.after(min(time.Second<<min(m.tries, 9), 10*time.Minute), m.deliver)
				return
			}
			if !m.done {
				m.done = true
				p.toCome--
			}
			w.rec.add(Entry{At: w.now(), What: "taken", Case: m.said.Case, Run: m.said.Run, Data: Taken{m.said.Word}})
		},
	)
}

// fakeTopic is where ends are published.
type fakeTopic struct{ w *world }

func (p *fakeTopic) down() bool { return p.w.broken(TopicDown) }

// PublishEnded implements reconcile.Publisher.
func (p *fakeTopic) PublishEnded(ctx context.Context, v cases.View, traceParent string) error {
	e, err := events.EncodeEnded("sim", v, traceParent)
	if err != nil {
		_, _ = ask(
			ctx,
			p.w,
			callTell,
			runKey{v.CaseID, v.Run},
			p.down,
			func() (bool, any, error) { return true, Broken{err.Error()}, nil },
		)
		return err
	}
	_, err = ask(ctx, p.w, callTell, runKey{v.CaseID, v.Run}, p.down, func() (bool, any, error) {
		return true, Told{ID: e.Attributes["ce-id"], Time: e.Attributes["ce-time"], Data: e.Data}, nil
	})
	return err
}

// ForwardInvalid implements reconcile.Publisher.
func (p *fakeTopic) ForwardInvalid(ctx context.Context, data []byte, _ map[string]string, why string) error {
	_, err := ask(ctx, p.w, "topic: dead letter", runKey{}, p.down, func() (bool, any, error) {
		return true, DeadLetter{string(data), why}, nil
	})
	return err
}
