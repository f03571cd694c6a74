package reconcile_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// counting counts the calls of the store and the queue, by name.
func (w *world) counting(calls map[string]int) {
	w.store.before = func(method string) error { calls[method]++; return nil }
	w.queue.called = func(method string) { calls[method]++ }
}

// What an invocation costs is its calls: no more than these. A check reads once and writes once.
func TestCallsOfAnInvocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, step := range []struct {
		name string
		do   func() error
		want map[string]int
	}{
		// An instance asks once a minute what earlier runs tell: its first start has one read more.
		{"the first start", func() error { w.begin(); return nil },
			map[string]int{"Current": 1, "DurationStats": 1, "Begin": 1, "queue.Create": 2}},
		{"dispatch, accepted", func() error { return w.deliverNext() },
			map[string]int{"Get": 1, "Value": 1, "Update": 2}},
		{"check", func() error { return w.deliverNext() }, map[string]int{"Get": 1, "Update": 1, "queue.Create": 1}},
		{"check without news", func() error { return w.deliverNext() },
			map[string]int{"Get": 1, "Update": 1, "queue.Create": 1}},
		{"event of progress", func() error {
			return w.publish("p", `{"case_id":"c","run":1,"status":"running","progress":{"completed":2,"total":4}}`)
		}, map[string]int{"Get": 1, "Update": 1}},
		{"event of the end", func() error {
			return w.publish("e", `{"case_id":"c","run":1,"status":"succeeded","result":{"success":true}}`)
		}, map[string]int{
			"Get": 1, "Value": 1, "Update": 2, "queue.Delete": 1,
			"DurationStats": 1, "SaveDurationStats": 1, // an end that is learned from
		}},
		{"the same event again", func() error {
			return w.publish("e", `{"case_id":"c","run":1,"status":"succeeded","result":{"success":true}}`)
		}, map[string]int{"Get": 1}},
		{"check after the end", func() error { return w.Check(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: 3}) },
			map[string]int{"Get": 1}},
		{"another start", func() error { w.begin(func(r *reconcile.StartRequest) { r.CaseID = "d" }); return nil },
			map[string]int{"Current": 1, "Begin": 1, "queue.Create": 2}},
		{"sweep in health", func() error { w.sweep(); return nil }, map[string]int{"Overdue": 1, "CountOpen": 1}},
	} {
		calls := map[string]int{}
		w.counting(calls)
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if !maps.Equal(calls, step.want) {
			t.Errorf("%s: %v, want %v", step.name, calls, step.want)
		}
	}
}

func (w *world) deliverNext() error {
	w.t.Helper()
	delivered, err := w.deliver(time.Hour)
	if err == nil && !delivered {
		err = errors.New("nothing to deliver")
	}
	return err
}

// BenchmarkCheck is a look without news at one run after the other, over an embedded store: the
// read, the check, the write and the next task.
func BenchmarkCheck(b *testing.B) {
	w := newWorld(b)
	ids := make([]string, 64)
	for i := range ids {
		ids[i] = fmt.Sprint("c", i)
		_, err := w.Start(b.Context(), reconcile.StartRequest{
			CaseID: ids[i], Form: []byte("{}"), Adopt: true, Deadline: 24 * time.Hour,
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	seqs := make([]int64, len(ids))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := i % len(ids)
		if n == 0 {
			w.log.Reset()
		}
		seqs[n]++
		if err := w.Check(b.Context(), queue.Body{CaseID: ids[n], Run: 1, Seq: seqs[n]}); err != nil {
			b.Fatal(err)
		}
	}
}
