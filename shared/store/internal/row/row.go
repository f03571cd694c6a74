// Package row encodes records and heads for the SQL stores. It stores JSON as bytes, because the
// text and JSON types of databases do not accept every character. Beside it are the columns that
// conditions and indexes need. The package does not depend on a database.
package row

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// Row is a stored record.
type Row struct {
	CaseID    string
	Run       int
	Version   int64
	OverdueAt time.Time
	Open      bool   // the run has not ended
	Record    []byte // the case as JSON
	State     cases.State
	CreatedAt time.Time
}

// Encode returns the row of a record.
func Encode(c cases.Case) (Row, error) {
	record, err := c.MarshalJSON() // json.Marshal would scan the result again
	return Row{
		CaseID: c.CaseID, Run: c.Run, Version: c.Version, OverdueAt: c.Bookkeeping.OverdueAt,
		Open: !c.State.Ended(), Record: record, State: c.State, CreatedAt: c.CreatedAt,
	}, err
}

// Decode returns the case of [Row.Record].
func Decode(record []byte) (cases.Case, error) {
	var c cases.Case
	if err := c.UnmarshalJSON(record); err != nil { // json.Unmarshal would scan the data twice more
		return cases.Case{}, err
	}
	return c, nil
}

// afterAll is later than any time that JSON can represent.
var afterAll = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)

// Span returns the bounds of a page of List: its records are created at or after since, and are
// strictly after the place from.
func Span(f store.Filter, after store.Place) (since time.Time, from store.Place) {
	from = f.Start(after)
	if from.IsZero() {
		from.CreatedAt = afterAll
	}
	return f.Since, from
}

// Write is a [store.Write] with an encoded record. No value in Put is nil, because nil would be
// stored as NULL.
type Write struct {
	Row
	Put  map[store.Value][]byte
	Drop []store.Value
}

// EncodeWrite encodes w. The error wraps [store.ErrInvalid] if w is invalid.
func EncodeWrite(w store.Write) (Write, error) {
	if err := w.Validate(); err != nil {
		return Write{}, err
	}
	put := make(map[store.Value][]byte, len(w.Put))
	for v, data := range w.Put {
		put[v] = notNil(data)
	}
	r, err := Encode(w.Case)
	return Write{r, put, w.Drop}, err
}

// Size returns the approximate number of bytes to write.
func (w Write) Size() int {
	n := len(w.Record)
	for _, data := range w.Put {
		n += len(data)
	}
	return n
}

// Begin is a [store.Begin] with encoded records. Its form is not nil.
type Begin struct {
	Head  store.Head
	Keys  []byte // the encoded keys of Head
	First Row
	Form  []byte
	End   *Write
}

// EncodeBegin encodes b. The error wraps [store.ErrInvalid] if b is invalid.
func EncodeBegin(b store.Begin) (Begin, error) {
	if err := b.Validate(); err != nil {
		return Begin{}, err
	}
	first, err := Encode(b.Case)
	if err != nil {
		return Begin{}, err
	}
	keys, err := EncodeKeys(b.Head)
	if err != nil {
		return Begin{}, err
	}
	e := Begin{Head: b.Head, Keys: keys, First: first, Form: notNil(b.Form)}
	if b.End != nil {
		end, err := EncodeWrite(*b.End)
		if err != nil {
			return Begin{}, err
		}
		e.End = &end
	}
	return e, nil
}

// Size returns the approximate number of bytes to write.
func (b Begin) Size() int {
	n := len(b.First.Record) + len(b.Form)
	if b.End != nil {
		n += b.End.Size()
	}
	return n
}

// EncodeKeys returns the keys of a head as JSON.
func EncodeKeys(h store.Head) ([]byte, error) { return json.Marshal(h.Keys) }

// DecodeKeys sets the keys of a head from the result of [EncodeKeys].
func DecodeKeys(keys []byte, h *store.Head) error { return json.Unmarshal(keys, &h.Keys) }

// DropKeys removes the keys of a run from the head, and reports whether there were any.
func DropKeys(h *store.Head, run int) bool {
	before := len(h.Keys)
	maps.DeleteFunc(h.Keys, func(_ string, of int) bool { return of == run })
	return len(h.Keys) < before
}

func notNil(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
