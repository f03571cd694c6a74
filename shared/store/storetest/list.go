package storetest

import (
	"encoding/json"
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

// list reads pages of limit records after the place, until the end or until records are an hour
// older than at. It returns the records of this test as "name/run" in the order of the list.
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
			if f.State != "" && c.State != f.State || c.CreatedAt.Before(f.Since) ||
				!f.Before.IsZero() && !c.CreatedAt.Before(f.Before) {
				t.Errorf("List returned a record %s created %v, asked for %+v", c.State, c.CreatedAt, f)
			}
		}
		if len(page) < limit || page[len(page)-1].CreatedAt.Before(at.Add(-time.Hour)) {
			return found
		}
		after = store.PlaceOf(page[len(page)-1])
		if pages > 100_000 {
			t.Fatal("List does not end")
		}
	}
}

func testListOrder(t *testing.T, e *env) {
	at := era()
	for _, c := range unordered {
		e.begun(t, c.name, createdAt(at.Add(c.after)))
	}
	// Ids are compared byte by byte, like Go strings.
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
		{"since just after the ties", store.Filter{Since: at.Add(time.Second + time.Microsecond), Before: end},
			store.Place{}, all[:2]},
		{"strictly before the last", store.Filter{Before: at.Add(time.Hour)}, store.Place{}, all[1:]},
		{"a microsecond past the last", store.Filter{Before: at.Add(time.Hour + time.Microsecond)}, store.Place{}, all},
		{"strictly before the ties", store.Filter{Before: at.Add(time.Second)}, store.Place{}, all[12:]},
		{"one time alone",
			store.Filter{Since: at.Add(time.Second), Before: at.Add(time.Second + time.Microsecond)},
			store.Place{}, ties},
		{"since a future time", store.Filter{Since: at.Add(time.Hour + time.Microsecond), Before: end},
			store.Place{}, nil},
		{"from a time to the same time", store.Filter{Since: at.Add(time.Second), Before: at.Add(time.Second)},
			store.Place{}, nil},
		{"from a time to an earlier one", store.Filter{Since: at.Add(time.Hour), Before: at}, store.Place{}, nil},
		{"after a record", store.Filter{},
			store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[9:]},
		{"after a missing record", store.Filter{},
			store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 2}, all[8:]},
		{"after a missing record with a large run", store.Filter{},
			store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: math.MaxInt}, all[8:]},
		{"after a time", store.Filter{}, store.Place{CreatedAt: at.Add(time.Second)}, all[12:]},
		{"after a record, since", store.Filter{Since: at},
			store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[9:13]},
		{"after a record, before a later time", store.Filter{Before: end},
			store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[9:]},
		{"after a record, before its own time", store.Filter{Before: at.Add(time.Second)},
			store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[12:]},
		{"after a record, before an earlier time", store.Filter{Before: at},
			store.Place{CreatedAt: at.Add(time.Second), CaseID: e.id("B"), Run: 1}, all[13:]},
		{"after the last", store.Filter{Since: at.Add(-time.Microsecond)},
			store.Place{CreatedAt: at.Add(-time.Microsecond), CaseID: e.id("before"), Run: 1}, nil},
	} {
		for _, state := range []cases.State{"", cases.Pending} { // all records are pending
			c.filter.State = state
			for _, limit := range []int{1, 3, 100} {
				if diff := cmp.Diff(c.want, e.list(t, e.Store, c.filter, c.after, limit, at)); diff != "" {
					t.Errorf("%s, state %q, %d at a time (-want +got):\n%s", c.name, state, limit, diff)
				}
			}
		}
	}
}

