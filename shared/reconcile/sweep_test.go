package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

func (w *world) sweep() reconcile.Report {
	w.t.Helper()
	rep, err := w.Sweep(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return rep
}

func TestSweepRearmsALostChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(10 * time.Second)
	w.queue.purge()
	if rep := w.sweep(); rep != (reconcile.Report{Open: 1}) {
		t.Errorf("too early: %+v", rep)
	}
	w.pass(time.Minute)
	seq := w.get(1).Checks.Seq
	if rep := w.sweep(); rep != (reconcile.Report{Open: 1, Overdue: 1, Rescheduled: 1}) {
		t.Errorf("%+v", rep)
	}
	if w.get(1).Checks.Seq != seq+1 || w.queue.count(queue.Check) != 1 {
		t.Error("not under a new sequence number")
	}
	if rep := w.sweep(); rep != (reconcile.Report{Open: 1}) {
		t.Errorf("%+v", rep)
	}
	polls := w.pipe.polls
	w.run(time.Minute)
	if w.pipe.polls == polls {
		t.Error("the chain does not go on")
	}
}

func TestSweepRearmsALostDispatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.queue.purge()
	w.pass(time.Minute)
	if rep := w.sweep(); rep.Rescheduled != 1 {
		t.Errorf("%+v", rep)
	}
	w.run(time.Minute)
	if c := w.get(1); len(w.pipe.jobs) != 1 || c.Dispatch.Seq != 2 || c.State != cases.Running {
		t.Errorf("%d sent, %+v", len(w.pipe.jobs), c.Dispatch)
	}
}

func TestSweepLeavesALateQueueAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(10 * time.Second)
	w.pass(30 * time.Minute) // paused
	version := w.get(1).Version
	if rep := w.sweep(); rep != (reconcile.Report{Open: 1, Overdue: 1}) {
		t.Errorf("%+v", rep)
	}
	if w.get(1).Version != version {
		t.Error("touched")
	}
	w.pass(40 * time.Minute)
	if rep := w.sweep(); rep != (reconcile.Report{Overdue: 1, TimedOut: 1}) {
		t.Errorf("%+v", rep)
	}
	c := w.want(1, cases.TimedOut, cases.ReasonDeadline)
	if c.Outcome.End.Source != cases.SourceSweep || !c.Bookkeeping.Finalized || w.queue.count(queue.Check) != 0 {
		t.Errorf("%+v", c.Outcome.End)
	}
}

func TestSweepPagesThroughAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 250 {
		w.begin(func(r *reconcile.StartRequest) { r.CaseID = fmt.Sprint("case", i) })
	}
	w.queue.purge()
	w.pass(time.Minute)
	if rep := w.sweep(); rep != (reconcile.Report{Open: 250, Overdue: 250, Rescheduled: 250}) {
		t.Errorf("%+v", rep)
	}
	w.pass(time.Minute)
	// A request about to end leaves the rest to the next one.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if rep, err := w.Sweep(ctx); err != nil || rep != (reconcile.Report{Open: 250}) {
		t.Errorf("%+v %v", rep, err)
	}
}

func TestSweepEndsRunsWhateverElseIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 12 {
		w.begin(func(r *reconcile.StartRequest) { r.CaseID = fmt.Sprint("long", i); r.Deadline = 20 * time.Hour })
		id := fmt.Sprint("untold", i)
		w.begin(func(r *reconcile.StartRequest) { r.CaseID = id })
		w.topic.down = true
		if _, err := w.Cancel(t.Context(), id, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(time.Second)
	w.begin(func(r *reconcile.StartRequest) { r.Deadline = time.Minute })
	w.queue.setDown(true)
	w.pass(10 * time.Minute)
	rep, err := w.Sweep(t.Context())
	if kindOf(err) != fault.Unavailable || rep.TimedOut != 1 || rep.Overdue != 13 {
		t.Errorf("%+v %v", rep, err)
	}
	w.want(1, cases.TimedOut, cases.ReasonDeadline)
	w.queue.setDown(false)
	w.topic.down = false
	w.pass(time.Minute)
	rep, err = w.Sweep(t.Context())
	if err != nil || rep.Republished != 13 || rep.Rescheduled != 0 || len(w.topic.ended) != 13 {
		t.Errorf("%+v %v", rep, err)
	}
}

func TestBacklogIsNotOverdue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	for range 5 { // only checks are delivered: the dispatch queue works something else off
		c := w.get(1)
		w.pass(30 * time.Second)
		if err := w.Check(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: c.Checks.Seq}); err != nil {
			t.Fatal(err)
		}
	}
	if rep := w.sweep(); rep != (reconcile.Report{Open: 1}) {
		t.Errorf("%+v", rep)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(2 * time.Hour)
	w.begin()
	w.deliver(0)
	if _, err := w.Cancel(t.Context(), "c", 2); err != nil {
		t.Fatal(err)
	}
	if rep := w.sweep(); rep != (reconcile.Report{}) {
		t.Errorf("%+v", rep)
	}
	w.pass(25 * time.Hour)
	if rep := w.sweep(); rep != (reconcile.Report{}) {
		t.Errorf("%+v", rep)
	}
	for run := 1; run <= 2; run++ {
		_, err := w.store.Value(t.Context(), "c", run, store.Form)
		if !errors.Is(err, store.ErrNotFound) || w.get(run).Bookkeeping.FormKept {
			t.Errorf("the form of run %d is kept: %v", run, err)
		}
	}
	w.pass(w.rules.Retention)
	if rep := w.sweep(); rep != (reconcile.Report{Purged: 2}) {
		t.Errorf("%+v", rep)
	}
	if _, err := w.Read(t.Context(), "c", 0); kindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

func TestLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(10 * time.Second)
	c := w.get(1)
	// The end is recorded by a process that died at once: its check still pends.
	ended, _ := w.rules.Apply(c, cases.Cancel{}, w.clock(), 0)
	if err := w.store.Store.Update(t.Context(), store.Write{Case: ended}); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	if rep := w.sweep(); rep != (reconcile.Report{Republished: 1, Leaked: 1}) {
		t.Errorf("%+v", rep)
	}
	// A check asked although it read an ended record.
	asked, v := w.rules.Apply(w.get(1),
		cases.CheckOutcome{Seq: 1, Kind: cases.CheckUnknown, ReadVersion: w.get(1).Version}, w.clock(), 0)
	if err := w.store.Store.Update(t.Context(), store.Write{Case: asked}); err != nil || !v.Changed() {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	if rep := w.sweep(); rep != (reconcile.Report{Leaked: 1}) {
		t.Errorf("%+v", rep)
	}
	if len(w.lines("sweep")) != 2 || w.lines("sweep")[0]["severity"] != "ERROR" {
		t.Error("a leak is no error in the log")
	}
	for _, message := range []string{"a check was pending after the end", "the pipeline was polled after the end"} {
		if lines := w.lines(message); len(lines) != 1 || lines[0]["case_id"] != c.CaseID {
			t.Errorf("lines that name the run of %q: %v, want one", message, lines)
		}
	}
	if rep := w.sweep(); rep != (reconcile.Report{}) {
		t.Errorf("reported twice: %+v", rep)
	}
	// An open run that nobody will wake.
	w.begin()
	c = w.get(2)
	c.Version++
	c.Checks.NextAt, c.Bookkeeping.OverdueAt = time.Time{}, w.clock().Add(-time.Hour)
	if err := w.store.Store.Update(t.Context(), store.Write{Case: c}); err != nil {
		t.Fatal(err)
	}
	w.queue.purge()
	w.pass(time.Minute)
	if rep := w.sweep(); rep != (reconcile.Report{Open: 1, Overdue: 1, Rescheduled: 1, Leaked: 1}) {
		t.Errorf("%+v", rep)
	}
	if lines := w.lines("an open run had no next check"); len(lines) != 1 || lines[0]["case_id"] != "c" {
		t.Errorf("lines that name the run without a next check: %v, want one", lines)
	}
}

func TestHealOnDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(10 * time.Second)
	c := w.get(1)
	ended, _ := w.rules.Apply(c, cases.Cancel{}, w.clock(), 0)
	if err := w.store.Store.Update(t.Context(), store.Write{Case: ended}); err != nil {
		t.Fatal(err)
	}
	body := queue.Body{CaseID: "c", Run: 1, Seq: c.Checks.Seq}
	// Whoever ended it is still telling it: the delivery waits for that, and tells nothing itself.
	told := make(chan error, 1)
	go func() { told <- w.Check(t.Context(), body) }()
	settled, _ := w.rules.Apply(ended, cases.Finalized{}, w.clock(), 0)
	if err := w.store.Store.Update(t.Context(), store.Write{Case: settled}); err != nil {
		t.Fatal(err)
	}
	if err := <-told; err != nil || len(w.topic.ended) != 0 {
		t.Error(err, len(w.topic.ended))
	}
	settled.Bookkeeping.Finalized = false // and now as if it had not been
	settled.Version++
	if err := w.store.Store.Update(t.Context(), store.Write{Case: settled}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Check(ctx, body); kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	w.pass(time.Minute)
	w.topic.down = true
	if err := w.Check(t.Context(), body); kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	w.topic.down = false
	if err := w.Dispatch(t.Context(), body, 0); err != nil || len(w.topic.ended) != 1 ||
		!w.get(1).Bookkeeping.Finalized {
		t.Error("a delivery does not heal:", err)
	}
}

// A report of progress that came after the deadline ended the run, and who took it died: the same
// report, delivered again, is no news to an ended run.
func TestHealOnEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.pass(2 * time.Hour)
	event := reconcile.Message{
		ID: "m1", Published: w.clock(), Data: []byte(`{"case_id":"c","run":1,"status":"running"}`),
	}
	ended, _ := w.rules.Apply(w.get(1), cases.Event{ID: "event:m1", Status: "running"}, w.clock(), 0)
	if err := w.store.Store.Update(t.Context(), store.Write{Case: ended}); err != nil || ended.State != cases.TimedOut {
		t.Fatal(ended.State, err)
	}
	w.pass(time.Minute)
	if err := w.Complete(t.Context(), event); err != nil || len(w.topic.ended) != 1 || !w.get(1).Bookkeeping.Finalized {
		t.Error("an event does not heal:", err)
	}
}

