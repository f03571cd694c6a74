package reconcile_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

// watched is a store of one case, in memory, so that time can stand still for those who wait. It
// counts what it is asked.
type watched struct {
	store.Store
	mu      sync.Mutex
	runs    []cases.Case
	changed chan struct{} // closed at the next change
	early   bool          // Wait returns at once, whatever there is
	panics  bool          // the next Wait
	down    error
	held    chan struct{} // if not nil, reads return once it is closed, with what there was before
	waiting int           // calls of Wait under way
	most    int           // at once
	waits   int
	reads   int
}

func newWatched() *watched {
	return &watched{changed: make(chan struct{}), runs: []cases.Case{{
		Origin: cases.Origin{CaseID: "c", Run: 1}, Version: 1, State: cases.Pending,
		Viewers: cases.Viewers{Shown: cases.Shown{Version: 1}},
	}}}
}

func (s *watched) Current(ctx context.Context, _ string) (store.Head, cases.Case, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if len(s.runs) == 0 {
		return store.Head{}, cases.Case{}, store.ErrNotFound
	}
	head, c := store.Head{CaseID: "c", Run: len(s.runs)}, s.runs[len(s.runs)-1]
	if s.held != nil {
		s.mu.Unlock()
		select {
		case <-s.held:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return store.Head{}, cases.Case{}, ctx.Err()
		}
	}
	return head, c, s.down
}

func (s *watched) Get(_ context.Context, _ string, run int) (cases.Case, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[run-1], s.down
}

