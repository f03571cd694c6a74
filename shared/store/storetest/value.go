package storetest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var valueTests = []test{
	{"ByteForByte", testByteForByte},
	{"PutDropReplace", testPutDropReplace},
	{"KeptUntilDropped", testKeptUntilDropped},
	{"NotShared", testNotShared},
	{"AtomicWithTheRecord", testValueAtomic},
}

// everyRune returns every Unicode code point that UTF-8 can encode, including NUL, in texts of
// about size bytes.
func everyRune(size int) []string {
	var texts []string
	var b strings.Builder
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if utf8.ValidRune(r) {
			b.WriteRune(r)
		}
		if b.Len() >= size || r == utf8.MaxRune {
			texts = append(texts, b.String())
			b.Reset()
		}
	}
	return texts
}

// rawJSON returns a text as JSON and escapes only what must be escaped.
func rawJSON(text string) []byte {
	var b bytes.Buffer
	b.WriteString(`{"text":"`)
	for _, r := range text {
		switch {
		case r < 0x20:
			fmt.Fprintf(&b, `\u%04x`, r)
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteString(`"}`)
	return b.Bytes()
}

// escapedJSON returns JSON with every code unit of the basic plane escaped, including lone
// surrogates.
func escapedJSON() []byte {
	b := []byte(`{"text":"`)
	for u := range 1 << 16 {
		b = fmt.Appendf(b, `\u%04X`, u)
	}
	return append(b, `"}`...)
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func everyByte() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func testByteForByte(t *testing.T, e *env) {
	type value struct {
		name string
		data []byte
	}
	values := []value{
		{"empty", []byte{}},
		{"NUL", []byte{0}},
		{"NUL at the ends", []byte("\x00a\x00")},
		{"NUL in JSON", []byte("{\"a\":\"\x00\\u0000\"}")},
		{"spaces and order", []byte(" { \"b\" : 1.0e+00 , \"a\" : 1 , \"a\" : 2 } \r\n")},
		{"every byte", everyByte()},
		{"invalid UTF-8", []byte("a\xffb\xc0\x80c\xed\xa0\x80d\xf4\x90\x80\x80e\xc3")},
		{"byte order mark", []byte("\xef\xbb\xbf{}")},
		{"a number", []byte("0012")},
		{"every code unit escaped", escapedJSON()},
		{"the largest result", noise(cases.MaxResult)},
		{"the largest value", noise(store.MaxValue)},
		{"the largest value of NULs", make([]byte, store.MaxValue)},
	}
	for i, text := range everyRune(800 << 10) {
		values = append(values, value{fmt.Sprint("every code point raw, part ", i+1), rawJSON(text)})
	}
	for i, v := range values {
		t.Run(v.name, func(t *testing.T) {
			b := first(e.id(strconv.Itoa(i)))
			b.Form = v.data
			if err := e.Store.Begin(e.ctx, b); err != nil {
				t.Fatal(err)
			}
			w := store.Write{
				Case: changed(b.Case),
				Put:  map[store.Value][]byte{store.Result: v.data, store.LateResult: v.data},
			}
			if err := e.Store.Update(e.ctx, w); err != nil {
				t.Fatal(err)
			}
			for _, value := range []store.Value{store.Form, store.Result, store.LateResult} {
				e.wantValue(t, b.Case.CaseID, 1, value, v.data)
			}
		})
	}
}

func testPutDropReplace(t *testing.T, e *env) {
	c := e.begun(t, "a")
	for i, step := range []struct {
		put  map[store.Value][]byte
		drop []store.Value
		want map[store.Value][]byte // missing values: nil
	}{
		{put: map[store.Value][]byte{store.Result: []byte("long result")}, drop: []store.Value{store.Form},
			want: map[store.Value][]byte{store.Result: []byte("long result")}},
		{put: map[store.Value][]byte{store.Result: []byte("short")},
			want: map[store.Value][]byte{store.Result: []byte("short")}},
		// A nil value is empty. Dropping a missing value is not an error.
		{put: map[store.Value][]byte{store.LateResult: nil}, drop: []store.Value{store.Form},
			want: map[store.Value][]byte{store.Result: []byte("short"), store.LateResult: {}}},
		{put: map[store.Value][]byte{store.Form: []byte("again"), store.LateResult: []byte("late")},
			drop: []store.Value{store.Result},
			want: map[store.Value][]byte{store.Form: []byte("again"), store.LateResult: []byte("late")}},
		{drop: []store.Value{store.Form, store.Result, store.LateResult}},
	} {
		c = changed(c, count)
		if err := e.Store.Update(e.ctx, store.Write{Case: c, Put: step.put, Drop: step.drop}); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		for _, v := range []store.Value{store.Form, store.Result, store.LateResult} {
			e.wantValue(t, c.CaseID, 1, v, step.want[v])
		}
		e.wantRecord(t, c)
	}
}

// testKeptUntilDropped checks that a value is kept through all changes of its run, its end and
// later runs.
func testKeptUntilDropped(t *testing.T, e *env) {
	c := e.begun(t, "a")
	other := e.begun(t, "b")
	for range 3 {
		c = e.update(t, c, count)
	}
	c = e.update(t, c, ended)
	if err := e.Store.Begin(e.ctx, next(e.head(t, c.CaseID), nil)); err != nil {
		t.Fatal(err)
	}
	e.wantValue(t, c.CaseID, 1, store.Form, form(c.CaseID, 1))
	if err := e.Store.Update(e.ctx, store.Write{Case: changed(c), Drop: []store.Value{store.Form}}); err != nil {
		t.Fatal(err)
	}
	e.wantValue(t, c.CaseID, 1, store.Form, nil)
	e.wantValue(t, c.CaseID, 2, store.Form, form(c.CaseID, 2))
	e.wantValue(t, other.CaseID, 1, store.Form, form(other.CaseID, 1))
}

// testNotShared checks that the store shares no memory with its callers.
func testNotShared(t *testing.T, e *env) {
	b := first(e.id("a"))
	want := bytes.Clone(b.Form)
	if err := e.Store.Begin(e.ctx, b); err != nil {
		t.Fatal(err)
	}
	clear(b.Form)
	b.Head.Keys["key1"] = 99
	e.wantValue(t, b.Case.CaseID, 1, store.Form, want)
	got, err := e.Store.Value(e.ctx, b.Case.CaseID, 1, store.Form)
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	head := e.head(t, b.Case.CaseID)
	if head.Keys["key1"] != 1 {
		t.Errorf("keys %v", head.Keys)
	}
	head.Keys["key1"] = 99
	e.wantValue(t, b.Case.CaseID, 1, store.Form, want)
	e.wantHead(t, first(b.Case.CaseID).Head)
}

// testValueAtomic checks that a reader of a record and then of its result gets the result of that
// record or a later one.
func testValueAtomic(t *testing.T, e *env) {
	const versions = 30
	c := e.begun(t, "a")
	all := e.instances(t)
	var done atomic.Bool
	together(3, func(i int) {
		if i == 0 {
			defer done.Store(true)
			for range versions {
				c = changed(c, count)
				w := store.Write{Case: c, Put: map[store.Value][]byte{store.Result: fmt.Append(nil, c.Version)}}
				if err := e.Store.Update(e.ctx, w); err != nil {
					t.Errorf("Update: %v", err)
					return
				}
			}
			return
		}
		for s := all[i%len(all)]; !done.Load(); {
			read, err := s.Get(e.ctx, e.id("a"), 1)
			if err == nil && read.Version == 1 {
				continue // there is no result yet
			}
			var result []byte
			if err == nil {
				result, err = s.Value(e.ctx, e.id("a"), 1, store.Result)
			}
			if got, _ := strconv.ParseInt(string(result), 10, 64); err != nil || got < read.Version {
				t.Errorf("the record is at version %d, its result of version %q (error %v)", read.Version, result, err)
				return
			}
		}
	})
}