// A store that fails while a delivery waits for an end to be told, and only answers so when that
// time is over, leaves nothing to tell: the delivery is repeated.
func TestHealWithoutARecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(10 * time.Second)
	c := w.get(1)
	ended, _ := w.rules.Apply(c, cases.Cancel{}, w.clock(), 0)
	if err := w.store.Store.Update(t.Context(), store.Write{Case: ended}); err != nil {
		t.Fatal(err)
	}
	w.pass(1900 * time.Millisecond) // it waits for 100 ms
	reads := 0
	w.store.before = func(method string) error {
		if method != "Get" {
			return nil
		}
		if reads++; reads == 1 {
			return nil
		}
		time.Sleep(200 * time.Millisecond) // longer than it waits
		return errDown
	}
	w.store.after = func(method string) error {
		if method != "Get" {
			return nil
		}
		later := ended // what it then sees is a change, and not the telling
		later.Version++
		return w.store.Store.Update(t.Context(), store.Write{Case: later})
	}
	err := w.Check(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: c.Checks.Seq})
	if kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	if len(w.topic.ended) != 0 {
		t.Errorf("told: %+v", w.topic.ended)
	}
}

func TestStoreDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.deliver(0)
	all := func(string) error { return errDown }
	w.store.before = all
	ctx := t.Context()
	_, startErr := w.Start(ctx, reconcile.StartRequest{CaseID: "c"})
	_, cancelErr := w.Cancel(ctx, "c", 0)
	_, readErr := w.Read(ctx, "c", 0)
	_, sweepErr := w.Sweep(ctx)
	for name, err := range map[string]error{
		"start": startErr, "cancel": cancelErr, "read": readErr, "sweep": sweepErr,
		"check":             w.Check(ctx, queue.Body{CaseID: "c", Run: 1, Seq: 1}),
		"dispatch":          w.Dispatch(ctx, queue.Body{CaseID: "c", Run: 1, Seq: 1}, 0),
		"complete":          w.publish("m", `{"case_id":"c","status":"failed"}`),
		"complete with run": w.publish("m", `{"case_id":"c","run":1,"status":"failed"}`),
	} {
		if kindOf(err) != fault.Unavailable || !errors.Is(err, errDown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, method := range []string{"Update", "CountOpen", "Overdue"} {
		w.store.before = failing(method, 1, 1)
		if _, err := w.Sweep(ctx); method != "Update" && kindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", method, err)
		}
	}
	w.store.before = failing("Update", 1, 1)
	if _, err := w.Cancel(ctx, "c", 0); kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	w.store.before = failing("Get", 1, 1)
	if _, err := w.Cancel(ctx, "c", 2); kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.deliver(0)
	if err := w.publish("m", `{"case_id":"c","run":1,"status":"failed","result":{"a":1}}`); err != nil {
		t.Fatal(err)
	}
	s, err := w.Read(t.Context(), "c", 0)
	c := w.get(1)
	if err != nil || !s.Current || s.Open() || string(s.View.Result) != `{"a":1}` ||
		s.EndVersion != c.Outcome.EndVersion || s.Seen() != (reconcile.Seen{Run: 1, Version: c.Outcome.EndVersion}) ||
		s.View.Version <= c.Outcome.EndVersion {
		t.Fatal(s, err)
	}
	w.begin()
	if s, err = w.Read(t.Context(), "c", 1); err != nil || s.Current || s.View.Run != 1 {
		t.Error(s, err)
	}
	if s, err = w.Read(t.Context(), "c", 0); err != nil || !s.Open() ||
		s.Seen() != (reconcile.Seen{Run: 2, Version: 1}) {
		t.Error(s, err)
	}
	if _, err = w.Read(t.Context(), "c", 9); kindOf(err) != fault.NotFound {
		t.Error(err)
	}
	// A value that is gone is read again, and in the end given up.
	w.store.before = func(method string) error {
		if method == "Value" {
			return store.ErrNotFound
		}
		return nil
	}
	if _, err = w.Read(t.Context(), "c", 1); kindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	w.store.before = nil
	followed := make(chan error, 1)
	go func() {
		s, err := w.Follow(t.Context(), "c", 0, shown(reconcile.Seen{Run: 2, Version: 1}))
		if s == nil || s.View.State != cases.Cancelled {
			t.Errorf("%+v", s)
		}
		followed <- err
	}()
	if _, err := w.Cancel(t.Context(), "c", 2); err != nil {
		t.Fatal(err)
	}
	if err := <-followed; err != nil {
		t.Error(err)
	}
	if _, err := w.Follow(t.Context(), "nobody", 0, &reconcile.Snapshot{}); kindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

func TestConflictsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begin()
		conflict := func(on string) func(string) error {
			return func(method string) error {
				if method == on {
					return store.ErrConflict
				}
				return nil
			}
		}
		w.store.before = conflict("Update")
		if _, err := w.Cancel(t.Context(), "c", 0); kindOf(err) != fault.Unavailable {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w.store.before = func(method string) error { cancel(); return conflict("Update")(method) }
		if err := w.publish("x", `{"case_id":"c","run":1,"status":"failed"}`); kindOf(err) != fault.Unavailable {
			t.Error(err)
		}
		if _, err := w.Cancel(ctx, "c", 0); err == nil {
			t.Error("goes on after its context ended")
		}
		w.store.before = conflict("Begin")
		if _, err := w.Start(t.Context(), reconcile.StartRequest{
			CaseID: "d", Form: []byte("{}"),
		}); kindOf(err) != fault.Unavailable {
			t.Error(err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		w.store.before = func(method string) error { cancel(); return conflict("Begin")(method) }
		if _, err := w.Start(ctx, reconcile.StartRequest{CaseID: "d", Form: []byte("{}")}); err == nil {
			t.Error("goes on after its context ended")
		}
	})
}

// Whoever changes a run just as the sweep is at it does not keep it open for another sweep.
func TestSweepTriesAgainOnAConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(10 * time.Second)
	w.queue.purge()
	w.pass(24 * time.Hour)
	conflicts := 0
	w.store.before = func(method string) error {
		if method == "Update" && conflicts < 2 {
			conflicts++
			return store.ErrConflict
		}
		return nil
	}
	if rep := w.sweep(); rep != (reconcile.Report{Overdue: 1, TimedOut: 1}) {
		t.Errorf("%+v", rep)
	}
	w.want(1, cases.TimedOut, cases.ReasonDeadline)
	if conflicts != 2 {
		t.Errorf("%d conflicts", conflicts)
	}

	// One that never ends is told: whoever called tries again.
	w = newWorld(t)
	w.begin()
	w.pass(24 * time.Hour)
	w.store.before = func(method string) error {
		if method == "Update" {
			return store.ErrConflict
		}
		return nil
	}
	if rep, err := w.Sweep(t.Context()); kindOf(err) != fault.Unavailable || rep.TimedOut != 0 {
		t.Errorf("%+v, %v", rep, err)
	}

	// Another sweep may have purged it.
	w = newWorld(t)
	w.begin()
	w.pass(24 * time.Hour)
	w.store.before = func(method string) error {
		switch method {
		case "Update":
			return store.ErrConflict
		case "Get":
			return store.ErrNotFound
		}
		return nil
	}
	if rep, err := w.Sweep(t.Context()); err != nil || rep != (reconcile.Report{Open: 1}) {
		t.Errorf("%+v, %v", rep, err)
	}
}

