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

// runs begins a case with n runs and returns their records. All but the last have ended, and each
// has a result.
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
	for _, deleted := range []string{"record 2", "form 2", "result 2", "head"} {
		if _, ok := before[deleted]; !ok {
			t.Fatalf("there was no %s", deleted)
		}
		delete(before, deleted)
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
	// Deleting keys must write the head. Otherwise a run that begins with the head read before
	// would restore them.
	if got.Version <= head.Version {
		t.Errorf("head at version %d, was at %d", got.Version, head.Version)
	}
	stale := next(head, &store.Write{Case: changed(all[2], ended)})
	wantErr(t, "Begin with the head read before", e.Store.Begin(e.ctx, stale), store.ErrConflict)
	e.purge(t, all[1]) // purging again is not an error
	if again := e.head(t, id); again.Version != got.Version {
		t.Errorf("purging a missing run wrote the head")
	}
	if err := e.Store.Begin(e.ctx, next(got, &store.Write{Case: changed(all[2], ended)})); err != nil {
		t.Errorf("Begin with the head read after: %v", err)
	}
}

func testPurgeLast(t *testing.T, e *env) {
	c := e.runs(t, "a", 1)[0]
	e.purge(t, c)
	if left := e.dump(t, c.CaseID); len(left) != 0 {
		t.Errorf("this remains: %v", left)
	}
	_, _, err := e.Store.Current(e.ctx, c.CaseID)
	wantErr(t, "Current", err, store.ErrNotFound)
	e.purge(t, c)
	// The case can begin again, and finds nothing of its earlier runs.
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
		t.Errorf("this remains: %v", left)
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
		{"of an old version", 1, all[0].Version - 1},
		{"of a future version", 1, all[0].Version + 1},
		{"of version 0", 1, 0},
		{"of the current run while an earlier one is stored", 2, all[1].Version},
	} {
		wantErr(t, "Purge "+c.name, e.Store.Purge(e.ctx, id, c.run, c.version), store.ErrConflict)
	}
	if diff := cmp.Diff(before, e.dump(t, id)); diff != "" {
		t.Errorf("what is stored changed (-before +after):\n%s", diff)
	}
}

// testPurgeRace purges a run while others write it. Either the run is deleted and no write remains,
// or one write wins and the run stays.
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
			err := s.Update(e.ctx, store.Write{
				Case: changed(c, count),
				Put:  map[store.Value][]byte{store.Result: []byte("r")},
			})
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
			t.Errorf("the run was purged, but this remains: %v", left)
		case wins == 1 && len(left) != 4: // head, record, form, result
			t.Errorf("a write was confirmed, but only this is stored: %v", left)
		case wins > 1:
			t.Errorf("%d writers won", wins)
		}
	}
}

// testPurgeRaceBegin purges the last run of a case while the next one begins. The case must never
// be without a head, or have a head that names a missing run.
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
		_, headStored := left["head"]
		_, nextStored := left["record 2"]
		if headStored != nextStored || (began == nil) != nextStored {
			t.Errorf("Begin: %v, Purge: %v, head stored: %v, record of the next run stored: %v",
				began, purged, headStored, nextStored)
		}
	}
}
