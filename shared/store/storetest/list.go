package storetest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var listTests = []test{
	{"OrderAndBound", testListOrder},
	{"ManyRunsOfOneCase", testListRuns},
	{"EveryFilter", testListFilters},
	{"PagesVisitAllOnce", testListPages},
	{"PartsOfMicroseconds", testListParts},
	{"WholeRecords", testListWhole},
	{"LimitAndNothing", testListLimit},
	{"FollowsTheRecord", testListFollows},
	{"WhileOthersWrite", testListMeanwhile},
}

func createdAt(at time.Time) func(*cases.Case) {
	return func(c *cases.Case) { c.CreatedAt = at }
}

func inState(state cases.State) func(*cases.Case) {
	return func(c *cases.Case) { c.State = state }
}

// list walks through the pages of that size, beginning after the given place, to the end or to what is older than an hour before at,
// and returns what is of this test as "name/run" in the order found.
func (e *env) list(t *testing.T, s store.Store, f store.Filter, after store.Place, limit int, at time.Time) []string {
	t.Helper()
	var found []string
	for pages := 0; ; pages++ {
		page, err := s.List(e.ctx, f, after, limit)
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if len(page) > limit {
			t.Fatalf("List returned %d records, the limit is %d", len(page), limit)
		}
		for _, c := range page {
			if name, ok := strings.CutPrefix(c.CaseID, e.prefix+"-"); ok {
				found = append(found, fmt.Sprintf("%s/%d", name, c.Run))
			}
			if f.State != "" && c.State != f.State || c.CreatedAt.Before(f.Since) || !f.Before.IsZero() && !c.CreatedAt.Before(f.Before) {
				t.Errorf("List returned a record %s created %v, asked for %+v", c.State, c.CreatedAt, f)
			}
		}
		if len(page) < limit || page[len(page)-1].CreatedAt.Before(at.Add(-time.Hour)) {
			return found
		}
		after = store.PlaceOf(page[len(page)-1])
		if pages > 100_000 {
			t.Fatal("List does not come to an end")
		}
	}
}

func testListOrder(t *testing.T, e *env) {
	at := era()
	for _, c := range []struct {
		name  string
		after time.Duration
	}{
		{"late", time.Hour},
		{"b", time.Second}, {"a", time.Second}, {"B", time.Second}, {"a.c", time.Second}, {"a:c", time.Second},
		{"a-c", time.Second}, {"a_c", time.Second}, {"A", time.Second}, {"10", time.Second}, {"9", time.Second},
		{"micro", time.Second + time.Microsecond}, {"first", 0}, {"before", -time.Microsecond},
	} {
		e.begun(t, c.name, createdAt(at.Add(c.after)))
	}
	// Ids compare byte by byte, as Go's strings do.
	ties := []string{"b/1", "a_c/1", "a:c/1", "a.c/1", "a-c/1", "a/1", "B/1", "A/1", "9/1", "10/1"}
	all := slices.Concat([]string{"late/1", "micro/1"}, ties, []string{"first/1", "before/1"})
	end := at.Add(2 * time.Hour)
	for _, c := range []struct {
		name   string
		filter store.Filter
		after  store.Place
		want   []string
	}{
		{"all from a time on", store.Filter{}, store.Place{CreatedAt: end}, all},
		{"all since a time", store.Filter{Since: at.Add(-time.Second), Before: end}, store.Place{}, all},
		{"since the first", store.Filter{Since: at, Before: end}, store.Place{}, all[:13]},
		{"since the ties", store.Filter{Since: at.Add(time.Second), Before: end}, store.Place{}, all[:12]},
		{"since just after the ties", store.Filter{Since: at.Add(time.Second + time.Microsecond), Before: end}, store.Place{}, all[:2]},
		{"strictly before the last", store.Filter{Before: at.Add(time.Hour)}, store.Place{}, all[1:]},
		{"a microsecond past the last", store.Filter{Before: at.Add(time.Hour + time.Microsecond)}, store.Place{}, all},
		{"strictly before the ties", store.Filter{Before: at.Add(time.Second)}, store.Place{}, all[12:]},
		{"one time alone", store.Filter{Since: at.Add(time.Second), Before: at.Add(time.Second + time.Microsecond)}, store.Place{}, ties},
		{"since what is to come", store.Filter{Since: at.Add(time.Hour + time.Microsecond), Before: end}, store.Place{}, nil},
		{"from a time back to the same", store.Filter{Since: at.Add(time.Second), Before: at.Add(time.Second)}, store.Place{}, nil},
		{"from a time back to a later one", store.Filter{Since: at.Add(time.Hour), Before: at}, store.Place{}, nil},
		{"after a record", store.Filter{}, store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[9:]},
		{"after a record that is not there", store.Filter{}, store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 2}, all[8:]},
		{"after a record that is not there by far", store.Filter{}, store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: math.MaxInt}, all[8:]},
		{"after a time", store.Filter{}, store.Place{CreatedAt: at.Add(time.Second)}, all[12:]},
		{"after a record, since", store.Filter{Since: at}, store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[9:13]},
		{"after a record, before a later time", store.Filter{Before: end}, store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[9:]},
		{"after a record, before its own time", store.Filter{Before: at.Add(time.Second)}, store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[12:]},
		{"after a record, before an earlier time", store.Filter{Before: at}, store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[13:]},
		{"after the last", store.Filter{Since: at.Add(-time.Microsecond)}, store.Place{CreatedAt: at.Add(-time.Microsecond), CaseID: e.id("before"), Run: 1}, nil},
	} {
		for _, state := range []cases.State{"", cases.Pending} { // all are pending
			c.filter.State = state
			for _, limit := range []int{1, 3, 100} {
				if diff := cmp.Diff(c.want, e.list(t, e.Store, c.filter, c.after, limit, at)); diff != "" {
					t.Errorf("%s, state %q, %d at a time (-want +got):\n%s", c.name, state, limit, diff)
				}
			}
		}
	}
}