// Many at once are counted like one after the other, and what fails is left to the next sweep.
func TestSweepHandlesManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.atOnce(8)
	const runs = 250 // more than two pages
	for i := range runs {
		w.begin(func(r *reconcile.StartRequest) { r.CaseID = fmt.Sprint("c", i) })
	}
	w.queue.purge()
	w.pass(time.Minute)
	if rep := w.sweep(); rep != (reconcile.Report{Open: runs, Overdue: runs, Rescheduled: runs}) {
		t.Errorf("%+v", rep)
	}
	if n := w.queue.count(queue.Check); n != runs {
		t.Errorf("%d checks pend", n)
	}
	if most := w.queue.most.Load(); most < 2 || most > 8 {
		t.Errorf("%d at once", most)
	}
	w.pass(24 * time.Hour)
	w.queue.setDown(true)
	if rep, err := w.Sweep(t.Context()); kindOf(err) != fault.Unavailable ||
		rep != (reconcile.Report{Overdue: runs, TimedOut: runs}) {
		t.Errorf("%+v, %v", rep, err)
	}
	w.queue.setDown(false)
	w.pass(time.Minute)
	if rep := w.sweep(); rep != (reconcile.Report{Republished: runs, Leaked: runs}) { // their checks pended
		t.Errorf("%+v", rep)
	}
	if rep := w.sweep(); rep != (reconcile.Report{}) {
		t.Errorf("%+v", rep)
	}
}

