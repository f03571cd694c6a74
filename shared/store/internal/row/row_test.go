package row

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var first = cases.Case{
	Origin:      cases.Origin{CaseID: "a", Run: 1, CreatedAt: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)},
	Version:     1,
	State:       cases.Pending,
	Outcome:     cases.Outcome{OutputURL: "a\x00\u2028"},
	Bookkeeping: cases.Bookkeeping{OverdueAt: time.Date(2026, 3, 1, 9, 30, 0, 1000, time.UTC)},
}

func TestEncode(t *testing.T) {
	r, err := Encode(first)
	if err != nil {
		t.Fatal(err)
	}
	if r.CaseID != "a" || r.Run != 1 || r.Version != 1 || !r.OverdueAt.Equal(first.Bookkeeping.OverdueAt) || !r.Open ||
		bytes.IndexByte(r.Record, 0) >= 0 {
		t.Errorf("row %+v", r)
	}
	if r.State != first.State || !r.CreatedAt.Equal(first.CreatedAt) {
		t.Errorf("listed by %s, %v", r.State, r.CreatedAt)
	}
	if c, err := Decode(r.Record); err != nil || c.Outcome.OutputURL != first.Outcome.OutputURL ||
		!c.Bookkeeping.OverdueAt.Equal(first.Bookkeeping.OverdueAt) {
		t.Errorf("decoded %+v, error %v", c, err)
	}
	if c, err := Decode([]byte(`{"run":`)); err == nil || c.Run != 0 {
		t.Errorf("an incomplete record was decoded: %+v", c)
	}
	ended := first
	ended.State = cases.TimedOut
	if r, err := Encode(ended); err != nil || r.Open {
		t.Errorf("an ended run is open (error %v)", err)
	}
}

func TestEncodeRejectsInvalidWrites(t *testing.T) {
	if _, err := EncodeWrite(store.Write{}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("EncodeWrite of an invalid write returned %v, want ErrInvalid", err)
	}
	if _, err := EncodeBegin(store.Begin{Case: first}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("EncodeBegin of an invalid beginning returned %v, want ErrInvalid", err)
	}
}

func TestNothingIsNil(t *testing.T) {
	b, err := EncodeBegin(store.Begin{Head: store.Head{CaseID: "a", Run: 1, Version: 1}, Case: first, End: &store.Write{
		Case: first, Put: map[store.Value][]byte{store.Result: nil, store.LateResult: []byte("12345")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if b.Form == nil || b.End.Put[store.Result] == nil || len(b.End.Put) != 2 {
		t.Errorf("begin %+v", b)
	}
	if want := len(b.First.Record) + len(b.End.Record) + 5; b.Size() != want {
		t.Errorf("size %d, want %d", b.Size(), want)
	}
}

func TestKeys(t *testing.T) {
	h := store.Head{Keys: map[string]int{"k1": 1, "k2": 2, "other": 1}}
	data, err := EncodeKeys(h)
	if err != nil {
		t.Fatal(err)
	}
	var got store.Head
	if err := DecodeKeys(data, &got); err != nil || !cmp.Equal(got.Keys, h.Keys) {
		t.Errorf("decoded %v, error %v", got.Keys, err)
	}
	if DropKeys(&got, 3) || !DropKeys(&got, 1) || !cmp.Equal(got.Keys, map[string]int{"k2": 2}) {
		t.Errorf("keys left: %v", got.Keys)
	}
	none, err := EncodeKeys(store.Head{})
	if err != nil {
		t.Fatal(err)
	}
	if err := DecodeKeys(none, &got); err != nil || len(got.Keys) != 0 || DropKeys(&got, 1) {
		t.Errorf("no keys were decoded as %v, error %v", got.Keys, err)
	}
}

func TestSpan(t *testing.T) {
	early, late := first.Bookkeeping.OverdueAt, first.Bookkeeping.OverdueAt.Add(time.Second)
	at := func(t time.Time) store.Place { return store.Place{CreatedAt: t, CaseID: "a", Run: 1} }
	for _, test := range []struct {
		name   string
		filter store.Filter
		after  store.Place
		want   store.Place
	}{
		{"no filter", store.Filter{}, store.Place{}, store.Place{CreatedAt: afterAll}},
		{"the beginning, in a zone", store.Filter{}, store.Place{CreatedAt: time.Time{}.UTC()},
			store.Place{CreatedAt: afterAll}},
		{"a place", store.Filter{}, at(early), at(early)},
		{"a record of no time", store.Filter{}, store.Place{CaseID: "a", Run: 1}, store.Place{CaseID: "a", Run: 1}},
		{"a time", store.Filter{Before: late}, store.Place{}, store.Place{CreatedAt: late}},
		{"a place before the time", store.Filter{Before: late}, at(early), at(early)},
		{"a place at the time", store.Filter{Before: late}, at(late), store.Place{CreatedAt: late}},
		{"a place past the time", store.Filter{Before: early}, at(late), store.Place{CreatedAt: early}},
	} {
		test.filter.Since = early
		if since, from := Span(test.filter, test.after); from != test.want || !since.Equal(early) {
			t.Errorf("%s: since %v, from %+v, want %+v", test.name, since, from, test.want)
		}
	}
}

// BenchmarkRecord encodes and decodes a record. A check does both once.
func BenchmarkRecord(b *testing.B) {
	r, err := Encode(first)
	if err != nil {
		b.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"encode": func() error { _, err := Encode(first); return err },
		"decode": func() error { _, err := Decode(r.Record); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