func (s *watched) Wait(ctx context.Context, _ string, run int, version int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits, s.waiting = s.waits+1, s.waiting+1
	s.most = max(s.most, s.waiting)
	defer func() { s.waiting-- }()
	if s.panics {
		s.panics = false
		panic("as told")
	}
	for {
		switch {
		case s.down != nil:
			return s.down
		case len(s.runs) < run:
			return store.ErrNotFound
		case s.early || len(s.runs) > run || s.runs[run-1].Version > version:
			return nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// change changes the case, which makes an event, and wakes who waits.
func (s *watched) change(f func()) {
	s.quiet(func() {
		f()
		for i := range s.runs {
			s.runs[i].Viewers.Shown.Version = s.runs[i].Version
		}
	})
}

// quiet changes the case, and wakes who waits.
func (s *watched) quiet(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// next is the next version of the newest run.
func (s *watched) next() {
	s.change(func() { s.runs[len(s.runs)-1].Version++ })
}

// poll is a version that makes no event.
func (s *watched) poll() {
	s.quiet(func() { s.runs[len(s.runs)-1].Version++ })
}

func (s *watched) end() {
	c := &s.runs[len(s.runs)-1]
	c.Version++
	c.State, c.Outcome.EndVersion = cases.Failed, c.Version
	c.Outcome.End = &cases.End{Reason: cases.ReasonPipelineFailed}
}

func (s *watched) counts() (waiting, most, waits, reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting, s.most, s.waits, s.reads
}

func newFollower(t *testing.T, s store.Store) *reconcile.Reconciler {
	t.Helper()
	w, err := reconcile.New(reconcile.Config{}, reconcile.Deps{
		Store: s, Now: time.Now, Jitter: func() float64 { return 0.5 }, Nonce: func() string { return "" },
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// shown is a snapshot of which no more is known than how far its reader is.
func shown(s reconcile.Seen) *reconcile.Snapshot {
	return &reconcile.Snapshot{View: cases.View{Run: s.Run, Version: s.Version}}
}

// answer is what Follow returned, and when.
type answer struct {
	s    reconcile.Snapshot // of the news, if there are any
	news bool
	err  error
	at   time.Duration
}

// follow calls Follow, and returns where its answer will be.
func follow(ctx context.Context, w *reconcile.Reconciler, run int, known reconcile.Seen) <-chan answer {
	answers := make(chan answer, 1)
	begin := time.Now()
	go func() {
		a := answer{}
		s, err := w.Follow(ctx, "c", run, shown(known))
		if s != nil {
			a.s, a.news = *s, s.NewsTo(shown(known))
		}
		a.err, a.at = err, time.Since(begin)
		answers <- a
	}()
	return answers
}

var first = reconcile.Seen{Run: 1, Version: 1}

// bubble runs a test in which time passes only when everybody waits. Nothing may be held at its end.
func bubble(t *testing.T, f func(t *testing.T, s *watched, w *reconcile.Reconciler)) {
	synctest.Test(t, func(t *testing.T) {
		s := newWatched()
		w := newFollower(t, s)
		f(t, s, w)
		synctest.Wait()
		if waiting, _, _, _ := s.counts(); waiting != 0 || reconcile.SharedWaits(w) != 0 {
			t.Errorf("%d wait, %d rounds are held", waiting, reconcile.SharedWaits(w))
		}
	})
}

// Fifty viewers cost one wait at a time, and one read a change.
func TestViewersShare(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		known := first
		for change := range 5 {
			var viewers []<-chan answer
			for range 50 {
				viewers = append(viewers, follow(t.Context(), w, 0, known))
			}
			synctest.Wait()
			s.next()
			for _, v := range viewers {
				a := <-v
				if a.err != nil || !a.news || a.s.Seen() != (reconcile.Seen{Run: 1, Version: known.Version + 1}) ||
					!a.s.Open() {
					t.Fatalf("%+v", a)
				}
			}
			known.Version++
			if _, most, waits, reads := s.counts(); most != 1 || waits != change+1 || reads != change+1 {
				t.Fatalf("after change %d: %d waits at once, %d in all, %d reads", change+1, most, waits, reads)
			}
		}
	})
}

// Without news everybody is told so at the end of the round, whenever they came, and there is one wait.
func TestNoNews(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		early := follow(t.Context(), w, 0, first)
		time.Sleep(10 * time.Second)
		late := follow(t.Context(), w, 0, first)
		if a := <-early; a.news || a.err != nil || a.at != reconcile.FollowTimeout {
			t.Errorf("%+v", a)
		}
		if a := <-late; a.news || a.err != nil || a.at != reconcile.FollowTimeout-10*time.Second {
			t.Errorf("%+v", a)
		}
		if _, most, waits, reads := s.counts(); most != 1 || waits != 1 || reads != 0 {
			t.Errorf("%d at once, %d waits, %d reads", most, waits, reads)
		}
	})
}

// Versions that make no event wake no viewer, and do not put off the end of the round. Somebody who
// waits for versions gets each.
func TestVersionsWithoutAnEvent(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		viewers := []<-chan answer{follow(t.Context(), w, 0, first), follow(t.Context(), w, 0, first)}
		known := first
		for range 7 {
			time.Sleep(2 * time.Second)
			versions := make(chan reconcile.Seen, 1)
			go func() {
				if now, err := w.FollowVersion(t.Context(), "c", 0, shown(known)); err != nil || now == nil {
					t.Errorf("%v %v", now, err)
				} else {
					versions <- reconcile.Seen{Run: now.View.Run, Version: now.View.Version}
				}
				close(versions)
			}()
			synctest.Wait()
			s.poll()
			if known.Version++; <-versions != known {
				t.Errorf("version %d did not come", known.Version)
			}
		}
		for _, v := range viewers {
			// The newest of them comes all the same: the next wait is to go on from there.
			a := <-v
			if a.news || a.err != nil || a.at != reconcile.FollowTimeout ||
				a.s.View.Version != 8 || a.s.Seen() != first {
				t.Errorf("%+v", a)
			}
		}
		again := make(chan *reconcile.Snapshot, 1)
		go func() {
			now, err := w.FollowVersion(t.Context(), "c", 0, shown(known))
			if err != nil || now != nil {
				t.Errorf("%v %v", now, err)
			}
			again <- now
		}()
		<-again
	})
}

// When the leader leaves, the others are told that there is no news, and the next of them leads.
func TestLeaderLeaves(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		leading, leave := context.WithCancel(t.Context())
		leader := follow(leading, w, 0, first)
		synctest.Wait()
		a, b := follow(t.Context(), w, 0, first), follow(t.Context(), w, 0, first)
		synctest.Wait()
		leave()
		if l := <-leader; !errors.Is(l.err, context.Canceled) || l.news {
			t.Errorf("the leader: %+v", l)
		}
		for _, f := range []<-chan answer{a, b} {
			if f := <-f; f.err != nil || f.news {
				t.Errorf("%+v", f)
			}
		}
		a, b = follow(t.Context(), w, 0, first), follow(t.Context(), w, 0, first)
		synctest.Wait()
		s.next()
		if a, b := <-a, <-b; !a.news || !b.news {
			t.Errorf("%+v %+v", a, b)
		}
		if _, most, waits, reads := s.counts(); most != 1 || waits != 2 || reads != 1 {
			t.Errorf("%d at once, %d waits, %d reads", most, waits, reads)
		}
	})
}

// A leader who panics leaves the others waiting for nobody.
func TestLeaderPanics(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		s.panics = true
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			_, _ = w.Follow(t.Context(), "c", 0, shown(first))
		}()
		f := follow(t.Context(), w, 0, first)
		synctest.Wait()
		s.next()
		if a := <-f; !a.news {
			t.Errorf("%+v", a)
		}
	})
}

