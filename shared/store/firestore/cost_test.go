package firestore

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// TestCosts: the calls that each method makes, as the package's documentation says.
func TestCosts(t *testing.T) {
	var w wire
	o := options(t)
	s, other := opened(t, o, w.option()...), opened(t, o)
	ctx := t.Context()
	want := func(what, calls string) {
		t.Helper()
		if got := w.since(); got != calls {
			t.Errorf("%s called %q, want %q", what, got, calls)
		}
	}
	c := save(t, s, "a")
	want("Begin", "Commit")
	u := after(c)
	mustDo(t, s.Update(ctx, u))
	want("Update after Begin", "Commit")
	u = after(u.Case)
	u.Put, u.Drop = map[store.Value][]byte{store.Result: []byte("r")}, []store.Value{store.Form}
	mustDo(t, s.Update(ctx, u))
	want("Update with values", "Commit")
	mustDo(t, s.Begin(ctx, next(u.Case)))
	want("Begin of the next run", "Commit")
	_, _, err := s.Current(ctx, "a")
	mustDo(t, err)
	want("Current of a case begun here", "BatchGetDocuments")
	_, err = s.Value(ctx, "a", 1, store.Result)
	mustDo(t, err)
	want("Value", "BatchGetDocuments")
	_, err = s.Overdue(ctx, time.Now(), store.Cursor{}, 10)
	mustDo(t, err)
	want("Overdue", "RunQuery")
	_, err = s.CountOpen(ctx)
	mustDo(t, err)
	want("CountOpen", "RunAggregationQuery")
	_, err = s.List(ctx, store.Filter{State: cases.Pending, Since: c.CreatedAt}, store.PlaceOf(c), 10)
	mustDo(t, err)
	want("List", "RunQuery")
	_, err = s.CountByState(ctx)
	mustDo(t, err)
	want("CountByState", strings.TrimSpace(strings.Repeat("RunAggregationQuery ", 6)))
	mustDo(t, s.Wait(ctx, "a", 2, 0))
	want("Wait", "Listen")
	mustDo(t, s.Wait(ctx, "a", 1, 100))
	want("Wait with a newer run there", "Listen")
	mustDo(t, s.Purge(ctx, "a", 1, u.Case.Version+1))
	want("Purge of an earlier run", "BatchGetDocuments Commit")
	mustDo(t, s.Purge(ctx, "a", 2, 1))
	want("Purge of the current run", "BatchGetDocuments RunQuery Commit")
	mustDo(t, s.Purge(ctx, "a", 2, 1))
	want("Purge of what is gone", "BatchGetDocuments")
	if err := s.Wait(ctx, "a", 2, 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Wait for what is gone: %v", err)
	}
	want("Wait for what is gone", "Listen BatchGetDocuments")

	c = save(t, other, "b")
	mustDo(t, s.Update(ctx, after(c)))
	want("Update of what this store has not seen", "BatchGetDocuments Commit")
	c, err = s.Get(ctx, "b", 1)
	mustDo(t, err)
	want("Get", "BatchGetDocuments")
	mustDo(t, other.Update(ctx, after(c)))
	if err := s.Update(ctx, after(c)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Update of what another has changed: %v", err)
	}
	want("Update of what another has changed", "Commit BatchGetDocuments")
	c, err = other.Get(ctx, "b", 1)
	mustDo(t, err)
	mustDo(t, other.Begin(ctx, next(c)))
	_, _, err = s.Current(ctx, "b")
	mustDo(t, err)
	want("Current at a run not expected", "BatchGetDocuments BatchGetDocuments")
	_, _, err = s.Current(ctx, "b")
	mustDo(t, err)
	want("Current at a run that is known by now", "BatchGetDocuments")
}

// TestContention: writers who fight for one record wait for no lock. (With transactions that read,
// twenty took twenty seconds on the emulator, and some gave up.)
func TestContention(t *testing.T) {
	const writers = 20
	o := options(t)
	var all []*Store
	for range 4 {
		all = append(all, opened(t, o))
	}
	save(t, all[0], "a")
	var wg sync.WaitGroup
	var mu sync.Mutex
	tries := 0
	begun := time.Now()
	for i := range writers {
		wg.Go(func() {
			s := all[i%len(all)]
			for {
				c, err := s.Get(t.Context(), "a", 1)
				if err == nil {
					err = s.Update(t.Context(), after(c))
				}
				mu.Lock()
				tries++
				mu.Unlock()
				if err == nil {
					return
				}
				if !errors.Is(err, store.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d writers of one record saved in %v, with %d tries in all", writers, time.Since(begun), tries)
	c, err := all[0].Get(t.Context(), "a", 1)
	if err != nil || c.Version != writers+1 || c.Checks.Polls != writers {
		t.Errorf("version %d, count %d, error %v after %d writers", c.Version, c.Checks.Polls, err, writers)
	}
}