// testListRuns checks that runs are ordered as numbers: 10 before 9.
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
		t.Errorf("ended runs (-want +got):\n%s", diff)
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
	for _, state := range append([]cases.State{"", "unknown state"}, states...) {
		for _, since := range []time.Time{{}, at.Add(-11 * time.Second), at.Add(-10*time.Second - time.Microsecond)} {
			for _, before := range []time.Time{
				at.Add(time.Second), at.Add(-5 * time.Second), at.Add(-5*time.Second + time.Microsecond),
			} {
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

// testListPages lists 250 records, 25 of them with each time, in pages that end within and between
// groups of the same time.
func testListPages(t *testing.T, e *env) {
	const records, ties = 250, 25
	at := era()
	var want, failed []string
	for i := range records {
		name := fmt.Sprintf("%03d/1", records-1-i)
		want = append(want, name)
		if (records-1-i)%3 == 0 {
			failed = append(failed, name)
		}
	}
	spread(records, func(i int) {
		b := first(e.id(fmt.Sprintf("%03d", i)))
		b.Case.CreatedAt = at.Add(time.Duration(i/ties) * time.Microsecond)
		if i%3 == 0 {
			b.Case.State = cases.Failed
		}
		if err := e.Store.Begin(e.ctx, b); err != nil {
			t.Errorf("Begin: %v", err)
		}
	})
	f := store.Filter{Since: at, Before: at.Add(time.Millisecond)}
	for _, limit := range []int{7, 25, 100, 250, 1000} {
		f.State = ""
		if diff := cmp.Diff(want, e.list(t, e.Store, f, store.Place{}, limit, at)); diff != "" {
			t.Errorf("%d at a time (-want +got):\n%s", limit, diff)
		}
		f.State = cases.Failed
		if diff := cmp.Diff(failed, e.list(t, e.Store, f, store.Place{}, limit, at)); diff != "" {
			t.Errorf("failed runs, %d at a time (-want +got):\n%s", limit, diff)
		}
	}
}

// testListParts checks that fractions of a microsecond do not affect the order or the next page.
// Neither do time zones and times before 1970.
func testListParts(t *testing.T, e *env) {
	for i, at := range []time.Time{era(), time.Unix(-era().Unix()/2, 0).UTC()} {
		name := func(s string) string { return fmt.Sprint(s, i) }
		e.begun(t, name("a"), createdAt(at.Add(900)))
		e.begun(t, name("b"), createdAt(at.Add(100).In(time.FixedZone("", 5*3600+1800))))
		e.begun(t, name("c"), createdAt(at.Add(500)))
		e.begun(t, name("older"), createdAt(at.Add(-1)))
		e.begun(t, name("newer"), createdAt(at.Add(time.Microsecond)))
		want := []string{
			name("newer") + "/1",
			name("c") + "/1",
			name("b") + "/1",
			name("a") + "/1",
			name("older") + "/1",
		}
		for _, limit := range []int{1, 2, 10} {
			f := store.Filter{Since: at.Add(-time.Second), Before: at.Add(time.Second)}
			if diff := cmp.Diff(want, e.list(t, e.Store, f, store.Place{}, limit, at)); diff != "" {
				t.Errorf("around %v, %d at a time (-want +got):\n%s", at, limit, diff)
			}
		}
	}
}

// testListWhole checks that List returns records as Get does, including fields that this revision
// does not know.
func testListWhole(t *testing.T, e *env) {
	at := era()
	known := record(e.id("a"), 1)
	known.CreatedAt = at
	known.Outcome.OutputURL = "a\x00b\\u0000\u2028\\"
	data, err := json.Marshal(known)
	if err != nil {
		t.Fatal(err)
	}
	extra := `{"x_object":{"state":"failed","created_at":"1999-01-01T00:00:00Z","a":"\u0000\\u0000"},"":"no name",`
	var c cases.Case
	if err := json.Unmarshal(append([]byte(extra), data[1:]...), &c); err != nil {
		t.Fatal(err)
	}
	b := first(c.CaseID)
	b.Case = c
	if err := e.Store.Begin(e.ctx, b); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, state := range []cases.State{"", c.State} {
			page, err := e.Store.List(
				e.ctx,
				store.Filter{State: state, Since: at, Before: at.Add(time.Microsecond)},
				store.Place{},
				10,
			)
			if err != nil || len(page) != 1 {
				t.Fatalf("%d records, error %v", len(page), err)
			}
			if diff := cmp.Diff(plain(t, c), plain(t, page[0])); diff != "" {
				t.Errorf("listed with state %q (-want +got):\n%s", state, diff)
			}
		}
		c = e.update(t, e.get(t, c.CaseID, 1), ended)
	}
}

func testListLimit(t *testing.T, e *env) {
	at := era()
	nothing := store.Filter{Since: at, Before: at.Add(time.Microsecond)}
	for _, limit := range []int{1, 100} {
		for _, state := range append([]cases.State{""}, states...) {
			nothing.State = state
			if page, err := e.Store.List(e.ctx, nothing, store.Place{}, limit); err != nil || len(page) != 0 {
				t.Errorf("got %d records, error %v, want none", len(page), err)
			}
		}
	}
	c := e.begun(t, "a", createdAt(at))
	for _, limit := range []int{0, -1} {
		if page, err := e.Store.List(e.ctx, store.Filter{}, store.Place{}, limit); err != nil || len(page) != 0 {
			t.Errorf("%d records with a limit of %d, error %v", len(page), limit, err)
		}
	}
	page, err := e.Store.List(e.ctx, store.Filter{Since: at, Before: at.Add(time.Microsecond)}, store.Place{}, 1)
	if err != nil || len(page) != 1 || page[0].CaseID != c.CaseID {
		t.Errorf("%d records with a limit of 1, error %v", len(page), err)
	}
	newest := e.begun(t, "newest", createdAt(never.AddDate(7000, 0, 0)))
	page, err = e.Store.List(e.ctx, store.Filter{}, store.Place{}, 1)
	if err != nil || len(page) != 1 || page[0].CaseID != newest.CaseID {
		t.Errorf("%d records with a limit of 1 and no filter, error %v", len(page), err)
	}
	if err := e.Store.Purge(e.ctx, newest.CaseID, 1, 1); err != nil {
		t.Fatal(err)
	}
}

// testListFollows checks that each instance lists the current records, whichever instance wrote
// them.
func testListFollows(t *testing.T, e *env) {
	at := era()
	want := func(state cases.State, want ...string) {
		t.Helper()
		f := store.Filter{State: state, Since: at.Add(-time.Minute), Before: at.Add(time.Minute)}
		for i, s := range e.instances(t) {
			if diff := cmp.Diff(want, e.list(t, s, f, store.Place{}, 10, at)); diff != "" {
				t.Errorf("state %q, instance %d (-want +got):\n%s", state, i, diff)
			}
		}
	}
	want("")
	a := e.begun(t, "a", createdAt(at))
	b := e.begun(t, "b", createdAt(at.Add(time.Second)))
	want("", "b/1", "a/1")
	want(cases.Pending, "b/1", "a/1")
	a = e.update(t, a, inState(cases.Running))
	want("", "b/1", "a/1")
	want(cases.Pending, "b/1")
	want(cases.Running, "a/1")
	a = e.update(t, a, count)
	want(cases.Running, "a/1")
	stale := changed(b, ended)
	b = e.update(t, b, inState(cases.Cancelled))
	wantErr(t, "stale Update", e.Store.Update(e.ctx, store.Write{Case: stale}), store.ErrConflict)
	want(cases.Succeeded)
	want(cases.Cancelled, "b/1")

	superseding := next(e.head(t, a.CaseID), &store.Write{Case: changed(a, inState(cases.Cancelled))})
	superseding.Case.CreatedAt = at.Add(time.Millisecond)
	if err := e.Store.Begin(e.ctx, superseding); err != nil {
		t.Fatal(err)
	}
	want("", "b/1", "a/2", "a/1")
	want(cases.Running)
	want(cases.Pending, "a/2")
	want(cases.Cancelled, "b/1", "a/1")
	wantErr(t, "the same again", e.Store.Begin(e.ctx, superseding), store.ErrConflict)
	want("", "b/1", "a/2", "a/1")

	if err := e.Store.Purge(e.ctx, a.CaseID, 1, a.Version+1); err != nil {
		t.Fatal(err)
	}
	want("", "b/1", "a/2")
	want(cases.Cancelled, "b/1")
	if err := e.Store.Purge(e.ctx, b.CaseID, 1, b.Version); err != nil {
		t.Fatal(err)
	}
	if err := e.Store.Purge(e.ctx, a.CaseID, 2, 1); err != nil {
		t.Fatal(err)
	}
	for _, state := range append([]cases.State{""}, states...) {
		want(state)
	}
}

// testListMeanwhile checks that pages contain every unchanged record exactly once while others
// change.
func testListMeanwhile(t *testing.T, e *env) {
	const records = 60
	at := era()
	var unchanged []string
	var moving []cases.Case
	for i := range records {
		c := e.begun(t, fmt.Sprintf("%02d", records-i), createdAt(at.Add(-time.Duration(i)*time.Second)))
		if i%2 == 0 {
			unchanged = append(unchanged, fmt.Sprintf("%02d/1", records-i))
		} else {
			moving = append(moving, c)
		}
	}
	all := e.instances(t)
	together(2, func(i int) {
		if i == 0 {
			for j, c := range moving {
				if err := e.Store.Update(e.ctx, store.Write{Case: changed(c, ended)}); err != nil {
					t.Errorf("Update: %v", err)
				}
				b := first(e.id(fmt.Sprint("new", j)))
				b.Case.CreatedAt = c.CreatedAt
				if err := e.Store.Begin(e.ctx, b); err != nil {
					t.Errorf("Begin: %v", err)
				}
				if err := e.Store.Purge(e.ctx, c.CaseID, 1, c.Version+1); err != nil {
					t.Errorf("Purge: %v", err)
				}
			}
			return
		}
		for range 5 {
			for _, state := range []cases.State{"", cases.Pending} {
				met := map[string]int{}
				f := store.Filter{State: state, Since: at.Add(-records * time.Second), Before: at.Add(time.Second)}
				for _, name := range e.list(t, all[len(all)-1], f, store.Place{}, 7, at) {
					met[name]++
				}
				for _, name := range unchanged {
					if met[name] != 1 {
						t.Errorf("%s was listed %d times, want once, state %q", name, met[name], state)
					}
				}
			}
		}
	})
}
