package storetest

import (
	"testing"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var countTests = []test{{"FollowsTheStates", testCountOpen}}

// testCountOpen counts from what others left open.
func testCountOpen(t *testing.T, e *env) {
	open, err := e.Store.CountOpen(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := func(change int, when string) {
		t.Helper()
		open += change
		got, err := e.Store.CountOpen(e.ctx)
		if err != nil || got != open {
			t.Fatalf("%d open %s, want %d (error %v)", got, when, open, err)
		}
	}
	want(0, "at first")
	a := e.begun(t, "a")
	want(+1, "after a beginning")
	a = e.update(t, a, func(c *cases.Case) { c.State = cases.Running })
	want(0, "after it runs")
	for _, state := range []cases.State{cases.Succeeded, cases.Failed, cases.TimedOut, cases.Cancelled} {
		c := e.begun(t, string(state))
		want(+1, "after one more beginning")
		c = e.update(t, c, ended, func(c *cases.Case) { c.State = state })
		want(-1, "after one "+string(state))
		c = e.update(t, c, func(c *cases.Case) { c.Settled = true })
		want(0, "after a change of an ended run")
		if err := e.Store.Begin(e.ctx, next(e.head(t, c.CaseID), nil)); err != nil {
			t.Fatal(err)
		}
		want(+1, "after another run of it")
	}
	b := next(e.head(t, a.CaseID), &store.Write{Case: changed(a, ended)})
	if err := e.Store.Begin(e.ctx, b); err != nil {
		t.Fatal(err)
	}
	want(0, "after a run that supersedes another")
	wantErr(t, "the same again", e.Store.Begin(e.ctx, b), store.ErrConflict)
	want(0, "after a conflict")
	c := e.begun(t, "gone")
	want(+1, "after the last beginning")
	if err := e.Store.Purge(e.ctx, c.CaseID, 1, c.Version); err != nil {
		t.Fatal(err)
	}
	want(-1, "after an open run was purged")
}