// A panic over one run is a fault of the sweep, as it is of a request: it takes neither the other
// runs nor the instance with it.
func TestSweepOutlivesAPanic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.atOnce(8)
	for i := range 3 {
		w.begin(func(r *reconcile.StartRequest) { r.CaseID = fmt.Sprint("c", i) })
	}
	w.queue.purge()
	w.pass(time.Minute)
	var panicked atomic.Bool
	w.store.before = func(method string) error {
		if method == "Update" && panicked.CompareAndSwap(false, true) {
			panic("planted")
		}
		return nil
	}
	rep, err := w.Sweep(t.Context())
	if kindOf(err) != fault.Unavailable || rep != (reconcile.Report{Open: 3, Overdue: 2, Rescheduled: 2}) {
		t.Errorf("%+v, %v", rep, err)
	}
	lines := w.lines("the sweep could not handle a run")
	if len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["error"]), "panic: planted") ||
		!strings.Contains(fmt.Sprint(lines[0]["error"]), "sweep.go") {
		t.Errorf("%v", lines)
	}
	if rep := w.sweep(); rep != (reconcile.Report{Open: 3, Overdue: 1, Rescheduled: 1}) {
		t.Errorf("the next sweep: %+v", rep)
	}
}

// BenchmarkSweepAfterAPurge heals runs whose tasks are lost, over a queue that answers after 5 ms:
// one after the other, and many at once.
func BenchmarkSweepAfterAPurge(b *testing.B) {
	const runs = 200
	w := newWorld(b)
	for i := range runs {
		w.begin(func(r *reconcile.StartRequest) { r.CaseID, r.Deadline = fmt.Sprint("c", i), 20*time.Hour })
	}
	w.queue.called = func(string) { time.Sleep(5 * time.Millisecond) }
	took := map[int]time.Duration{1: 0, 32: 0}
	for b.Loop() {
		for n := range took {
			w.atOnce(n)
			w.queue.purge()
			w.pass(time.Minute)
			began := time.Now()
			if rep, err := w.Sweep(b.Context()); err != nil || rep.Rescheduled != runs {
				b.Fatalf("%+v, %v", rep, err)
			}
			took[n] += time.Since(began)
		}
	}
	n := float64(b.N * runs)
	b.ReportMetric(n/took[1].Seconds(), "one-by-one-runs/s")
	b.ReportMetric(n/took[32].Seconds(), "32-at-once-runs/s")
	b.ReportMetric(took[1].Seconds()/took[32].Seconds(), "ratio")
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := reconcile.New(reconcile.Config{}, reconcile.Deps{Queue: w.queue, Events: w.topic})
	var want []string
	for _, name := range []string{"Store", "Now", "Jitter", "Nonce", "Log", "Rules", "CaseDeadline", "CheckTimeout"} {
		want = append(want, "reconcile: "+name+" is missing")
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("%v, want each in its order: %v", err, want)
	}
}

