package sim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
)

type runKey struct {
	id  string
	run int
}

// The calls that write to the store.
var storeWrites = map[string]bool{
	"store: begin":     true,
	"store: update":    true,
	"store: purge":     true,
	"store: save past": true,
}

// fakeStore stores records with the guarantees of package store.
type fakeStore struct {
	w       *world
	heads   map[string]store.Head
	runs    map[runKey]*kept
	waiting map[*call]waiting
	past    map[string]schedule.DurationStats // by pipeline
}

// kept is one stored run.
type kept struct {
	rec    cases.Case
	values map[store.Value][]byte
}

type waiting struct {
	key     runKey
	version int64
}

func newStore(w *world) *fakeStore {
	return &fakeStore{w: w, heads: map[string]store.Head{}, runs: map[runKey]*kept{}, waiting: map[*call]waiting{}}
}

func (s *fakeStore) down() bool { return s.w.broken(StoreDown) }

// through returns a record as a store would return it, after encoding and decoding. A second pass
// changes nothing, so only writes use it.
func (s *fakeStore) through(c cases.Case) cases.Case {
	if !s.w.plan.Encoded {
		return c
	}
	data, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	var back cases.Case
	if err := json.Unmarshal(data, &back); err != nil {
		panic(err)
	}
	return back
}

func (s *fakeStore) Get(ctx context.Context, id string, run int) (cases.Case, error) {
	return ask(ctx, s.w, "store: get", runKey{id, run}, s.down, func() (cases.Case, any, error) {
		k, ok := s.runs[runKey{id, run}]
		if !ok {
			return cases.Case{}, nil, store.ErrNotFound
		}
		return k.rec, Got{k.rec.Version}, nil
	})
}

func (s *fakeStore) Current(ctx context.Context, id string) (store.Head, cases.Case, error) {
	type both struct {
		head store.Head
		c    cases.Case
	}
	b, err := ask(ctx, s.w, "store: current", runKey{id: id}, s.down, func() (both, any, error) {
		h, ok := s.heads[id]
		if !ok {
			return both{}, nil, store.ErrNotFound
		}
		h.Keys = maps.Clone(h.Keys)
		k := s.runs[runKey{id, h.Run}]
		return both{h, k.rec}, Got{k.rec.Version}, nil
	})
	return b.head, b.c, err
}

func (s *fakeStore) Begin(ctx context.Context, b store.Begin) error {
	if err := b.Validate(); err != nil {
		return err
	}
	_, err := ask(ctx, s.w, "store: begin", runKey{b.Case.CaseID, b.Case.Run}, s.down, func() (bool, any, error) {
		id := b.Case.CaseID
		h, ok := s.heads[id]
		key := runKey{id, b.Case.Run}
		if ok != (b.Head.Version > 1) || ok && h.Version != b.Head.Version-1 || s.runs[key] != nil {
			return false, nil, store.ErrConflict
		}
		if b.End != nil {
			old := s.runs[runKey{b.End.Case.CaseID, b.End.Case.Run}]
			if old == nil || old.rec.Version != b.End.Case.Version-1 {
				return false, nil, store.ErrConflict
			}
		}
		var first []Commit
		if b.End != nil {
			first = append(first, s.save(*b.End))
		}
		h = b.Head
		h.Keys = maps.Clone(h.Keys)
		s.heads[id] = h
		s.runs[key] = &kept{rec: s.through(b.Case), values: map[store.Value][]byte{store.Form: bytes.Clone(b.Form)}}
		s.changed(key)
		return true, Commits(append(first, Commit{Case: b.Case, Begun: true, Form: string(b.Form)})), nil
	})
	return err
}

// save writes a record if its version is current.
func (s *fakeStore) save(w store.Write) Commit {
	key := runKey{w.Case.CaseID, w.Case.Run}
	k := s.runs[key]
	k.rec = s.through(w.Case)
	for v, data := range w.Put {
		k.values[v] = bytes.Clone(data)
	}
	for _, v := range w.Drop {
		delete(k.values, v)
	}
	s.changed(key)
	return Commit{Case: w.Case, Result: string(k.values[store.Result]), Late: string(k.values[store.LateResult])}
}

func (s *fakeStore) Update(ctx context.Context, wr store.Write) error {
	if err := wr.Validate(); err != nil {
		return err
	}
	key := runKey{wr.Case.CaseID, wr.Case.Run}
	_, err := ask(ctx, s.w, "store: update", key, s.down, func() (bool, any, error) {
		k := s.runs[key]
		switch {
		case k == nil:
			return false, nil, store.ErrNotFound
		case k.rec.Version != wr.Case.Version-1:
			return false, nil, store.ErrConflict
		}
		return true, Commits{s.save(wr)}, nil
	})
	return err
}

