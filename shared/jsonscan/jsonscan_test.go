package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/jsonscan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMembers(t *testing.T) {
	for text, want := range map[string]string{ // the values of a, b and case_id
		`{}`:                                   ` | | `,
		" {\n} \n":                             ` | | `,
		`{"b":2,"a":1.0,"z":[]}`:               `1.0|2| `,
		`{ "a" : "x" , "b" : null }`:           `"x"|null| `,
		`{"a":1,"a":[2],"b":{},"a":{"a":3}}`:   `{"a":3}|{}| `,
		`{"a":{"b":1,"case_id":2},"c":[{"b"}]`: `error`,
		`{"z":{"b":1,"case_id":2},"c":["b"]}`:  ` | | `,
		`{"A":1,"Case_ID":2,"":3,"aa":4}`:      ` | | `,
		`{"\u0061":1,"case\u005Fid":"x"}`:      `1| |"x"`,
		`{"\u0161":1,"a\/":2,"\\a":3,"á":4}`:   ` | | `,
		`{"a":"}],\"{","b":"}\\"}`:             `"}],\"{"|"}\\"| `,
		`{"a":-0,"b":12345678901234567890E+2}`: `-0|12345678901234567890E+2| `,
		"{\"a\":\"\xff\",\"a\xff\":1}":         "\"\xff\"| | ",
		"\xef\xbb\xbf{}":                       `error`,
		`{"a":NaN}`:                            `error`,
		`{"a":1}{}`:                            `error`,
		`{"a":1,}`:                             `error`,
		`{"a"`:                                 `error`,
		`[{"a":1}]`:                            `error`,
		`"a"`:                                  `error`,
		`null`:                                 `error`,
		``:                                     `error`,
		strings.Repeat(`{"a":`, 10_001) + `1` + strings.Repeat(`}`, 10_001): `error`,
		strings.Repeat(`{"b":`, 3000) + `1` + strings.Repeat(`}`, 3000) + ` `: ` |` +
			strings.Repeat(`{"b":`, 2999) + `1` + strings.Repeat(`}`, 2999) + `| `,
	} {
		values, err := jsonscan.Members([]byte(text), "a", "b", "case_id")
		got := "error"
		if err == nil {
			var parts []string
			for _, v := range values {
				parts = append(parts, string(v))
				if v == nil {
					parts[len(parts)-1] = " "
				}
			}
			got = strings.Join(parts, "|")
		} else if !errors.Is(err, jsonscan.ErrNotObject) {
			t.Errorf("%.80q: %v", text, err)
		}
		if got != want {
			t.Errorf("%.80q: got %.80q, want %.80q", text, got, want)
		}
	}
}

// Appending to a returned value must not overwrite the text after it.
func TestValuesHaveNoSpareCapacity(t *testing.T) {
	text := []byte(`{"a":1,"b":[2,3]}`)
	values, err := jsonscan.Members(text, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	_ = append(values[0], "000"...)
	for element := range jsonscan.Array(values[1]) {
		_ = append(element, "000"...)
	}
	if string(text) != `{"a":1,"b":[2,3]}` {
		t.Errorf("%s", text)
	}
}

// Finding a member needs almost no memory, for every shape of text.
func TestMembersNeedNoMemory(t *testing.T) {
	for name, text := range shapes(1 << 20) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if values, err := jsonscan.Members(text, "case_id", "run"); err != nil || values[0] == nil {
			t.Fatal(values, err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 16<<10 {
			t.Errorf("%s: %d bytes for a text of %d", name, got, len(text))
		}
	}
}

func BenchmarkMembers(b *testing.B) {
	for name, text := range shapes(1 << 20) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if values, err := jsonscan.Members(text, "case_id", "run"); err != nil || values[0] == nil {
					b.Fatal(values, err)
				}
			}
		})
	}
}

// shapes returns objects of about size bytes.
func shapes(size int) map[string][]byte {
	plain := fmt.Appendf(nil, `{"x":"%s","case_id":"c"}`, strings.Repeat("x", size))
	many := func(format string) []byte {
		var text bytes.Buffer
		text.WriteByte('{')
		for i := 0; text.Len() < size; i++ {
			fmt.Fprintf(&text, format, i)
		}
		text.WriteString(`"case_id":"c"}`)
		return text.Bytes()
	}
	return map[string][]byte{
		"one long text":     plain,
		"many keys":         many(`"%x":1,`),
		"many escaped keys": many(`"\u0063%x":1,`),
		"the same key":      many(`"case_id":%d,`),
		"many lists":        many(`"%x":[[],{}],`),
	}
}

// FuzzMembers checks that the result is the same as that of encoding/json.
func FuzzMembers(f *testing.F) {
	for _, text := range []string{
		`{"a":1,"case_id":"x","a":[{"a":2}]}`,
		`{"\u0061":{"b":[1,"]"]},"":null}`,
		"{\"\xff\":1,\"a\":\"\\\"\"}",
		`[1]`,
		` { "case_id" : -1.5e-7 } `,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var want map[string]json.RawMessage
		isObject := json.Unmarshal(text, &want) == nil && want != nil
		values, err := jsonscan.Members(text, "a", "case_id")
		if isObject != (err == nil) {
			t.Fatalf("%q is an object: %v, Members: %v", text, isObject, err)
		}
		if err != nil {
			return
		}
		for i, name := range []string{"a", "case_id"} {
			if got := values[i]; !bytes.Equal(got, want[name]) || (got == nil) != (want[name] == nil) {
				t.Fatalf("%q: %s is %q, want %q", text, name, got, want[name])
			}
		}
		got := map[string]json.RawMessage{}
		for m := range jsonscan.Object(text) {
			got[m.Name()] = text[m.From:m.To]
			if ascii := !strings.ContainsFunc(m.Name(), func(r rune) bool { return r > '~' }); ascii &&
				!m.Is(m.Name()) {
				t.Fatalf("%q: %q has another name", text, m.Name())
			}
			var list []json.RawMessage
			if json.Unmarshal(text[m.From:m.To], &list) == nil && list != nil {
				elements := slices.Collect(jsonscan.Array(text[m.From:m.To]))
				if !slices.EqualFunc(elements, list, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
					t.Fatalf("%q: elements %q, want %q", text, elements, list)
				}
			}
		}
		for name, value := range want {
			if !strings.Contains(name, "\uFFFD") && !bytes.Equal(got[name], value) {
				t.Fatalf("%q: %q is %q, want %q", text, name, got[name], value)
			}
		}
	})
}