// A follower who leaves takes nobody along, and one whose time was over before it came begins nothing.
func TestFollowerLeaves(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		leader := follow(t.Context(), w, 0, first)
		synctest.Wait()
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if a := <-follow(brief, w, 0, first); !errors.Is(a.err, context.DeadlineExceeded) || a.at != time.Second {
			t.Errorf("%+v", a)
		}
		if a := <-follow(brief, w, 0, first); !errors.Is(a.err, context.DeadlineExceeded) || a.at != 0 {
			t.Errorf("%+v", a)
		}
		s.next()
		if a := <-leader; !a.news || a.at != time.Second {
			t.Errorf("%+v", a)
		}
		if _, _, waits, _ := s.counts(); waits != 1 {
			t.Errorf("%d waits", waits)
		}
	})
}

// Who is behind those who wait reads at once: their wait is for something else. Who is ahead of them waits on.
func TestOtherVersions(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		s.next()
		second := reconcile.Seen{Run: 1, Version: 2}
		leader := follow(t.Context(), w, 0, second)
		synctest.Wait()
		if a := <-follow(t.Context(), w, 0, first); !a.news || a.s.Seen() != second || a.at != 0 {
			t.Errorf("who is behind: %+v", a)
		}
		ahead := follow(t.Context(), w, 0, reconcile.Seen{Run: 1, Version: 3})
		synctest.Wait()
		s.next()
		if a := <-leader; !a.news || a.s.Seen().Version != 3 {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		s.next()
		if a := <-ahead; !a.news || a.s.Seen().Version != 4 {
			t.Errorf("who is ahead: %+v", a)
		}
	})
}

// A round that read the end of a run just before the next began has no news for who has seen that one.
func TestEndOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		s.held = make(chan struct{})
		leader := follow(t.Context(), w, 0, first)
		synctest.Wait()
		s.change(s.end)
		synctest.Wait()
		s.change(func() {
			s.runs = append(s.runs,
				cases.Case{Origin: cases.Origin{CaseID: "c", Run: 2}, Version: 1, State: cases.Pending})
		})
		late := follow(t.Context(), w, 0, reconcile.Seen{Run: 2, Version: 1})
		synctest.Wait()
		close(s.held)
		if a := <-leader; !a.news || a.s.Seen() != (reconcile.Seen{Run: 1, Version: 2}) {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		s.next()
		if a := <-late; a.err != nil || !a.news || a.s.Seen() != (reconcile.Seen{Run: 2, Version: 2}) {
			t.Errorf("who knows run 2 was shown %+v", a)
		}
	})
}

// A store that does not answer at all is down, for the whole round and for who is behind it, rather
// than that they hang with it.
func TestReadHangs(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		s.next()
		s.held = make(chan struct{})
		second := reconcile.Seen{Run: 1, Version: 2}
		viewers := []<-chan answer{follow(t.Context(), w, 0, second), follow(t.Context(), w, 0, second)}
		synctest.Wait()
		viewers = append(viewers, follow(t.Context(), w, 0, first))
		s.next()
		for _, v := range viewers {
			if a := <-v; a.err == nil || fault.KindOf(a.err) != fault.Unavailable || a.at != reconcile.FollowTimeout {
				t.Errorf("%+v", a)
			}
		}
	})
}

// What ends a round for all of them.
func TestFollowedTo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		run    int
		change func(s *watched)
		want   reconcile.Seen
		open   bool
		err    fault.Kind
	}{
		{"the end, which stays where it was made", 0, func(s *watched) { s.end(); s.runs[0].Version += 2 },
			reconcile.Seen{Run: 1, Version: 2}, false, 0},
		{"a run that supersedes it", 0, func(s *watched) {
			s.end()
			s.runs = append(s.runs,
				cases.Case{Origin: cases.Origin{CaseID: "c", Run: 2}, Version: 1, State: cases.Pending})
		}, reconcile.Seen{Run: 2, Version: 1}, true, 0},
		{"a run that supersedes the one named", 1, func(s *watched) {
			s.end()
			s.runs = append(s.runs,
				cases.Case{Origin: cases.Origin{CaseID: "c", Run: 2}, Version: 1, State: cases.Pending})
		}, reconcile.Seen{Run: 1, Version: 2}, false, 0},
		{"a newer run, the one named left open", 1, func(s *watched) {
			s.runs = append(s.runs, cases.Case{Origin: cases.Origin{CaseID: "c", Run: 2}, Version: 1})
		}, first, false, 0},
		{"the case is purged", 0, func(s *watched) { s.runs = nil }, reconcile.Seen{}, false, fault.NotFound},
		{"the store is down", 0, func(s *watched) { s.down = errDown }, reconcile.Seen{}, false, fault.Unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
				viewers := []<-chan answer{
					follow(t.Context(), w, test.run, first), follow(t.Context(), w, test.run, first),
				}
				synctest.Wait()
				s.change(func() { test.change(s) })
				for _, v := range viewers {
					a := <-v
					if test.err != 0 {
						if a.err == nil || fault.KindOf(a.err) != test.err {
							t.Errorf("%v, want %v", a.err, test.err)
						}
						continue
					}
					if a.err != nil || !a.news || a.s.Seen() != test.want || a.s.Open() != test.open {
						t.Errorf("%+v %+v", a, a.s.Seen())
					}
				}
			})
		})
	}
}

