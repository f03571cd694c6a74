package reconcile_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

// farOff is a world with a run that the pipeline works on, and whose next check is half a minute off.
func farOff(t *testing.T) *world {
	w := newWorld(t)
	w.pipe.poll = func(string) cases.CheckOutcome { return reading(1, 400, "") }
	w.begin()
	w.run(5 * time.Minute)
	if wait := w.get(1).Checks.NextAt.Sub(w.clock()); wait < 3*time.Second {
		w.run(wait + time.Second)
	}
	if wait := w.get(1).Checks.NextAt.Sub(w.clock()); wait < 3*time.Second {
		t.Fatalf("the next check is in %v", wait)
	}
	return w
}

// watchOnce reads the run, and follows it until the store is waited at.
func (w *world) watchOnce() {
	w.t.Helper()
	s, err := w.Read(w.t.Context(), "c", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, leave := context.WithCancel(w.t.Context())
	w.store.waited = leave
	if _, err := w.Follow(ctx, "c", 0, &s); err != nil && ctx.Err() == nil {
		w.t.Fatal(err)
	}
	w.store.waited = nil
}

// Who follows a run has its next check now: one task takes the place of the one that was pending,
// and that is all, however many follow.
func TestFollowBringsTheNextLookForward(t *testing.T) {
	t.Parallel()
	w := farOff(t)
	before, polls := w.get(1), w.pipe.polls
	for range 5 {
		w.watchOnce()
	}
	c := w.get(1)
	if c.Checks.Seq != before.Checks.Seq+1 || c.Checks.NextAt.After(w.clock().Add(w.rules.CheckMinInterval)) ||
		c.Version != before.Version+1 {
		t.Errorf("check #%d in %v after #%d, version %d after %d", c.Checks.Seq, c.Checks.NextAt.Sub(w.clock()),
			before.Checks.Seq, c.Version, before.Version)
	}
	if n := w.queue.count(queue.Check); n != 1 {
		t.Errorf("%d checks are pending", n)
	}
	if next, _, _ := w.queue.next(); next.Seq != c.Checks.Seq || !next.At.Equal(c.Checks.NextAt) {
		t.Errorf("the task is %+v", next)
	}
	if w.pipe.polls != polls {
		t.Error("it was polled")
	}
	w.run(10 * time.Second)
	if n := w.pipe.polls - polls; n < 5 || n > 6 {
		t.Errorf("%d polls in 10 s", n)
	}
	w.run(time.Minute)
	if n := w.pipe.polls - polls; n > 14 {
		t.Errorf("%d polls in 70 s, and nobody watched for the last 50", n)
	}
}

// A crash, or a fault, between any two steps leaves one chain: the delivery of the check before, or
// the next who comes, goes on.
func TestBringingForwardBreaksOff(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]func(*world){
		"before it is saved":          func(w *world) { w.store.before = failing("Update", 1, 1) },
		"saved, and it seems not":     func(w *world) { w.store.after = failing("Update", 1, 1) },
		"before it is scheduled":      func(w *world) { w.queue.setDown(true) },
		"before the other is deleted": func(w *world) { w.queue.failDelete = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := farOff(t)
			fails(w)
			w.watchOnce()
			if len(w.lines("next check not brought forward")) != 1 {
				t.Errorf("%s", w.log)
			}
			w.store.before, w.store.after, w.queue.failDelete = nil, nil, false
			w.queue.setDown(false)
			polls := w.pipe.polls
			w.run(45 * time.Second)
			if n := w.pipe.polls - polls; n == 0 || n > 12 {
				t.Errorf("%d looks", n)
			}
			if n := w.queue.count(queue.Check); n != 1 {
				t.Errorf("%d checks are pending", n)
			}
			if rep, err := w.Sweep(t.Context()); err != nil || rep != (reconcile.Report{Open: 1}) {
				t.Errorf("%+v, %v", rep, err)
			}
		})
	}
}

