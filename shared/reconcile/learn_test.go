package reconcile_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/schedule"
)

// ran has a case begin, be accepted and be told to have ended after so long.
func (w *world) ran(id string, length time.Duration) cases.Case {
	w.t.Helper()
	w.begin(func(r *reconcile.StartRequest) { r.CaseID = id })
	if err := w.Dispatch(w.t.Context(), queue.Body{CaseID: id, Run: 1, Seq: 1}, 0); err != nil {
		w.t.Fatal(err)
	}
	w.pass(length)
	done := fmt.Sprintf(`{"case_id":%q,"run":1,"status":"succeeded"}`, id)
	message := reconcile.Message{ID: id, Data: []byte(done), Published: w.clock()}
	if err := w.Complete(w.t.Context(), message); err != nil {
		w.t.Fatal(err)
	}
	c, err := w.store.Store.Get(w.t.Context(), id, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	if !c.Bookkeeping.Finalized {
		w.t.Fatalf("%s is not told: %s", id, c.State)
	}
	return c
}

func (w *world) durationStats() schedule.DurationStats {
	w.t.Helper()
	p, err := w.store.Store.DurationStats(w.t.Context(), "default")
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// Each run that ends is learned from once, and later ones begin with what is known.
func TestLearnsFromRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if c := w.ran("first", 20*time.Second); c.Durations.Earlier != nil || c.Checks.Polls != 0 {
		t.Errorf("the first run knows of others: %+v", c.Durations.Earlier)
	}
	for i := range 9 {
		w.ran(fmt.Sprint("case", i), 20*time.Second)
	}
	if p := w.durationStats(); p.Version != 10 || p.Reported != 10 || p.FoundByPoll != 0 {
		t.Errorf("ten runs left %+v", p)
	}
	w.pass(time.Minute) // an instance reads it anew after a while
	c := w.begin()
	if c.Durations.Earlier == nil || c.Durations.Earlier.Version != 10 {
		t.Fatalf("a run begins with %+v", c.Durations.Earlier)
	}
	if first := c.Checks.NextAt.Sub(c.CreatedAt); first <= w.rules.CheckMinInterval {
		t.Errorf("the first check is after %v, and no run was that short", first)
	}
	// A repeated report, or a heal, is not another run.
	end := reconcile.Message{
		ID: "again", Data: []byte(`{"case_id":"first","run":1,"status":"succeeded"}`), Published: w.clock(),
	}
	if err := w.Complete(t.Context(), end); err != nil || w.durationStats().Version != 10 {
		t.Errorf("a late report was learned from: %v, %+v", err, w.durationStats())
	}
}

// Of two who tell the same end one learns from the run.
func TestLearnsOnceOfOneRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	updates, learned := 0, 0
	w.store.before = func(method string) error {
		switch method {
		case "Update":
			updates++
		case "SaveDurationStats":
			learned++
		}
		if method == "Update" && updates == 4 { // the end is saved and told: a sweep comes before that is noted down
			w.pass(time.Minute)
			w.sweep()
			w.pass(time.Minute)
		}
		return nil
	}
	w.ran("c", 20*time.Second)
	if len(w.topic.ended) != 2 || learned != 1 || w.durationStats().Version != 1 {
		t.Errorf("told %d times, learned %d times: %+v", len(w.topic.ended), learned, w.durationStats())
	}
}

// Neither an end nor a start waits for what is learned, or fails with it.
func TestLearningFails(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"DurationStats", "SaveDurationStats"} {
		w := newWorld(t)
		w.store.before = func(called string) error {
			if called == method {
				return errDown
			}
			return nil
		}
		for i := range 3 {
			w.ran(fmt.Sprint("case", i), 20*time.Second)
			w.pass(time.Minute)
		}
		if len(w.topic.ended) != 3 || w.durationStats().Version != 0 {
			t.Errorf("without %s: %d ends told, %+v learned", method, len(w.topic.ended), w.durationStats())
		}
	}
}

// Of runs that end at the same moment one is learned from: they would all write one record.
func TestLearnsAtMostOnceASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 5 {
		w.ran(fmt.Sprint("case", i), 0)
	}
	if v := w.durationStats().Version; v != 1 {
		t.Errorf("%d times in one moment", v)
	}
}
