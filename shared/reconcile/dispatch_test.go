package reconcile_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// A delivery with a higher retry count means that the one before is lost, which is logged once. One
// with the same count is a duplicate, and one after it tells nothing new.
func TestLostDispatchIsLoggedOnce(t *testing.T) {
	t.Parallel()
	const message = "earlier dispatch lost; checks will find its outcome"
	w := newWorld(t)
	w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
		for _, delivery := range []struct{ retryCount, lines int }{{0, 0}, {1, 1}, {1, 1}, {2, 1}} {
			body := queue.Body{CaseID: "c", Run: 1, Seq: 1}
			if err := w.Dispatch(t.Context(), body, delivery.retryCount); err != nil {
				t.Error(err)
			}
			if got := len(w.lines(message)); got != delivery.lines {
				t.Errorf("after a delivery with retry count %d: %d lines, want %d",
					delivery.retryCount, got, delivery.lines)
			}
		}
		return cases.DispatchOutcome{Kind: cases.DispatchAccepted}
	}
	w.begin()
	w.deliver(0)
	w.want(1, cases.Running, "")
	if len(w.pipe.jobs) != 1 {
		t.Errorf("it was sent %d times, want once", len(w.pipe.jobs))
	}
}

// A dispatch that is delivered at the deadline sends nothing. It ends the run, and finalizes it.
func TestDispatchAtTheDeadlineEndsTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.begin()
	w.pass(c.DeadlineAt.Sub(w.clock()))
	if err := w.Dispatch(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: 1}, 0); err != nil {
		t.Fatal(err)
	}
	c = w.want(1, cases.TimedOut, cases.ReasonDeadline)
	if len(w.pipe.jobs) != 0 {
		t.Errorf("it was sent %d times, want never", len(w.pipe.jobs))
	}
	if !c.Bookkeeping.Finalized || len(w.topic.ended) != 1 || w.queue.count(queue.Check) != 0 {
		t.Errorf("finalized %v, published %d times, %d checks pending", c.Bookkeeping.Finalized, len(w.topic.ended),
			w.queue.count(queue.Check))
	}
	if lines := w.lines("earlier dispatch lost; checks will find its outcome"); len(lines) != 0 {
		t.Errorf("no dispatch was lost, and the log says %v", lines)
	}
}

// The save of an answer that queues the run again took effect, and seemed to fail. The next try
// finds nothing to save, and still creates the task.
func TestAnswerThatQueuesAgainIsQueuedThoughItsSaveSeemedToFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pipe.dispatch = func(reconcile.Job) cases.DispatchOutcome {
			return cases.DispatchOutcome{Kind: cases.DispatchBusy, RetryAfter: time.Minute}
		}
		w.begin()
		w.store.after = failing("Update", 2, 2) // the first is that of the mark
		if _, err := w.deliver(0); err != nil {
			t.Fatal(err)
		}
		d := w.get(1).Dispatch
		if d.Phase != cases.PhaseQueued || d.Seq != 2 || w.queue.count(queue.Dispatch) != 1 {
			t.Errorf("dispatch %q #%d, %d tasks pending, want #2 queued, and its task", d.Phase, d.Seq,
				w.queue.count(queue.Dispatch))
		}
	})
}