// A store that is down when the news is read is told to all.
func TestReadFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.begin()
		w.store.before = func(method string) error {
			if method == "Current" {
				return errDown
			}
			return nil
		}
		a := <-follow(t.Context(), w.Reconciler, 0, reconcile.Seen{Run: 1})
		if a.err == nil || fault.KindOf(a.err) != fault.Unavailable || reconcile.SharedWaits(w.Reconciler) != 0 {
			t.Errorf("%+v, record at %d", a, c.Version)
		}
	})
}

// A store may return from a wait early: it is not asked without pause, and there is no news of that.
func TestStoreReturnsEarly(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		s.early = true
		a := <-follow(t.Context(), w, 0, first)
		if _, _, waits, _ := s.counts(); a.news || a.err != nil || a.at < reconcile.FollowTimeout || waits > 2000 {
			t.Errorf("%+v after %d waits", a, waits)
		}
	})
}

// Runs that are followed apart do not share.
func TestRunsApart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		current, named := follow(t.Context(), w, 0, first), follow(t.Context(), w, 1, first)
		synctest.Wait()
		if reconcile.SharedWaits(w) != 2 {
			t.Errorf("%d rounds", reconcile.SharedWaits(w))
		}
		s.next()
		if a, b := <-current, <-named; !a.news || !b.news {
			t.Errorf("%+v %+v", a, b)
		}
	})
}

func TestSeen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b reconcile.Seen
		want bool
	}{
		{reconcile.Seen{}, first, true},
		{first, reconcile.Seen{}, false},
		{first, first, false},
		{reconcile.Seen{Run: 1, Version: 9}, reconcile.Seen{Run: 2, Version: 1}, true},
		{reconcile.Seen{Run: 2, Version: 1}, reconcile.Seen{Run: 1, Version: 9}, false},
		{first, reconcile.Seen{Run: 1, Version: 2}, true},
	} {
		if got := test.a.Before(test.b); got != test.want {
			t.Errorf("%v before %v: %v", test.a, test.b, got)
		}
	}
}

// While the store is down, many viewers of a case cost one wait in a while, and those of them who are behind one read.
func TestDownStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		known        reconcile.Seen // by most of them
		waits, reads int            // at most, in 20 s
	}{
		{"all wait for the same", reconcile.Seen{Run: 1, Version: 2}, 11, 0},
		{"most are behind", first, 11, 11},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
				s.next()
				s.down = errDown
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				var viewers sync.WaitGroup
				for i := range 50 {
					known := test.known
					if i == 0 {
						known = reconcile.Seen{Run: 1, Version: 2}
					}
					viewers.Go(func() {
						for ctx.Err() == nil {
							if _, err := w.Follow(ctx, "c", 0, shown(known)); err == nil {
								t.Error("there is no news of a store that is down")
							}
							time.Sleep(time.Millisecond)
						}
					})
				}
				viewers.Wait()
				if _, _, waits, reads := s.counts(); waits > test.waits || reads > test.reads || waits < 5 {
					t.Errorf("%d waits, %d reads in 20 s", waits, reads)
				}
			})
		})
	}
}

// Those who are behind those who wait share one read.
func TestWhoIsBehindSharesARead(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *watched, w *reconcile.Reconciler) {
		s.next()
		leader := follow(t.Context(), w, 0, reconcile.Seen{Run: 1, Version: 2})
		synctest.Wait()
		s.held = make(chan struct{})
		var viewers []<-chan answer
		for range 50 {
			viewers = append(viewers, follow(t.Context(), w, 0, first))
		}
		synctest.Wait()
		close(s.held)
		for _, v := range viewers {
			if a := <-v; a.err != nil || !a.news || a.s.Seen() != (reconcile.Seen{Run: 1, Version: 2}) {
				t.Errorf("%+v", a)
			}
		}
		if _, _, waits, reads := s.counts(); waits != 1 || reads != 1 {
			t.Errorf("%d waits, %d reads", waits, reads)
		}
		s.next()
		<-leader
	})
}
