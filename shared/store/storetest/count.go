package storetest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var countTests = []test{
	{"OpenFollowsTheStates", testCountOpen},
	{"ByStateFollowsTheStates", testCountByState},
	{"ByStateAtOneMoment", testCountTogether},
}

// testCountOpen compares the count with that at its beginning, because other tests leave open runs.
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
		c = e.update(t, c, func(c *cases.Case) { c.Bookkeeping.Finalized = true })
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

// testCountByState compares the counts with those at its beginning, because other tests leave runs.
func testCountByState(t *testing.T, e *env) {
	have := e.countByState(t, e.Store)
	want := func(when string, moved map[cases.State]int) {
		t.Helper()
		for state, n := range moved {
			have[state] += n
		}
		for i, s := range e.instances(t) {
			if diff := cmp.Diff(have, e.countByState(t, s)); diff != "" {
				t.Fatalf("%s, instance %d (-want +got):\n%s", when, i, diff)
			}
		}
	}
	page, err := e.Store.List(e.ctx, store.Filter{}, store.Place{}, 1)
	if err != nil || (len(page) == 0) != (sum(have) == 0) {
		t.Errorf("%d records listed of %d, error %v", len(page), sum(have), err)
	}
	a := e.begun(t, "a")
	want("after a beginning", map[cases.State]int{cases.Pending: +1})
	for _, state := range states[1:] {
		c := e.begun(t, string(state))
		want("after one more beginning", map[cases.State]int{cases.Pending: +1})
		c = e.update(t, c, inState(state))
		want("after one became "+string(state), map[cases.State]int{cases.Pending: -1, state: +1})
		stale := c
		c = e.update(t, c, func(c *cases.Case) { c.Bookkeeping.Finalized = true })
		want("after a change of a run that stays "+string(state), nil)
		err := e.Store.Update(e.ctx, store.Write{Case: changed(stale, inState(cases.Pending))})
		wantErr(t, "stale Update", err, store.ErrConflict)
		want("after a conflict", nil)
		if err := e.Store.Purge(e.ctx, c.CaseID, 1, c.Version); err != nil {
			t.Fatal(err)
		}
		want("after one "+string(state)+" was purged", map[cases.State]int{state: -1})
	}
	b := next(e.head(t, a.CaseID), &store.Write{Case: changed(a, inState(cases.TimedOut))})
	if err := e.Store.Begin(e.ctx, b); err != nil {
		t.Fatal(err)
	}
	want("after a run that supersedes another", map[cases.State]int{cases.TimedOut: +1})
	open, err := e.Store.CountOpen(e.ctx)
	if err != nil || open != have[cases.Pending]+have[cases.Running] {
		t.Errorf("%d open, by state %v, error %v", open, have, err)
	}
}

// testCountTogether checks that each run is counted exactly once while runs change their states.
func testCountTogether(t *testing.T, e *env) {
	const runs, changes = 8, 12
	begun := make([]cases.Case, runs)
	for i := range begun {
		begun[i] = e.begun(t, fmt.Sprint("a", i))
	}
	want := sum(e.countByState(t, e.Store))
	done := make(chan struct{})
	all := e.instances(t)
	together(runs+1, func(i int) {
		if i < runs {
			c := begun[i]
			for j := range changes {
				c = changed(c, inState(states[(i+j)%len(states)]))
				if err := all[i%len(all)].Update(e.ctx, store.Write{Case: c}); err != nil {
					t.Errorf("Update: %v", err)
				}
			}
			done <- struct{}{}
			return
		}
		for left := runs; left > 0; {
			select {
			case <-done:
				left--
			default:
				counts, err := e.Store.CountByState(e.ctx)
				if err != nil || sum(counts) != want {
					t.Errorf("%d runs by state %v, want %d (error %v)", sum(counts), counts, want, err)
				}
			}
		}
	})
}

// countByState returns the counts, including 0 for a state without runs.
func (e *env) countByState(t *testing.T, s store.Store) map[cases.State]int {
	t.Helper()
	counts, err := s.CountByState(e.ctx)
	if err != nil {
		t.Fatalf("CountByState: %v", err)
	}
	all := map[cases.State]int{}
	for _, state := range states {
		all[state] = counts[state]
		delete(counts, state)
	}
	if len(counts) > 0 {
		t.Errorf("counts of unknown states: %v", counts)
	}
	return all
}

func sum(counts map[cases.State]int) int {
	n := 0
	for _, of := range counts {
		n += of
	}
	return n
}