// The check before may be under way, by a clock that is far ahead: it finds that it is late, and there is one chain.
func TestBringingForwardMeetsACheck(t *testing.T) {
	t.Parallel()
	w := farOff(t)
	old := w.get(1)
	w.pipe.poll = func(string) cases.CheckOutcome {
		w.pipe.poll = func(string) cases.CheckOutcome { return reading(2, 400, "") }
		w.watchOnce()
		return reading(2, 400, "")
	}
	if err := w.deliverTask(queue.Task{Kind: queue.Check, CaseID: "c", Run: 1, Seq: old.Checks.Seq}, 0); err != nil {
		t.Fatal(err)
	}
	if c := w.get(1); c.Checks.Seq != old.Checks.Seq+1 || w.queue.count(queue.Check) != 1 {
		t.Errorf("check #%d after #%d, %d are pending", c.Checks.Seq, old.Checks.Seq, w.queue.count(queue.Check))
	}
	w.run(5 * time.Second)
	if c := w.get(1); c.Job.Progress.Completed != 2 || w.queue.count(queue.Check) != 1 {
		t.Errorf("%+v, %d checks are pending", c.Job.Progress, w.queue.count(queue.Check))
	}
}

// A check that has saved when the next check is due may not have scheduled it yet. What is not
// pending is not taken the place of, or both would be there.
func TestBringingForwardWaitsForTheTask(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := farOff(t)
		before := w.get(1)
		w.queue.purge()
		w.watchOnce()
		if c := w.get(1); c.Checks != before.Checks || !c.Viewers.Lease.Until.After(w.clock()) ||
			w.queue.count(queue.Check) != 0 {
			t.Errorf("%+v after %+v, watched until %v, %d checks are pending",
				c.Checks, before.Checks, c.Viewers.Lease.Until, w.queue.count(queue.Check))
		}
		asked := 0
		w.queue.called = func(method string) { // the task comes while it is asked for
			if method == "queue.Exists" {
				if asked++; asked == 2 {
					w.queue.called = nil
					task := queue.Task{Kind: queue.Check, CaseID: "c", Run: 1, Seq: before.Checks.Seq,
						CreatedAt: before.CreatedAt, At: before.Checks.NextAt}
					w.queue.mu.Lock()
					defer w.queue.mu.Unlock()
					w.queue.pending[task.Name()] = task
				}
			}
		}
		w.watchOnce()
		if c := w.get(1); c.Checks.Seq != before.Checks.Seq+1 || w.queue.count(queue.Check) != 1 {
			t.Errorf("check #%d after #%d, %d are pending", c.Checks.Seq, before.Checks.Seq, w.queue.count(queue.Check))
		}
	})
}

// A run that ends meanwhile is left alone.
func TestBringingForwardMeetsTheEnd(t *testing.T) {
	t.Parallel()
	w := farOff(t)
	w.store.before = func(method string) error {
		if method == "Update" {
			w.store.before = nil
			if _, err := w.Cancel(t.Context(), "c", 1); err != nil {
				t.Error(err)
			}
			return store.ErrConflict
		}
		return nil
	}
	w.watchOnce()
	c := w.want(1, cases.Cancelled, cases.ReasonCancelled)
	if !c.Checks.NextAt.IsZero() || w.queue.count(queue.Check) != 0 {
		t.Errorf("%+v, %d checks are pending", c.Checks, w.queue.count(queue.Check))
	}
	if strings.Contains(w.log.String(), "next check not brought forward") {
		t.Errorf("%s", w.log)
	}
}

// A read brings nothing forward, nor does who follows without a queue.
func TestReadingIsNotWatching(t *testing.T) {
	t.Parallel()
	w := farOff(t)
	before := w.get(1)
	for range 3 {
		if _, err := w.Read(t.Context(), "c", 0); err != nil {
			t.Fatal(err)
		}
	}
	w.deps.Queue = nil
	w.rebuild()
	w.watchOnce()
	if c := w.get(1); c.Version != before.Version {
		t.Errorf("version %d after %d", c.Version, before.Version)
	}
}

// That a run is watched is no news to who knows it, and what comes after is.
func TestALeaseIsNoNews(t *testing.T) {
	t.Parallel()
	w := farOff(t)
	s, err := w.Read(t.Context(), "c", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.watchOnce()
	leased, err := w.Read(t.Context(), "c", 0)
	if err != nil || leased.View.Version != s.View.Version+1 || leased.Seen() != s.Seen() ||
		!leased.View.UpdatedAt.Equal(s.View.UpdatedAt) {
		t.Errorf("%+v after %+v (%v)", leased.Seen(), s.Seen(), err)
	}
	w.run(3 * time.Second)
	if looked, err := w.Read(t.Context(), "c", 0); err != nil || !s.Seen().Before(looked.Seen()) {
		t.Errorf("%+v after %+v (%v)", looked.Seen(), s.Seen(), err)
	}
}
