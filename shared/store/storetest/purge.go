package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var purgeTests = []test{
	{"EarlierRun", testPurgeEarlier},
	{"LastRun", testPurgeLast},
	{"AllRunsInOrder", testPurgeAll},
	{"Conflicts", testPurgeConflicts},
	{"Race", testPurgeRace},
	{"RaceWithBegin", testPurgeRaceBegin},
}

// runs begins a case with that many runs, all but the last ended, each with a result, and returns the records.
func (e *env) runs(t *testing.T, name string, n int) []cases.Case {
	t.Helper()
	c := e.begun(t, name)
	var all []cases.Case
	for run := 1; ; run++ {
		c = changed(c, count)
		w := store.Write{Case: c, Put: map[store.Value][]byte{store.Result: fmt.Append(nil, "result ", run)}}
		if err := e.Store.Update(e.ctx, w); err != nil {
			t.Fatal(err)
		}
		if run == n {
			return append(all, c)
		}
		end := changed(c, ended)
		b := next(e.head(t, c.CaseID), &store.Write{Case: end})
		if err := e.Store.Begin(e.ctx, b); err != nil {
			t.Fatal(err)
		}
		all, c = append(all, end), b.Case
	}
}

func (e *env) purge(t *testing.T, c cases.Case) {
	t.Helper()
	if err := e.Store.Purge(e.ctx, c.CaseID, c.Run, c.Version); err != nil {
		t.Fatalf("Purge of run %d: %v", c.Run, err)
	}
}

func testPurgeEarlier(t *testing.T, e *env) {
	all := e.runs(t, "a", 3)
	other := e.runs(t, "b", 2)
	id := all[0].CaseID
	before, beside := e.dump(t, id), e.dump(t, other[0].CaseID)
	head := e.head(t, id)
	e.purge(t, all[1])
	for _, gone := range []string{"record 2", "form 2", "result 2", "head"} {
		if _, ok := before[gone]; !ok {
			t.Fatalf("there was no %s", gone)
		}
		delete(before, gone)
	}
	after := e.dump(t, id)
	delete(after, "head")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("what is stored (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(beside, e.dump(t, other[0].CaseID)); diff != "" {
		t.Errorf("another case changed (-want +got):\n%s", diff)
	}
	got := e.head(t, id)
	if diff := cmp.Diff(map[string]int{"key1": 1, "key3": 3}, got.Keys); diff != "" || got.Run != 3 {
		t.Errorf("head at run %d; keys (-want +got):\n%s", got.Run, diff)
	}
	// Taking keys away is a write of the head: a run begun with the head read before would bring them back.
	if got.Version <= head.Version {
		t.Errorf("head at version %d, was at %d", got.Version, head.Version)
	}
	stale := next(head, &store.Write{Case: changed(all[2], ended)})
	wantErr(t, "Begin with the head read before", e.Store.Begin(e.ctx, stale), store.ErrConflict)
	e.purge(t, all[1]) // again: no error
	if again := e.head(t, id); again.Version != got.Version {
		t.Errorf("purging what is gone wrote the head")
	}
	if err := e.Store.Begin(e.ctx, next(got, &store.Write{Case: changed(all[2], ended)})); err != nil {
		t.Errorf("Begin with the head read after: %v", err)
	}
}

func testPurgeLast(t *testing.T, e *env) {
	c := e.runs(t, "a", 1)[0]
	e.purge(t, c)
	if left := e.dump(t, c.CaseID); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	_, _, err := e.Store.Current(e.ctx, c.CaseID)
	wantErr(t, "Current", err, store.ErrNotFound)
	e.purge(t, c)
	// The case can begin anew, and finds nothing of the old one.
	b := first(c.CaseID)
	if err := e.Store.Begin(e.ctx, b); err != nil {
		t.Fatal(err)
	}
	e.wantHead(t, b.Head)
	e.wantRecord(t, b.Case)
	e.wantValue(t, c.CaseID, 1, store.Result, nil)
}

func testPurgeAll(t *testing.T, e *env) {
	all := e.runs(t, "a", 3)
	for _, c := range all[:2] {
		wantErr(t, "Purge of the current run", e.Store.Purge(e.ctx, c.CaseID, 3, all[2].Version), store.ErrConflict)
		e.purge(t, c)
	}
	e.wantRecord(t, all[2])
	e.purge(t, all[2])
	if left := e.dump(t, all[0].CaseID); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func testPurgeConflicts(t *testing.T, e *env) {
	all := e.runs(t, "a", 2)
	id := all[0].CaseID
	before := e.dump(t, id)
	for _, c := range []struct {
		name    string
		run     int
		version int64
	}{
		{"of a run that has moved on", 1, all[0].Version - 1},
		{"of a version to come", 1, all[0].Version + 1},
		{"of no version", 1, 0},
		{"of the current run while an earlier one is kept", 2, all[1].Version},
	} {
		wantErr(t, "Purge "+c.name, e.Store.Purge(e.ctx, id, c.run, c.version), store.ErrConflict)
	}
	if diff := cmp.Diff(before, e.dump(t, id)); diff != "" {
		t.Errorf("what is stored changed (-before +after):\n%s", diff)
	}
}

// testPurgeRace: a run is purged by some while others write it. Either it goes, and no write lives on, or one write wins and it stays.
func testPurgeRace(t *testing.T, e *env) {
	for i := range 5 {
		c := e.begun(t, fmt.Sprint("a", i))
		all := e.instances(t)
		saved := make(chan error, e.Contenders)
		together(e.Contenders, func(i int) {
			s := all[i/2%len(all)]
			if i%2 == 0 {
				if err := s.Purge(e.ctx, c.CaseID, 1, 1); err != nil && !errors.Is(err, store.ErrConflict) {
					t.Errorf("Purge: %v", err)
				}
				return
			}
			err := s.Update(e.ctx, store.Write{Case: changed(c, count), Put: map[store.Value][]byte{store.Result: []byte("r")}})
			if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Update: %v", err)
			}
			saved <- err
		})
		close(saved)
		wins := 0
		for err := range saved {
			if err == nil {
				wins++
			}
		}
		left := e.dump(t, c.CaseID)
		switch {
		case wins == 0 && len(left) != 0:
			t.Errorf("purged, but left behind: %v", left)
		case wins == 1 && len(left) != 4: // head, record, form, result
			t.Errorf("saved, but all that is there: %v", left)
		case wins > 1:
			t.Errorf("%d writers won", wins)
		}
	}
}

// testPurgeRaceBegin: the last run of a case is purged while the next begins. The case never ends up without a head, or
// with one that names a run not there.
func testPurgeRaceBegin(t *testing.T, e *env) {
	for i := range 5 {
		c := e.begun(t, fmt.Sprint("a", i), ended)
		all := e.instances(t)
		b := next(e.head(t, c.CaseID), nil)
		var began, purged error
		together(2, func(j int) {
			if j == 0 {
				began = all[0].Begin(e.ctx, b)
			} else {
				purged = all[len(all)-1].Purge(e.ctx, c.CaseID, 1, 1)
			}
		})
		left := e.dump(t, c.CaseID)
		_, headThere := left["head"]
		_, nextThere := left["record 2"]
		if headThere != nextThere || (began == nil) != nextThere {
			t.Errorf("Begin: %v, Purge: %v, head there: %v, record of the next run there: %v", began, purged, headThere, nextThere)
		}
	}
}