func (s *fakeStore) Value(ctx context.Context, id string, run int, v store.Value) ([]byte, error) {
	return ask(ctx, s.w, "store: value", runKey{id, run}, s.down, func() ([]byte, any, error) {
		k := s.runs[runKey{id, run}]
		if k == nil || k.values[v] == nil {
			return nil, nil, store.ErrNotFound
		}
		return bytes.Clone(k.values[v]), nil, nil
	})
}

func (s *fakeStore) Overdue(
	ctx context.Context,
	before time.Time,
	after store.Cursor,
	limit int,
) ([]cases.Case, error) {
	return ask(ctx, s.w, "store: overdue", runKey{}, s.down, func() ([]cases.Case, any, error) {
		var found []cases.Case
		for _, k := range s.runs {
			at := store.Cursor{OverdueAt: k.rec.Bookkeeping.OverdueAt, CaseID: k.rec.CaseID, Run: k.rec.Run}
			if k.rec.Bookkeeping.OverdueAt.Before(before) && compareCursors(at, after) > 0 {
				found = append(found, k.rec)
			}
		}
		slices.SortFunc(found, func(a, b cases.Case) int {
			return compareCursors(
				store.Cursor{OverdueAt: a.Bookkeeping.OverdueAt, CaseID: a.CaseID, Run: a.Run},
				store.Cursor{OverdueAt: b.Bookkeeping.OverdueAt, CaseID: b.CaseID, Run: b.Run},
			)
		})
		return found[:min(len(found), limit)], nil, nil
	})
}

func compareCursors(a, b store.Cursor) int {
	return cmp.Or(a.OverdueAt.Compare(b.OverdueAt), strings.Compare(a.CaseID, b.CaseID), cmp.Compare(a.Run, b.Run))
}

func (s *fakeStore) CountOpen(ctx context.Context) (int, error) {
	return ask(ctx, s.w, "store: count open", runKey{}, s.down, func() (int, any, error) { return s.open(), nil, nil })
}

func (s *fakeStore) open() (n int) {
	for _, k := range s.runs {
		if !k.rec.State.Ended() {
			n++
		}
	}
	return n
}

// left returns how many runs and how many forms are stored.
func (s *fakeStore) left() (runs int, forms []runKey) {
	for key, k := range s.runs {
		if k.values[store.Form] != nil {
			forms = append(forms, key)
		}
	}
	slices.SortFunc(
		forms,
		func(a, b runKey) int { return cmp.Or(strings.Compare(a.id, b.id), cmp.Compare(a.run, b.run)) },
	)
	return max(len(s.runs), len(s.heads)), forms
}

// Past never fails, so that it is no call where a plan's faults are counted: who cannot have it
// goes without.
func (s *fakeStore) DurationStats(_ context.Context, pipeline string) (schedule.DurationStats, error) {
	return s.past[pipeline], nil
}

// SaveDurationStats is as package store promises.
func (s *fakeStore) SaveDurationStats(ctx context.Context, pipeline string, p schedule.DurationStats) error {
	_, err := ask(ctx, s.w, "store: save past", runKey{}, s.down, func() (bool, any, error) {
		if s.past[pipeline].Version != p.Version-1 {
			return false, nil, store.ErrConflict
		}
		if s.past == nil {
			s.past = map[string]schedule.DurationStats{}
		}
		s.past[pipeline] = p
		return true, nil, nil
	})
	return err
}

// CountByState and List are the console's, which the simulation does not have.
func (s *fakeStore) CountByState(context.Context) (map[cases.State]int, error) { return nil, errDown }

// List is not called.
func (s *fakeStore) List(context.Context, store.Filter, store.Place, int) ([]cases.Case, error) {
	return nil, errDown
}

func (s *fakeStore) Purge(ctx context.Context, id string, run int, version int64) error {
	key := runKey{id, run}
	_, err := ask(ctx, s.w, "store: purge", key, s.down, func() (bool, any, error) {
		k := s.runs[key]
		if k == nil {
			return true, nil, nil
		}
		h := s.heads[id]
		others := 0
		for other := range s.runs {
			if other.id == id && other != key {
				others++
			}
		}
		if k.rec.Version != version || h.Run == run && others > 0 {
			return false, nil, store.ErrConflict
		}
		delete(s.runs, key)
		if others == 0 {
			delete(s.heads, id)
		} else {
			h.Keys = maps.Clone(h.Keys)
			maps.DeleteFunc(h.Keys, func(_ string, of int) bool { return of == run })
			h.Version++
			s.heads[id] = h
		}
		s.changed(key)
		return true, Purged{}, nil
	})
	return err
}

func (s *fakeStore) Close() error { return nil }
