package storetest

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var beginTests = []test{
	{"NothingThere", testNothingThere},
	{"FirstRun", testFirstRun},
	{"NextRunEndsTheOneBefore", testNextRun},
	{"NextRunAfterAnEnd", testNextRunAfterEnd},
	{"Owner", testOwner},
	{"AllOrNothing", testBeginAllOrNothing},
	{"Invalid", testBeginInvalid},
	{"RaceForFirstRun", testRaceFirst},
	{"RaceForNextRun", testRaceNext},
	{"RaceWithUpdate", testRaceWithUpdate},
	{"CurrentIsReadTogether", testCurrentTogether},
}

func testNothingThere(t *testing.T, e *env) {
	c := e.begun(t, "there")
	for _, at := range []struct {
		what, id string
		run      int
	}{{"no such case", e.id("missing"), 1}, {"no such run", c.CaseID, 2}} {
		if at.id != c.CaseID {
			_, _, err := e.Store.Current(e.ctx, at.id)
			wantErr(t, at.what+": Current", err, store.ErrNotFound)
		}
		_, err := e.Store.Get(e.ctx, at.id, at.run)
		wantErr(t, at.what+": Get", err, store.ErrNotFound)
		_, err = e.Store.Value(e.ctx, at.id, at.run, store.Form)
		wantErr(t, at.what+": Value", err, store.ErrNotFound)
		err = e.Store.Update(e.ctx, store.Write{
			Case: changed(record(at.id, at.run)),
			Put:  map[store.Value][]byte{store.Result: []byte("{}")},
		})
		wantErr(t, at.what+": Update", err, store.ErrNotFound)
		err = e.Store.Wait(e.ctx, at.id, at.run, 0)
		wantErr(t, at.what+": Wait", err, store.ErrNotFound)
		if err := e.Store.Purge(e.ctx, at.id, at.run, 1); err != nil {
			t.Errorf("%s: Purge: %v", at.what, err)
		}
	}
	e.wantValue(t, c.CaseID, 1, store.Result, nil)
	e.wantValue(t, c.CaseID, 2, store.Result, nil)
	// An address or an event of the pipeline may contain any run number.
	_, err := e.Store.Get(e.ctx, c.CaseID, math.MaxInt)
	wantErr(t, "a run number far too large: Get", err, store.ErrNotFound)
	e.wantValue(t, c.CaseID, math.MaxInt, store.Form, nil)
	wantErr(t, "a run number far too large: Wait", e.Store.Wait(e.ctx, c.CaseID, math.MaxInt, 0), store.ErrNotFound)
	e.wantValue(t, e.id("missing"), 1, store.Result, nil)
}

func testFirstRun(t *testing.T, e *env) {
	b := first(e.id("a"))
	b.Head.Keys = nil
	if err := e.Store.Begin(e.ctx, b); err != nil {
		t.Fatal(err)
	}
	e.wantRecord(t, b.Case)
	e.wantValue(t, b.Case.CaseID, 1, store.Form, b.Form)
	e.wantValue(t, b.Case.CaseID, 1, store.Result, nil)
	head, c, err := e.Store.Current(e.ctx, b.Case.CaseID)
	if err != nil {
		t.Fatal(err)
	}
	if head.Run != 1 || head.Version != 1 || head.CaseID != b.Case.CaseID || len(head.Keys) != 0 {
		t.Errorf("head %+v", head)
	}
	if diff := cmp.Diff(plain(t, b.Case), plain(t, c)); diff != "" {
		t.Errorf("current record (-want +got):\n%s", diff)
	}
}

func testNextRun(t *testing.T, e *env) {
	c := e.begun(t, "a")
	c = e.update(t, c, count)
	end := changed(c, ended)
	b := next(e.head(t, c.CaseID), &store.Write{
		Case: end,
		Put:  map[store.Value][]byte{store.Result: []byte("result 1")},
		Drop: []store.Value{store.Form},
	})
	if err := e.Store.Begin(e.ctx, b); err != nil {
		t.Fatal(err)
	}
	e.wantRecord(t, end)
	e.wantRecord(t, b.Case)
	e.wantHead(t, store.Head{CaseID: c.CaseID, Run: 2, Keys: map[string]int{"key1": 1, "key2": 2}, Version: 2})
	e.wantValue(t, c.CaseID, 1, store.Form, nil)
	e.wantValue(t, c.CaseID, 1, store.Result, []byte("result 1"))
	e.wantValue(t, c.CaseID, 2, store.Form, b.Form)
	e.wantValue(t, c.CaseID, 2, store.Result, nil)
}

