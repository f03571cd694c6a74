package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
)

// slowStore hangs when it is told to: a call then waits for the end of its context, or for the
// store to come back. Reads of records do not hang, so that what is counted is what is written.
type slowStore struct {
	store.Store
	mu      sync.Mutex
	back    chan struct{} // closed when it comes back; nil: it does not hang
	called  []time.Time   // calls while it hangs
	updates []cases.Case  // that took effect since it hung
}

func (s *slowStore) hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.back, s.called, s.updates = make(chan struct{}), nil, nil
}

func (s *slowStore) comeBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.back)
	s.back = nil
}

// seen are the calls while it hung, and the updates that took effect since.
func (s *slowStore) seen() (called []time.Time, updates []cases.Case) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.called), slices.Clone(s.updates)
}

func (s *slowStore) wait(ctx context.Context) error {
	s.mu.Lock()
	back := s.back
	if back != nil {
		s.called = append(s.called, time.Now())
	}
	s.mu.Unlock()
	if back == nil {
		return nil
	}
	select {
	case <-back:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slowStore) Update(ctx context.Context, w store.Write) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	err := s.Store.Update(ctx, w)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.updates = append(s.updates, w.Case)
	}
	return err
}

func (s *slowStore) DurationStats(ctx context.Context, pipeline string) (schedule.DurationStats, error) {
	if err := s.wait(ctx); err != nil {
		return schedule.DurationStats{}, err
	}
	return s.Store.DurationStats(ctx, pipeline)
}

func (s *slowStore) SaveDurationStats(ctx context.Context, pipeline string, p schedule.DurationStats) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Store.SaveDurationStats(ctx, pipeline, p)
}

// newSlowWorld is a world on the clock of a bubble, over a store that can hang.
func newSlowWorld(t *testing.T) (*world, *slowStore) {
	t.Helper()
	w := newWorld(t)
	s := &slowStore{Store: w.store}
	w.deps.Store, w.deps.Now = s, time.Now
	w.rebuild()
	return w, s
}

// started begins a case, which the pipeline accepts, and returns a snapshot.
func (w *world) started(id string) reconcile.Snapshot {
	w.t.Helper()
	w.begin(func(r *reconcile.StartRequest) { r.CaseID = id })
	if err := w.Dispatch(w.t.Context(), queue.Body{CaseID: id, Run: 1, Seq: 1}, 0); err != nil {
		w.t.Fatal(err)
	}
	s, err := w.Read(w.t.Context(), id, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// While the store hangs, its viewers write next to nothing, whatever their number; and what is
// saved first when it comes back is an end.
func TestBestEffortGivesWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newSlowWorld(t)
		var shown []reconcile.Snapshot
		for i := range 10 {
			shown = append(shown, w.started(fmt.Sprint("case", i)))
		}
		s.hang()
		began := time.Now()
		ctx, leave := context.WithCancel(t.Context())
		var viewers sync.WaitGroup
		for i := range shown {
			viewers.Go(func() {
				for seen := &shown[i]; seen.Open() && ctx.Err() == nil; {
					news, err := w.Follow(ctx, fmt.Sprint("case", i), 0, seen)
					if err != nil && ctx.Err() == nil {
						t.Error(err)
						return
					}
					if news != nil {
						seen = news
					}
				}
			})
		}
		time.Sleep(60*time.Second - time.Since(began))
		called, _ := s.seen()
		in := map[time.Duration]int{}
		for _, at := range called {
			in[at.Sub(began)/(10*time.Second)]++
		}
		for window, n := range in {
			if n > 2 {
				t.Errorf("%d calls from %v on, in 10 s", n, window*10*time.Second)
			}
		}
		if n := len(called); n == 0 || n > 4 {
			t.Errorf("%d calls in a minute", n)
		}
		ended := make(chan error)
		go func() {
			_, err := w.Cancel(t.Context(), "case7", 0)
			ended <- err
		}()
		time.Sleep(5 * time.Second)
		s.comeBack()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, updates := s.seen(); len(updates) == 0 || !updates[0].State.Ended() {
			t.Errorf("saved first: %+v", updates)
		}
		time.Sleep(time.Minute) // and then leases are saved again
		leave()
		viewers.Wait()
		leases := 0 // of which runs is left to chance: two calls are admitted at the same time
		for i := range shown {
			c, err := w.store.Store.Get(t.Context(), fmt.Sprint("case", i), 1)
			if err != nil {
				t.Fatal(err)
			}
			if c.Viewers.Lease.Version != 0 {
				leases++
			}
		}
		if leases == 0 {
			t.Error("no lease of a viewer was saved after the store answered again")
		}
	})
}

// Starts and ends do not wait for the duration statistics of a store that hangs, but for the first of them.
func TestDurationStatisticsGiveWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newSlowWorld(t)
		w.deps.Jitter = func() float64 { return 0 }
		w.rebuild()
		s.hang()
		began := time.Now()
		for i := range 30 {
			w.begin(func(r *reconcile.StartRequest) { r.CaseID = fmt.Sprint("case", i) })
			time.Sleep(10 * time.Second)
		}
		if took := time.Since(began) - 300*time.Second; took > 5*time.Second {
			t.Errorf("30 starts took %v", took)
		}
		if called, _ := s.seen(); len(called) == 0 || len(called) > 5 {
			t.Errorf("%d reads in five minutes", len(called))
		}
		s.comeBack()
		if w.begin(func(r *reconcile.StartRequest) { r.CaseID = "later" }); w.durationStats().Version != 0 {
			t.Error("something was learned from nothing")
		}
	})
}

// A failure of a best-effort call is logged once, not for each call that is left out after it, and
// none is made for a while, by the clock.
func TestBestEffortPauses(t *testing.T) {
	t.Parallel()
	w := farOff(t)
	before := w.get(1)
	updates := 0
	w.store.before = func(method string) error {
		if method == "Update" {
			updates++
			return errDown
		}
		return nil
	}
	for range 5 {
		w.watchOnce()
	}
	if updates != 1 || len(w.lines("next check not brought forward")) != 1 {
		t.Errorf("%d updates: %s", updates, w.log)
	}
	w.pass(29 * time.Second)
	if w.watchOnce(); updates != 1 {
		t.Errorf("%d updates within the pause", updates)
	}
	w.pass(time.Second)
	if w.watchOnce(); updates != 2 {
		t.Errorf("%d updates after it", updates)
	}
	w.store.before = nil
	w.pass(30 * time.Second)
	if w.watchOnce(); w.get(1).Version != before.Version+1 {
		t.Errorf("version %d after %d", w.get(1).Version, before.Version)
	}
}

// A save that meets another's change is not tried again, and is no failure.
func TestBestEffortMeetsAnotherChange(t *testing.T) {
	t.Parallel()
	w := farOff(t)
	updates := 0
	w.store.before = func(method string) error {
		if method == "Update" {
			if updates++; updates == 1 {
				return fmt.Errorf("as told: %w", store.ErrConflict)
			}
		}
		return nil
	}
	w.watchOnce()
	if updates != 1 || len(w.lines("next check not brought forward")) != 0 {
		t.Errorf("%d updates: %s", updates, w.log)
	}
	if w.watchOnce(); updates != 2 || w.get(1).Viewers.Lease.Version == 0 {
		t.Errorf("%d updates, %+v", updates, w.get(1).Viewers.Lease)
	}
}
