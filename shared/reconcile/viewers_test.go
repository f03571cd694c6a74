package reconcile_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

// shaky is a store whose answers take their time, fail now and then, and come early.
type shaky struct{ *watched }

func (s shaky) Current(ctx context.Context, caseID string) (store.Head, cases.Case, error) {
	head, c, err := s.watched.Current(ctx, caseID)
	time.Sleep(rand.N(40 * time.Millisecond))
	if rand.IntN(60) == 0 {
		err = errDown
	}
	return head, c, errors.Join(ctx.Err(), err)
}

func (s shaky) Wait(ctx context.Context, caseID string, run int, version int64) error {
	switch rand.IntN(60) {
	case 0:
		return errDown
	case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
		return nil
	}
	err := s.watched.Wait(ctx, caseID, run, version)
	time.Sleep(rand.N(20 * time.Millisecond))
	return err
}

// In whatever order viewers come, leave and come back, while a case goes on through its runs and
// the store shakes: each sees what is later than what it saw, and the last end.
func TestViewersOfManyRuns(t *testing.T) {
	t.Parallel()
	const viewers = 12
	for range 20 {
		bubble(t, func(t *testing.T, s *watched, _ *reconcile.Reconciler) {
			w := newFollower(t, shaky{s})
			over := make(chan struct{})
			var seen [viewers]reconcile.Seen
			var viewing sync.WaitGroup
			for v := range viewers {
				viewing.Go(func() { seen[v] = viewUntil(t, w, over) })
			}
			for run := range 6 {
				for range 8 {
					time.Sleep(rand.N(150 * time.Millisecond))
					s.next()
				}
				next := cases.Case{Origin: cases.Origin{CaseID: "c", Run: run + 2}, Version: 1, State: cases.Pending}
				if run%2 == 0 {
					s.change(func() { s.end(); s.runs = append(s.runs, next) }) // superseded
					continue
				}
				s.change(s.end)
				time.Sleep(rand.N(60 * time.Millisecond))
				s.change(func() { s.runs = append(s.runs, next) })
			}
			s.change(s.end)
			last := s.runs[len(s.runs)-1]
			s.next() // what comes after the end is no news
			time.Sleep(time.Minute)
			close(over)
			viewing.Wait()
			for v, got := range seen {
				if want := (reconcile.Seen{Run: last.Run, Version: last.Outcome.EndVersion}); got != want {
					t.Errorf("viewer %d saw %v last, want %v", v, got, want)
				}
			}
			if n := reconcile.SharedWaits(w); n != 0 {
				t.Errorf("%d rounds are held", n)
			}
		})
	}
}

// viewUntil comes and follows for a while, again and again. It returns what it saw last.
func viewUntil(t *testing.T, w *reconcile.Reconciler, over <-chan struct{}) (last reconcile.Seen) {
	show := func(s reconcile.Snapshot) {
		if !last.Before(s.Seen()) {
			t.Errorf("%v is shown after %v", s.Seen(), last)
		}
		last = s.Seen()
	}
	for {
		select {
		case <-over:
			return last
		case <-time.After(rand.N(100 * time.Millisecond)):
		}
		now, err := w.Read(t.Context(), "c", 0)
		if err != nil {
			continue
		}
		if now.Seen() != last {
			show(now)
		}
		ctx, leave := context.WithTimeout(t.Context(), rand.N(2*time.Second))
		for open := now.Open(); open && ctx.Err() == nil; {
			news, err := w.Follow(ctx, "c", 0, shown(last))
			if err != nil && ctx.Err() == nil &&
				(fault.KindOf(err) != fault.Unavailable || errors.Is(err, context.Canceled)) {
				t.Errorf("%v", err)
			}
			if open = err == nil; news.NewsTo(shown(last)) {
				show(*news)
				open = news.Open()
			}
		}
		leave()
	}
}
