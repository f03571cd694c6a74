package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// testListFollows: each instance lists the records as they are now, whoever wrote them.
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

// testListMeanwhile: who pages meets every record that stays as it is once, whatever becomes of those between.
func testListMeanwhile(t *testing.T, e *env) {
	const records = 60
	at := era()
	var still []string
	var moving []cases.Case
	for i := range records {
		c := e.begun(t, fmt.Sprintf("%02d", records-i), createdAt(at.Add(-time.Duration(i)*time.Second)))
		if i%2 == 0 {
			still = append(still, fmt.Sprintf("%02d/1", records-i))
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
				for _, name := range still {
					if met[name] != 1 {
						t.Errorf("%s was met %d times, state %q", name, met[name], state)
					}
				}
			}
		}
	})
}
