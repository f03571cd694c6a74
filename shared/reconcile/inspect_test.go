package reconcile_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

func (w *world) inspect() reconcile.Health {
	w.t.Helper()
	h, err := w.Inspect(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// What an inspection finds is what the next sweep then finds, and it changes nothing.
func TestInspectFindsWhatASweepFinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := func(id string) cases.Case {
		return w.begin(func(r *reconcile.StartRequest) { r.CaseID = id })
	}
	change := func(id string, f func(*cases.Case)) {
		c, err := w.store.Store.Get(t.Context(), id, 1)
		if err != nil {
			t.Fatal(err)
		}
		c.Version++
		f(&c)
		if err := w.store.Store.Update(t.Context(), store.Write{Case: c}); err != nil {
			t.Fatal(err)
		}
	}
	if h := w.inspect(); h != (reconcile.Health{}) {
		t.Errorf("of nothing: %+v", h)
	}
	begin("healthy")
	change("healthy", func(c *cases.Case) {
		c.Dispatch.Phase = cases.PhaseAnswered
		c.Checks.NextAt = c.CreatedAt.Add(50 * time.Minute)
		c.Bookkeeping.OverdueAt = c.Checks.NextAt
	})
	begin("check late")
	begin("past its deadline")
	change("past its deadline", func(c *cases.Case) { c.DeadlineAt = w.clock().Add(10 * time.Second) })
	begin("unscheduled")
	change("unscheduled", func(c *cases.Case) { c.Checks.NextAt = time.Time{} })
	for _, id := range []string{"dispatch waits", "dispatch lost"} {
		begin(id)
		change(id, func(c *cases.Case) { c.Checks.NextAt = w.clock().Add(50 * time.Minute) })
	}
	for name, task := range w.queue.pending {
		if task.CaseID == "dispatch lost" || task.CaseID == "unscheduled" {
			delete(w.queue.pending, name)
		}
	}
	w.topic.down = true
	for _, id := range []string{"untold", "untold and pending", "asked"} {
		c := begin(id)
		if id == "untold and pending" {
			ended, _ := w.rules.Apply(c, cases.Cancel{}, w.clock(), 0)
			if err := w.store.Store.Update(t.Context(), store.Write{Case: ended}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := w.Cancel(t.Context(), id, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.topic.down = false
	change("asked", func(c *cases.Case) {
		c.Bookkeeping.Finalized, c.Bookkeeping.PolledAfterEnd = true, 2
		c.Bookkeeping.OverdueAt = c.Outcome.EndedAt
	})
	if h := w.inspect(); h.Overdue+h.Leaked+h.Unpublished != 0 || h.Open != 6 {
		t.Errorf("within the grace: %+v", h)
	}
	w.pass(time.Minute)
	log := w.log.Len()
	var last reconcile.Health
	for range 2 {
		last = w.inspect()
		if last.OldestOverdue == nil || !last.OldestOverdue.Equal(epoch) &&
			!last.OldestOverdue.Equal(epoch.Add(2*time.Second)) {
			t.Errorf("the oldest is of %v", last.OldestOverdue)
		}
		last.OldestOverdue = nil
		if last != (reconcile.Health{Open: 6, Overdue: 4, Leaked: 4, Unpublished: 2}) {
			t.Errorf("%+v", last)
		}
	}
	if w.log.Len() != log {
		t.Errorf("it logs: %s", w.log.String()[log:])
	}
	rep := w.sweep()
	if rep.Overdue != last.Overdue || rep.Leaked != last.Leaked || rep.Republished != last.Unpublished {
		t.Errorf("the sweep found %+v, the inspection %+v", rep, last)
	}
	h := w.inspect()
	h.OldestOverdue = nil
	if h != (reconcile.Health{Open: 5, Overdue: 1}) { // the check that is only late is left to the queue
		t.Errorf("after the sweep: %+v", h)
	}
}

// It reads no more than it must, and says so.
func TestInspectIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.topic.down = true
	for i := range 60 {
		id := fmt.Sprint("untold", i)
		w.begin(func(r *reconcile.StartRequest) { r.CaseID = id })
		if _, err := w.Cancel(t.Context(), id, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(time.Minute)
	if h := w.inspect(); h != (reconcile.Health{Unpublished: 60, Partial: true}) {
		t.Errorf("after 50 questions: %+v", h)
	}
	w.queue.setDown(true)
	if h := w.inspect(); h != (reconcile.Health{Unpublished: 60, Partial: true}) ||
		len(w.lines("the queue could not be asked for a task")) != 1 {
		t.Errorf("the queue is down: %+v", h)
	}
	for i := range 950 {
		w.put(i)
	}
	w.pass(time.Minute)
	if h := w.inspect(); !h.Partial || h.Unpublished != 60 || h.Overdue != 940 || h.Open != 950 {
		t.Errorf("after 1000 records: %+v", h)
	}
	for _, method := range []string{"Overdue", "CountOpen"} {
		w.store.before = failing(method, 1, 1)
		if _, err := w.Inspect(t.Context()); kindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// put puts an open run straight into the store.
func (w *world) put(i int) {
	w.t.Helper()
	in := cases.Started{CaseID: fmt.Sprint("open", i), Run: 1, Deadline: time.Hour}
	c, _ := w.rules.Apply(cases.Case{}, in, w.clock(), 0)
	head := store.Head{CaseID: c.CaseID, Run: 1, Version: 1}
	err := w.store.Store.Begin(w.t.Context(), store.Begin{Head: head, Case: c})
	if err != nil {
		w.t.Fatal(err)
	}
}
