package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var togetherTests = []test{
	{"Everything", testEverything},
	{"WritersThatGiveUp", testGiveUp},
}

// ledger counts the confirmed writes.
type ledger struct {
	mu     sync.Mutex
	writes map[string]int64 // per run
	purges map[string]bool
}

func (l *ledger) saved(id string, run int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes[fmt.Sprint(id, "/", run)]++
}

func (l *ledger) purged(id string, run int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.purges[fmt.Sprint(id, "/", run)] = true
}

// testEverything does random operations on a few cases concurrently. No reader may see a record go
// back. At the end every record must have exactly the confirmed writes.
func testEverything(t *testing.T, e *env) {
	const rounds = 40
	ids := []string{e.id("a"), e.id("b"), e.id("c")}
	for _, name := range []string{"a", "b", "c"} {
		e.begun(t, name)
	}
	all := e.instances(t)
	l := ledger{writes: map[string]int64{}, purges: map[string]bool{}}
	together(min(12, e.Contenders), func(i int) {
		s := all[i%len(all)]
		seen := map[string]int64{}
		for range rounds {
			id := ids[rand.IntN(len(ids))]
			head, c, err := s.Current(e.ctx, id)
			if err != nil {
				t.Errorf("Current: %v", err)
				return
			}
			run := fmt.Sprint(id, "/", c.Run)
			if c.Version < seen[run] || head.Version < seen[id] {
				t.Errorf("%s went back to version %d, its head to %d", run, c.Version, head.Version)
				return
			}
			seen[run], seen[id] = c.Version, head.Version
			if err := l.step(e.ctx, s, head, c); err != nil && !errors.Is(err, store.ErrConflict) &&
				!errors.Is(err, store.ErrNotFound) {
				t.Error(err)
				return
			}
		}
	})
	for _, id := range ids {
		for run := range e.head(t, id).Run {
			run++
			name := fmt.Sprint(id, "/", run)
			c, err := e.Store.Get(e.ctx, id, run)
			if purged := l.purges[name]; purged != errors.Is(err, store.ErrNotFound) {
				t.Errorf("run %d purged: %v, read with error %v", run, purged, err)
			}
			if want := 1 + l.writes[name]; err == nil && c.Version != want {
				t.Errorf("run %d at version %d, confirmed %d", run, c.Version, want)
			}
		}
	}
}

// step does one random operation.
func (l *ledger) step(ctx context.Context, s store.Store, head store.Head, c cases.Case) error {
	id := c.CaseID
	switch rand.IntN(10) {
	case 0:
		if err := s.Begin(ctx, next(head, &store.Write{Case: changed(c, ended)})); err != nil {
			return fmt.Errorf("from Begin: %w", err)
		}
		l.saved(id, c.Run)
	case 1:
		old, err := s.Get(ctx, id, 1+rand.IntN(head.Run))
		if err != nil || old.Run == head.Run {
			return err
		}
		if err := s.Purge(ctx, id, old.Run, old.Version); err != nil {
			return fmt.Errorf("from Purge: %w", err)
		}
		l.purged(id, old.Run)
	case 2:
		ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		if err := s.Wait(ctx, id, c.Run, c.Version); err != nil && !errors.Is(err, ctx.Err()) {
			return fmt.Errorf("from Wait: %w", err)
		}
	case 3:
		if _, err := s.CountOpen(ctx); err != nil {
			return fmt.Errorf("from CountOpen: %w", err)
		}
		if _, err := s.Overdue(ctx, time.Unix(1, 0), store.Cursor{}, 5); err != nil {
			return fmt.Errorf("from Overdue: %w", err)
		}
		if _, err := s.Value(ctx, id, c.Run, store.Form); err != nil {
			return fmt.Errorf("from Value: %w", err)
		}
	default:
		w := store.Write{Case: changed(c, count), Put: map[store.Value][]byte{store.LateResult: noise(rand.IntN(2000))}}
		if err := s.Update(ctx, w); err != nil {
			return fmt.Errorf("from Update: %w", err)
		}
		l.saved(id, c.Run)
	}
	return nil
}

// testGiveUp checks writers whose context ends while they write. They must not affect the writes of
// others, and each write must be complete or missing.
func testGiveUp(t *testing.T, e *env) {
	n := e.Contenders
	ids := make([]string, n)
	for i := range ids {
		ids[i] = e.id(fmt.Sprintf("%03d", i))
	}
	spread(n, func(i int) {
		if err := e.Store.Begin(e.ctx, first(ids[i])); err != nil {
			t.Errorf("Begin: %v", err)
		}
	})
	all := e.instances(t)
	results := make([]error, n)
	together(n, func(i int) {
		ctx := e.ctx
		if i%2 == 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
			defer cancel()
		}
		results[i] = all[i/2%len(all)].Update(ctx, store.Write{
			Case: changed(record(ids[i], 1), count),
			Put:  map[store.Value][]byte{store.Result: []byte(ids[i])},
			Drop: []store.Value{store.Form},
		})
	})
	for i, err := range results {
		patient := i%2 == 1
		if patient && err != nil || err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("writer %d: %v", i, err)
		}
		c := e.get(t, ids[i], 1)
		switch {
		case c.Version == 2:
			e.wantValue(t, ids[i], 1, store.Result, []byte(ids[i]))
			e.wantValue(t, ids[i], 1, store.Form, nil)
		case c.Version != 1 || err == nil:
			t.Errorf("writer %d: the record is at version %d, error %v", i, c.Version, err)
		default:
			e.wantValue(t, ids[i], 1, store.Result, nil)
			e.wantValue(t, ids[i], 1, store.Form, form(ids[i], 1))
		}
	}
}

// testCurrentTogether checks that the head never names a run that is missing or has ended, while
// runs supersede each other.
func testCurrentTogether(t *testing.T, e *env) {
	const runs = 20
	c := e.begun(t, "a")
	head := e.head(t, c.CaseID)
	var done atomic.Bool
	all := e.instances(t)
	together(4, func(i int) {
		if i == 0 {
			defer done.Store(true)
			for range runs {
				b := next(head, &store.Write{Case: changed(c, ended)})
				if err := e.Store.Begin(e.ctx, b); err != nil {
					t.Errorf("Begin: %v", err)
					return
				}
				c, head = b.Case, b.Head
			}
			return
		}
		for !done.Load() {
			head, c, err := all[i%len(all)].Current(e.ctx, e.id("a"))
			if err != nil || c.Run != head.Run || c.CaseID != head.CaseID || c.State.Ended() ||
				int64(head.Run) != head.Version {
				t.Errorf("Current: head %+v with run %d of %q, %s, error %v", head, c.Run, c.CaseID, c.State, err)
				return
			}
		}
	})
	if got := e.head(t, c.CaseID).Run; got != runs+1 {
		t.Errorf("head at run %d, want %d", got, runs+1)
	}
}
