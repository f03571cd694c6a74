package reconcile_test

import (
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

func TestRerun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(func(r *reconcile.StartRequest) { r.Deadline = 7 * time.Minute; r.Form = []byte(`{"a":"form"}`) })
	w.run(10 * time.Minute)
	w.want(1, cases.TimedOut, cases.ReasonDeadline)
	answer, err := w.Rerun(t.Context(), "c", 1, traceParent)
	if err != nil || !answer.Begun || answer.Case.Run != 2 ||
		answer.Case.DeadlineAt.Sub(answer.Case.CreatedAt) != 7*time.Minute || answer.Case.TraceParent != traceParent {
		t.Fatalf("%+v %v", answer, err)
	}
	again, err := w.Rerun(t.Context(), "c", 1, traceParent)
	if err != nil || again.Begun || again.Case.Run != 2 {
		t.Errorf("a repeat: %+v %v", again, err)
	}
	w.run(10 * time.Second)
	if jobs := w.pipe.jobs; len(jobs) != 2 || jobs[1].Run != 2 || string(jobs[1].Form) != `{"a":"form"}` {
		t.Errorf("%+v", jobs)
	}
	w.run(10 * time.Minute)
	w.want(2, cases.TimedOut, cases.ReasonDeadline)
	if again, err = w.Rerun(t.Context(), "c", 1, ""); err != nil || again.Begun || again.Case.Run != 2 {
		t.Errorf("a repeat after its end: %+v %v", again, err)
	}
	if third, err := w.Rerun(t.Context(), "c", 2, ""); err != nil || third.Case.Run != 3 {
		t.Errorf("%+v %v", third, err)
	}
	if _, err := w.Rerun(t.Context(), "c", 1, ""); kindOf(err) != fault.Conflict {
		t.Errorf("a repeat that is of yesterday: %v", err)
	}
}

func TestRerunRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := func(id string, change ...func(*reconcile.StartRequest)) cases.Case {
		return w.begin(append(change, func(r *reconcile.StartRequest) { r.CaseID = id })...)
	}
	cancel := func(id string) {
		if _, err := w.Cancel(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
	}
	begin("expired")
	cancel("expired")
	w.pass(25 * time.Hour)
	w.sweep()
	begin("open")
	begin("older")
	cancel("older")
	begin("older")
	cancel("older")
	begin("adopted", func(r *reconcile.StartRequest) { r.Adopt = true })
	cancel("adopted")
	begin("succeeded")
	if err := w.Dispatch(t.Context(), queue.Body{CaseID: "succeeded", Run: 1, Seq: 1}, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.publish("m", `{"case_id":"succeeded","run":1,"status":"succeeded","result":{}}`); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		id   string
		run  int
		want fault.Kind
	}{
		{"nobody", 1, fault.NotFound}, {"expired", 1, fault.Conflict}, {"open", 1, fault.Conflict},
		{"older", 1, fault.Conflict}, {"older", 3, fault.Conflict},
		{"older", 0, fault.Conflict}, {"adopted", 1, fault.Conflict}, {"succeeded", 1, fault.Conflict},
	} {
		before := len(w.queue.taken)
		_, err := w.Rerun(t.Context(), test.id, test.run, "")
		if kindOf(err) != test.want || fault.From(err).Detail == "" {
			t.Errorf("%s: %v, want %v", test.id, err, test.want)
		}
		if len(w.queue.taken) != before {
			t.Errorf("%s: something was scheduled", test.id)
		}
	}
}

// However many ask at once, one run is begun, and each is told of it.
func TestRerunTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	if _, err := w.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	begun := make(chan bool, 10)
	for range 10 {
		wg.Go(func() {
			answer, err := w.Rerun(t.Context(), "c", 1, "")
			if err != nil || answer.Case.Run != 2 {
				t.Errorf("%+v %v", answer, err)
			}
			begun <- answer.Begun
		})
	}
	wg.Wait()
	close(begun)
	n := 0
	for b := range begun {
		if b {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d were begun", n)
	}
}

func TestRerunWhenSomethingIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	if _, err := w.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	rerun := func() (reconcile.StartAnswer, error) { return w.Rerun(t.Context(), "c", 1, "") }
	for _, method := range []string{"Current", "Value", "Begin"} {
		w.store.before = failing(method, 1, 1)
		if _, err := rerun(); kindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", method, err)
		}
	}
	w.store.before = func(method string) error {
		if method == "Value" {
			return store.ErrNotFound // the record says that it is there
		}
		return nil
	}
	if _, err := rerun(); kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	w.store.before = nil
	w.queue.setDown(true)
	if _, err := rerun(); kindOf(err) != fault.Unavailable || w.get(2).State != cases.Pending {
		t.Errorf("recorded and not queued: %v", err)
	}
	w.queue.setDown(false)
	if answer, err := rerun(); err != nil || answer.Begun || w.queue.count(queue.Dispatch) != 1 {
		t.Errorf("a repeat heals it: %+v %v", answer, err)
	}
}
