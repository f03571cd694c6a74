package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// testListPages: 250 records, 25 to a time, in pages that end within and between the ties.
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
			t.Errorf("those that failed, %d at a time (-want +got):\n%s", limit, diff)
		}
	}
}

// testListParts: what is finer than a microsecond does not order, and does not disturb who goes on after a record. Nor does a zone, or a
// time before 1970.
func testListParts(t *testing.T, e *env) {
	for i, at := range []time.Time{era(), time.Unix(-era().Unix()/2, 0).UTC()} {
		name := func(s string) string { return fmt.Sprint(s, i) }
		e.begun(t, name("a"), createdAt(at.Add(900)))
		e.begun(t, name("b"), createdAt(at.Add(100).In(time.FixedZone("", 5*3600+1800))))
		e.begun(t, name("c"), createdAt(at.Add(500)))
		e.begun(t, name("older"), createdAt(at.Add(-1)))
		e.begun(t, name("newer"), createdAt(at.Add(time.Microsecond)))
		want := []string{name("newer") + "/1", name("c") + "/1", name("b") + "/1", name("a") + "/1", name("older") + "/1"}
		for _, limit := range []int{1, 2, 10} {
			f := store.Filter{Since: at.Add(-time.Second), Before: at.Add(time.Second)}
			if diff := cmp.Diff(want, e.list(t, e.Store, f, store.Place{}, limit, at)); diff != "" {
				t.Errorf("around %v, %d at a time (-want +got):\n%s", at, limit, diff)
			}
		}
	}
}

// testListWhole: records are listed as Get returns them, with what this revision does not know of them.
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
			page, err := e.Store.List(e.ctx, store.Filter{State: state, Since: at, Before: at.Add(time.Microsecond)}, store.Place{}, 10)
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
				t.Errorf("%d records of nothing, error %v", len(page), err)
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