// A check whose save of the end took longer than the sweep's patience is no leak: not its own task,
// which pends until its delivery is answered, and not a check that read the run before that save
// returned.
func TestSlowSavesOfEndsAreNoLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.run(10 * time.Second)
	w.pipe.poll = func(string) cases.CheckOutcome {
		w.pipe.poll = func(string) cases.CheckOutcome { return reading(2, 4, "") }
		return reading(4, 4, "succeeded")
	}
	task, _, _ := w.queue.next()
	w.store.before = func(method string) error {
		if method != "Update" {
			return nil
		}
		w.store.before = nil
		w.pass(2 * time.Minute) // while the end is being saved
		return nil
	}
	w.topic.down = true // and its delivery does not come to its end
	_ = w.deliverTask(task, 0)
	w.topic.down = false
	c := w.want(1, cases.Succeeded, cases.ReasonCompleted)
	if c.Bookkeeping.Finalized || w.queue.count(queue.Check) != 1 {
		t.Fatalf("settled %t, %d checks pend", c.Bookkeeping.Finalized, w.queue.count(queue.Check))
	}
	w.pass(time.Minute)
	if h := w.inspect(); h.Leaked != 0 || h.Unpublished != 1 {
		t.Errorf("%+v", h)
	}
	if rep := w.sweep(); rep != (reconcile.Report{Republished: 1}) {
		t.Errorf("%+v", rep)
	}

	w.begin() // the end of this one is saved by a cancel, while a check asks the pipeline
	w.run(10 * time.Second)
	ended, _ := w.rules.Apply(w.get(2), cases.Cancel{}, w.clock(), 0) // and takes long to save
	w.pass(2 * time.Minute)
	w.pipe.poll = func(string) cases.CheckOutcome {
		if err := w.store.Store.Update(t.Context(), store.Write{Case: ended}); err != nil {
			t.Error(err)
		}
		return reading(2, 4, "")
	}
	task, _, _ = w.queue.next()
	if err := w.deliverTask(task, 0); err != nil {
		t.Fatal(err)
	}
	if c := w.want(2, cases.Cancelled, cases.ReasonCancelled); c.Bookkeeping.PolledAfterEnd != 0 {
		t.Error("a check that read an open run is said to have asked after the end")
	}
}
