package storetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// never is an OverdueAt that no test's Overdue reaches.
var never = time.Date(2150, 1, 1, 0, 0, 0, 0, time.UTC)

var created = time.Date(2026, 3, 1, 9, 30, 0, 123456000, time.UTC)

// record returns the first record of a run.
func record(id string, run int) cases.Case {
	return cases.Case{
		Origin:      cases.Origin{CaseID: id, Run: run, CreatedAt: created, DeadlineAt: created.Add(time.Hour)},
		Version:     1,
		State:       cases.Pending,
		UpdatedAt:   created,
		Bookkeeping: cases.Bookkeeping{OverdueAt: never, FormKept: true},
		Checks:      cases.Checks{Seq: 1, NextAt: created.Add(2 * time.Second)},
		Dispatch:    cases.Dispatch{Phase: cases.PhaseQueued, Seq: 1, At: created},
	}
}

// changed returns c at the next version, changed by the functions.
func changed(c cases.Case, change ...func(*cases.Case)) cases.Case {
	c.Version++
	c.UpdatedAt = c.UpdatedAt.Add(time.Second)
	for _, f := range change {
		f(&c)
	}
	return c
}

// ended ends a record.
func ended(c *cases.Case) {
	c.State = cases.Succeeded
	c.Outcome.EndedAt = c.UpdatedAt
	c.Outcome.End = &cases.End{Reason: cases.ReasonCompleted, Source: cases.SourceEvent}
}

func count(c *cases.Case) { c.Checks.Polls++ }

func form(id string, run int) []byte { return fmt.Appendf(nil, `{"case_id":%q,"run":%d}`, id, run) }

// first returns the beginning of a case's first run, with one idempotency key.
func first(id string) store.Begin {
	return store.Begin{
		Head: store.Head{CaseID: id, Run: 1, Keys: map[string]int{"key1": 1}, Version: 1},
		Case: record(id, 1),
		Form: form(id, 1),
	}
}

// next returns the beginning of the run after head's, with a key of its own. If end is not nil, it
// ends the previous run.
func next(head store.Head, end *store.Write) store.Begin {
	run := head.Run + 1
	keys := map[string]int{}
	maps.Copy(keys, head.Keys)
	keys[fmt.Sprintf("key%d", run)] = run
	return store.Begin{
		Head: store.Head{CaseID: head.CaseID, Run: run, Owner: head.Owner, Keys: keys, Version: head.Version + 1},
		Case: record(head.CaseID, run),
		Form: form(head.CaseID, run),
		End:  end,
	}
}

// begun begins a case with that name and returns the record of its first run, changed by the
// functions.
func (e *env) begun(t *testing.T, name string, change ...func(*cases.Case)) cases.Case {
	t.Helper()
	b := first(e.id(name))
	for _, f := range change {
		f(&b.Case)
	}
	if err := e.Store.Begin(e.ctx, b); err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return b.Case
}

// update saves the next version of c and returns it.
func (e *env) update(t *testing.T, c cases.Case, change ...func(*cases.Case)) cases.Case {
	t.Helper()
	c = changed(c, change...)
	if err := e.Store.Update(e.ctx, store.Write{Case: c}); err != nil {
		t.Fatalf("Update: %v", err)
	}
	return c
}

func (e *env) get(t *testing.T, id string, run int) cases.Case {
	t.Helper()
	c, err := e.Store.Get(e.ctx, id, run)
	if err != nil {
		t.Fatalf("Get(%s, %d): %v", id, run, err)
	}
	return c
}

func (e *env) head(t *testing.T, id string) store.Head {
	t.Helper()
	h, _, err := e.Store.Current(e.ctx, id)
	if err != nil {
		t.Fatalf("Current(%s): %v", id, err)
	}
	return h
}

func (e *env) wantRecord(t *testing.T, want cases.Case) {
	t.Helper()
	if diff := cmp.Diff(plain(t, want), plain(t, e.get(t, want.CaseID, want.Run))); diff != "" {
		t.Errorf("record of %s run %d (-want +got):\n%s", want.CaseID, want.Run, diff)
	}
}

func (e *env) wantHead(t *testing.T, want store.Head) {
	t.Helper()
	if diff := cmp.Diff(want, e.head(t, want.CaseID)); diff != "" {
		t.Errorf("head of %s (-want +got):\n%s", want.CaseID, diff)
	}
}

// wantValue checks that the value is stored byte for byte, or that it is not stored if want is nil.
func (e *env) wantValue(t *testing.T, id string, run int, v store.Value, want []byte) {
	t.Helper()
	got, err := e.Store.Value(e.ctx, id, run, v)
	switch {
	case want == nil && !errors.Is(err, store.ErrNotFound):
		t.Errorf("%s of %s run %d: %d bytes, error %v; want ErrNotFound", v, id, run, len(got), err)
	case want != nil && err != nil:
		t.Errorf("%s of %s run %d: %v", v, id, run, err)
	case want != nil && !bytes.Equal(got, want):
		t.Errorf("%s of %s run %d: got %d bytes that differ from the %d put", v, id, run, len(got), len(want))
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

// plain returns the JSON of a record in a form that cmp compares, with unchanged numbers.
func plain(t *testing.T, c cases.Case) map[string]any {
	t.Helper()
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatalf("encoding a record: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var fields map[string]any
	if err := d.Decode(&fields); err != nil {
		t.Fatalf("decoding a record: %v", err)
	}
	return fields
}

// dump returns everything that is stored about a case, runs 1 to 3.
func (e *env) dump(t *testing.T, id string) map[string]any {
	t.Helper()
	all := map[string]any{}
	keep := func(name string, what any, err error) {
		switch {
		case err == nil:
			all[name] = what
		case !errors.Is(err, store.ErrNotFound):
			t.Fatalf("reading the %s of %s: %v", name, id, err)
		}
	}
	head, _, err := e.Store.Current(e.ctx, id)
	keep("head", head, err)
	for run := 1; run <= 3; run++ {
		c, err := e.Store.Get(e.ctx, id, run)
		keep(fmt.Sprint("record ", run), plain(t, c), err)
		for _, v := range []store.Value{store.Form, store.Result, store.LateResult} {
			data, err := e.Store.Value(e.ctx, id, run, v)
			keep(fmt.Sprint(v, " ", run), string(data), err)
		}
	}
	return all
}

// unordered are ids of cases, each with a time after the same moment. Many have the same time: they
// are in the order of their ids, byte by byte.
var unordered = []struct {
	name  string
	after time.Duration
}{
	{"late", time.Hour},
	{"b", time.Second}, {"a", time.Second}, {"B", time.Second}, {"a.c", time.Second}, {"a:c", time.Second},
	{"a-c", time.Second}, {"a_c", time.Second}, {"A", time.Second}, {"10", time.Second}, {"9", time.Second},
	{"micro", time.Second + time.Microsecond}, {"first", 0}, {"before", -time.Microsecond},
}
