package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var overdueTests = []test{
	{"OrderAndBound", testOverdueOrder},
	{"ManyRunsOfOneCase", testOverdueRuns},
	{"PagesVisitAllOnce", testOverduePages},
	{"FollowsTheRecord", testOverdueFollows},
}

// era returns a random past time that no other test is likely to use, so that records of other
// tests are not between its own.
func era() time.Time {
	return time.Unix(rand.Int64N(800_000_000), 0).UTC()
}

// overdue reads pages of limit records after the cursor. It returns the records of this test as
// "name/run" in the order found.
func (e *env) overdue(t *testing.T, before time.Time, after store.Cursor, limit int) []string {
	t.Helper()
	var found []string
	for pages := 0; ; pages++ {
		page, err := e.Store.Overdue(e.ctx, before, after, limit)
		if err != nil {
			t.Fatalf("Overdue: %v", err)
		}
		if len(page) > limit {
			t.Fatalf("Overdue returned %d records, the limit is %d", len(page), limit)
		}
		for _, c := range page {
			if name, ok := strings.CutPrefix(c.CaseID, e.prefix+"-"); ok {
				found = append(found, fmt.Sprintf("%s/%d", name, c.Run))
			}
			if !c.Bookkeeping.OverdueAt.Before(before) {
				t.Errorf("Overdue returned a record with OverdueAt %v, want only before %v",
					c.Bookkeeping.OverdueAt, before)
			}
		}
		if len(page) == 0 {
			return found
		}
		last := page[len(page)-1]
		after = store.Cursor{OverdueAt: last.Bookkeeping.OverdueAt, CaseID: last.CaseID, Run: last.Run}
		if pages > 100_000 {
			t.Fatal("Overdue does not end")
		}
	}
}

func overdueAt(at time.Time) func(*cases.Case) {
	return func(c *cases.Case) { c.Bookkeeping.OverdueAt = at }
}

func testOverdueOrder(t *testing.T, e *env) {
	at := era()
	for _, c := range unordered {
		e.begun(t, c.name, overdueAt(at.Add(c.after)))
	}
	// Ids are compared byte by byte, like Go strings.
	ties := []string{"10/1", "9/1", "A/1", "B/1", "a/1", "a-c/1", "a.c/1", "a:c/1", "a_c/1", "b/1"}
	all := slices.Concat([]string{"before/1", "first/1"}, ties, []string{"micro/1", "late/1"})
	for _, c := range []struct {
		name   string
		before time.Time
		after  store.Cursor
		want   []string
	}{
		{"all", at.Add(2 * time.Hour), store.Cursor{}, all},
		{"strictly before the last", at.Add(time.Hour), store.Cursor{}, all[:13]},
		{"a microsecond past the last", at.Add(time.Hour + time.Microsecond), store.Cursor{}, all},
		{"strictly before the ties", at.Add(time.Second), store.Cursor{}, all[:2]},
		{"before everything", at.Add(-time.Microsecond), store.Cursor{}, nil},
		{"after a record", at.Add(2 * time.Hour),
			store.Cursor{OverdueAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[6:]},
		{"after a missing record", at.Add(2 * time.Hour),
			store.Cursor{OverdueAt: at.Add(time.Second), CaseID: e.id("B"), Run: 0}, all[5:]},
		{"after a time", at.Add(2 * time.Hour), store.Cursor{OverdueAt: at.Add(time.Second)}, all[2:]},
		{"after the last", at.Add(2 * time.Hour),
			store.Cursor{OverdueAt: at.Add(time.Hour), CaseID: e.id("late"), Run: 1}, nil},
	} {
		for _, limit := range []int{1, 3, 100} {
			if diff := cmp.Diff(c.want, e.overdue(t, c.before, c.after, limit)); diff != "" {
				t.Errorf("%s, %d at a time (-want +got):\n%s", c.name, limit, diff)
			}
		}
	}
	page, err := e.Store.Overdue(e.ctx, at.Add(time.Second), store.Cursor{OverdueAt: at.Add(-time.Second)}, 10)
	if err != nil || len(page) == 0 {
		t.Fatalf("%d records, error %v", len(page), err)
	}
	e.wantRecord(t, page[0]) // complete records, as Get returns them
}

// testOverdueRuns checks that runs are ordered as numbers, 9 before 10, and that ended runs are
// found too.
func testOverdueRuns(t *testing.T, e *env) {
	at := era()
	c := e.begun(t, "a", overdueAt(at))
	want := []string{"a/1"}
	for run := 2; run <= 11; run++ {
		b := next(e.head(t, c.CaseID), &store.Write{Case: changed(c, ended)})
		b.Case.Bookkeeping.OverdueAt = at
		if err := e.Store.Begin(e.ctx, b); err != nil {
			t.Fatal(err)
		}
		c = b.Case
		want = append(want, fmt.Sprintf("a/%d", run))
	}
	for _, limit := range []int{1, 4, 50} {
		got := e.overdue(t, at.Add(time.Second), store.Cursor{OverdueAt: at.Add(-time.Second)}, limit)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d at a time (-want +got):\n%s", limit, diff)
		}
	}
}