func testNextRunAfterEnd(t *testing.T, e *env) {
	c := e.begun(t, "a")
	c = e.update(t, c, ended)
	b := next(e.head(t, c.CaseID), nil)
	if err := e.Store.Begin(e.ctx, b); err != nil {
		t.Fatal(err)
	}
	e.wantRecord(t, c)
	e.wantRecord(t, b.Case)
	e.wantHead(t, b.Head)
	e.wantValue(t, c.CaseID, 1, store.Form, form(c.CaseID, 1))
}

// testOwner checks that a case keeps its first owner as long as one of its runs is stored. Another
// case has its own owner.
func testOwner(t *testing.T, e *env) {
	b := first(e.id("a"))
	b.Head.Owner = "5bd1a2c4"
	other := first(e.id("b"))
	for _, b := range []store.Begin{b, other} {
		if err := e.Store.Begin(e.ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	id := b.Case.CaseID
	want := func(when, owner string) {
		t.Helper()
		for i, s := range e.instances(t) {
			if h, _, err := s.Current(e.ctx, id); err != nil || h.Owner != owner {
				t.Errorf("%s: instance %d: got owner %q, %v; want %q", when, i, h.Owner, err, owner)
			}
		}
	}
	want("begun", "5bd1a2c4")
	one := changed(b.Case, ended)
	if err := e.Store.Begin(e.ctx, next(e.head(t, id), &store.Write{Case: one})); err != nil {
		t.Fatal(err)
	}
	want("superseded", "5bd1a2c4")
	e.purge(t, one) // takes its key from the head
	want("the first run purged", "5bd1a2c4")
	two := e.update(t, e.get(t, id, 2), ended)
	if err := e.Store.Begin(e.ctx, next(e.head(t, id), nil)); err != nil {
		t.Fatal(err)
	}
	want("run again", "5bd1a2c4")
	e.purge(t, two)
	e.purge(t, e.update(t, e.get(t, id, 3), ended))
	if err := e.Store.Begin(e.ctx, first(id)); err != nil {
		t.Fatal(err)
	}
	want("begun again by an anonymous caller", "")
	if h := e.head(t, other.Case.CaseID); h.Owner != "" {
		t.Errorf("another case has the owner %q, want none", h.Owner)
	}
}

// testBeginAllOrNothing breaks one condition at a time. Nothing may be written then.
func testBeginAllOrNothing(t *testing.T, e *env) {
	for i, test := range []struct {
		name    string
		corrupt func(b *store.Begin)
	}{
		{"a head with an old version", func(b *store.Begin) { b.Head.Version-- }},
		{"a head with a future version", func(b *store.Begin) { b.Head.Version++ }},
		{"a new head although there is one", func(b *store.Begin) { b.Head.Version = 1 }},
		{"the current run again", func(b *store.Begin) { b.Head.Run, b.Case.Run = 2, 2 }},
		{"an earlier run again", func(b *store.Begin) { b.Head.Run, b.Case.Run = 1, 1 }},
		{"an end with an old version", func(b *store.Begin) { b.End.Case.Version-- }},
		{"an end with a future version", func(b *store.Begin) { b.End.Case.Version++ }},
		{"an end of a missing run", func(b *store.Begin) { b.End.Case.Run = 7 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := e.id(fmt.Sprint("a", i))
			if err := e.Store.Begin(e.ctx, first(id)); err != nil {
				t.Fatal(err)
			}
			if err := e.Store.Begin(e.ctx, next(e.head(t, id), nil)); err != nil {
				t.Fatal(err)
			}
			c := e.update(t, e.get(t, id, 2), count)
			b := next(e.head(t, id), &store.Write{
				Case: changed(c, ended),
				Put:  map[store.Value][]byte{store.Result: []byte("a result")},
				Drop: []store.Value{store.Form},
			})
			before := e.dump(t, id)
			test.corrupt(&b)
			wantErr(t, "Begin", e.Store.Begin(e.ctx, b), store.ErrConflict)
			if diff := cmp.Diff(before, e.dump(t, id)); diff != "" {
				t.Errorf("what is stored changed (-before +after):\n%s", diff)
			}
		})
	}
	t.Run("a missing head", func(t *testing.T) {
		b := first(e.id("none"))
		b.Head.Version = 2
		wantErr(t, "Begin", e.Store.Begin(e.ctx, b), store.ErrConflict)
		if got := e.dump(t, b.Case.CaseID); len(got) != 0 {
			t.Errorf("something was stored: %v", got)
		}
	})
}

// testBeginInvalid checks that an invalid beginning is rejected and nothing is written.
func testBeginInvalid(t *testing.T, e *env) {
	corruptions := map[string]func(*store.Begin){
		"no case":                func(b *store.Begin) { b.Head.CaseID, b.Case.CaseID = "", "" },
		"no run":                 func(b *store.Begin) { b.Head.Run, b.Case.Run = 0, 0 },
		"a head of another case": func(b *store.Begin) { b.Head.CaseID += "x" },
		"a head of another run":  func(b *store.Begin) { b.Head.Run++ },
		"a head of no version":   func(b *store.Begin) { b.Head.Version = 0 },
		"not a first record":     func(b *store.Begin) { b.Case.Version = 2 },
		"an end of another case": func(b *store.Begin) { b.End.Case.CaseID += "x" },
	}
	for name, corrupt := range corruptedWrites {
		corruptions["an end with "+name] = func(b *store.Begin) { corrupt(b.End) }
	}
	c := e.begun(t, "a")
	for name, corrupt := range corruptions {
		t.Run(name, func(t *testing.T) {
			before := e.dump(t, c.CaseID)
			b := next(e.head(t, c.CaseID), &store.Write{Case: changed(c, ended), Drop: []store.Value{store.Form}})
			corrupt(&b)
			wantErr(t, "Begin", e.Store.Begin(e.ctx, b), store.ErrInvalid)
			if diff := cmp.Diff(before, e.dump(t, c.CaseID)); diff != "" {
				t.Errorf("what is stored changed (-before +after):\n%s", diff)
			}
		})
	}
}

// race runs try for all contenders at the same time, on all instances. Exactly one must succeed,
// and the others must get ErrConflict. It returns the winner.
func (e *env) race(t *testing.T, try func(s store.Store, i int) error) int {
	t.Helper()
	all := e.instances(t)
	var winner, winners atomic.Int64
	together(e.Contenders, func(i int) {
		switch err := try(all[i/2%len(all)], i); {
		case err == nil:
			winner.Store(int64(i))
			winners.Add(1)
		case !errors.Is(err, store.ErrConflict):
			t.Errorf("contender %d: %v, want ErrConflict", i, err)
		}
	})
	if n := winners.Load(); n != 1 {
		t.Fatalf("%d of %d contenders won, want 1", n, e.Contenders)
	}
	return int(winner.Load())
}

func testRaceFirst(t *testing.T, e *env) {
	id := e.id("a")
	mine := func(i int) []byte { return fmt.Appendf(nil, "form of contender %d", i) }
	winner := e.race(t, func(s store.Store, i int) error {
		b := first(id)
		b.Form = mine(i)
		b.Case.FormHash = string(b.Form)
		return s.Begin(e.ctx, b)
	})
	e.wantValue(t, id, 1, store.Form, mine(winner))
	if got := e.get(t, id, 1).FormHash; got != string(mine(winner)) {
		t.Errorf("the record is from %q, the form from contender %d", got, winner)
	}
}

func testRaceNext(t *testing.T, e *env) {
	c := e.begun(t, "a")
	head := e.head(t, c.CaseID)
	winner := e.race(t, func(s store.Store, i int) error {
		end := changed(c, ended, func(c *cases.Case) { c.Outcome.OutputURL = fmt.Sprint(i) })
		b := next(head, &store.Write{Case: end})
		b.Case.Outcome.OutputURL = fmt.Sprint(i)
		return s.Begin(e.ctx, b)
	})
	for run := 1; run <= 2; run++ {
		if got := e.get(t, c.CaseID, run).Outcome.OutputURL; got != fmt.Sprint(winner) {
			t.Errorf("run %d was written by contender %s, the winner is %d", run, got, winner)
		}
	}
}

// testRaceWithUpdate updates a run and supersedes it at the same time. One of the two must get a
// conflict.
func testRaceWithUpdate(t *testing.T, e *env) {
	for i := range 10 {
		c := e.begun(t, fmt.Sprint("a", i))
		head := e.head(t, c.CaseID)
		winner := e.race(t, func(s store.Store, i int) error {
			if i%2 == 0 {
				return s.Update(e.ctx, store.Write{Case: changed(c, count)})
			}
			return s.Begin(e.ctx, next(head, &store.Write{Case: changed(c, ended)}))
		})
		began := winner%2 == 1
		if got := e.get(t, c.CaseID, 1).State.Ended(); got != began {
			t.Errorf("run 1 ended: %v, begun run 2: %v", got, began)
		}
		if got := e.head(t, c.CaseID).Run == 2; got != began {
			t.Errorf("head at run 2: %v, begun run 2: %v", got, began)
		}
	}
}