// testListRuns: runs are in the order of numbers, 10 before 9.
func testListRuns(t *testing.T, e *env) {
	at := era()
	c := e.begun(t, "a", createdAt(at))
	want := []string{"a/1"}
	for run := 2; run <= 11; run++ {
		b := next(e.head(t, c.CaseID), &store.Write{Case: changed(c, ended)})
		b.Case.CreatedAt = at
		if err := e.Store.Begin(e.ctx, b); err != nil {
			t.Fatal(err)
		}
		c = b.Case
		want = append(want, fmt.Sprintf("a/%d", run))
	}
	slices.Reverse(want)
	f := store.Filter{Since: at, Before: at.Add(time.Microsecond)}
	for _, limit := range []int{1, 4, 50} {
		if diff := cmp.Diff(want, e.list(t, e.Store, f, store.Place{}, limit, at)); diff != "" {
			t.Errorf("%d at a time (-want +got):\n%s", limit, diff)
		}
	}
	f.State = cases.Succeeded
	if diff := cmp.Diff(want[1:], e.list(t, e.Store, f, store.Place{}, 3, at)); diff != "" {
		t.Errorf("those that ended (-want +got):\n%s", diff)
	}
}

var states = cases.States()

// testListFilters lists three records of each state with every combination of filters.
func testListFilters(t *testing.T, e *env) {
	at := era()
	type listed struct {
		name  string
		state cases.State
		at    time.Time
	}
	var all []listed // newest first
	for i := range 3 * len(states) {
		l := listed{fmt.Sprintf("%02d", i), states[i%len(states)], at.Add(-time.Duration(i) * time.Second)}
		e.begun(t, l.name, createdAt(l.at), inState(l.state))
		all = append(all, l)
	}
	for _, state := range append([]cases.State{"", "of no such name"}, states...) {
		for _, since := range []time.Time{{}, at.Add(-11 * time.Second), at.Add(-10*time.Second - time.Microsecond)} {
			for _, before := range []time.Time{at.Add(time.Second), at.Add(-5 * time.Second), at.Add(-5*time.Second + time.Microsecond)} {
				var want []string
				for _, l := range all {
					if (state == "" || state == l.state) && !l.at.Before(since) && l.at.Before(before) {
						want = append(want, l.name+"/1")
					}
				}
				f := store.Filter{State: state, Since: since, Before: before}
				for _, limit := range []int{1, 2, 100} {
					if diff := cmp.Diff(want, e.list(t, e.Store, f, store.Place{}, limit, at)); diff != "" {
						t.Errorf("%+v, %d at a time (-want +got):\n%s", f, limit, diff)
					}
				}
			}
		}
	}
}