// testOverduePages reads 250 records, 25 of them with each time, in pages that end within and
// between groups of the same time.
func testOverduePages(t *testing.T, e *env) {
	const records, ties = 250, 25
	at := era()
	var want []string
	for i := range records {
		want = append(want, fmt.Sprintf("%03d/1", i))
	}
	spread(records, func(i int) {
		b := first(e.id(fmt.Sprintf("%03d", i)))
		b.Case.Bookkeeping.OverdueAt = at.Add(time.Duration(i/ties) * time.Microsecond)
		if err := e.Store.Begin(e.ctx, b); err != nil {
			t.Errorf("Begin: %v", err)
		}
	})
	for _, limit := range []int{7, 25, 100, 250, 1000} {
		got := e.overdue(t, at.Add(time.Second), store.Cursor{OverdueAt: at.Add(-time.Second)}, limit)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d at a time (-want +got):\n%s", limit, diff)
		}
	}
	// A sweep postpones each record that it meets. It must meet each record once, and none may be
	// overdue afterwards.
	after := store.Cursor{OverdueAt: at.Add(-time.Second)}
	var met []string
	for {
		page, err := e.Store.Overdue(e.ctx, at.Add(time.Second), after, 20)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			after = store.Cursor{OverdueAt: c.Bookkeeping.OverdueAt, CaseID: c.CaseID, Run: c.Run}
			if name, ok := strings.CutPrefix(c.CaseID, e.prefix+"-"); ok {
				met = append(met, name+"/1")
				e.update(t, c, overdueAt(never))
			}
		}
	}
	if diff := cmp.Diff(want, met); diff != "" {
		t.Errorf("while records are postponed (-want +got):\n%s", diff)
	}
	if left := e.overdue(t, at.Add(time.Second), store.Cursor{OverdueAt: at.Add(-time.Second)}, 100); len(left) != 0 {
		t.Errorf("still overdue: %v", left)
	}
}

// testOverdueFollows checks that the order is that of the current records.
func testOverdueFollows(t *testing.T, e *env) {
	at := era()
	start := store.Cursor{OverdueAt: at.Add(-time.Second)}
	want := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, e.overdue(t, at.Add(time.Minute), start, 10)); diff != "" {
			t.Errorf("overdue (-want +got):\n%s", diff)
		}
	}
	a := e.begun(t, "a", overdueAt(at))
	b := e.begun(t, "b", overdueAt(at.Add(time.Second)))
	c := e.begun(t, "c")
	want("a/1", "b/1")
	a = e.update(t, a, overdueAt(at.Add(2*time.Second)))
	want("b/1", "a/1")
	c = e.update(t, c, overdueAt(at), ended)
	want("c/1", "b/1", "a/1")
	b = e.update(t, b, overdueAt(at.Add(time.Minute)))
	want("c/1", "a/1")
	wantErr(t, "stale Update", e.Store.Update(e.ctx, store.Write{Case: a}), store.ErrConflict)
	want("c/1", "a/1")
	if err := e.Store.Purge(e.ctx, c.CaseID, 1, c.Version); err != nil {
		t.Fatal(err)
	}
	want("a/1")
	e.update(t, b, overdueAt(at))
	want("b/1", "a/1")
}
