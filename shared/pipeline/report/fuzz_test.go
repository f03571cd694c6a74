package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	. "github.com/casewatch/casewatch/shared/pipeline/report"
)

// FuzzParseResult: of whatever the pipeline says, only counts of documents are read, and what is
// kept of it reads the same again.
func FuzzParseResult(f *testing.F) {
	f.Add(
		[]byte(
			`{"success":true,"webhook_summary":{"total_sets":52,"succeeded":20,"failed":32,"output_url":"http://s"},` +
				`"output_url":"http://o"}`,
		),
	)
	f.Add([]byte(`{"webhook_summary":{"succeeded":9223372036854775807,"failed":9223372036854775807}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseResult(raw)
		if err != nil {
			return
		}
		if d := r.Documents; d != nil {
			if d.Total == nil && d.Succeeded == nil && d.Failed == nil {
				t.Errorf("%q counts nothing", raw)
			}
			for _, count := range []*int{d.Total, d.Succeeded, d.Failed} {
				if count != nil && *count < 0 {
					t.Errorf("%q counts %d", raw, *count)
				}
			}
		}
		if !utf8.Valid(r.Raw) || !json.Valid(r.Raw) || len(r.Raw) != r.Size || r.Success == nil && r.Message != "" {
			t.Errorf("%q is %+v", raw, r)
		}
		if again, err := ParseResult(r.Raw); err != nil || !bytes.Equal(again.Raw, r.Raw) ||
			again.OutputURL != r.OutputURL || again.Message != r.Message {
			t.Errorf("%q is %+v, and then %+v, %v", raw, r, again, err)
		}
	})
}

// FuzzMessage: a text is found or not, the same each time, and never what validation repeats of the
// form.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"detail":[{"loc":["body","a",0],"msg":"is missing","input":{"a":1}}]}`))
	f.Add([]byte(`{"error":{"message":["a",["b",{"msg":1e308}]]}}`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		text := Message(body)
		if again := Message(body); again != text {
			t.Errorf("%q says %q, then %q", body, text, again)
		}
		if json.Valid(body) {
			if inside := Message([]byte(`{"detail":{"input":` + string(body) + `,"ctx":` + string(body) +
				`}}`)); inside != "" {
				t.Errorf("%q is repeated: %q", body, inside)
			}
		}
	})
}

// What cannot be read as JSON may hold the form, as may what holds a number that no float holds:
// neither is told as it is.
func TestUnreadableIsNotTold(t *testing.T) {
	for body, want := range map[string]string{
		`{"detail":[{"loc":["body"],"msg":"is bad","input":{"name":"Jane","n":1e999}}]}`: "body: is bad",
		`{"detail":[{"msg":"is bad","input":{"name":"Jane"`:                              "",
		`[{"name":"Jane"`: "",
		`{"error":1e999}`: "1e999",
	} {
		if got := Message([]byte(body)); got != want {
			t.Errorf("%s says %q, not %q", body, got, want)
		}
	}
}

// A message that is nested without end is nobody's: reading it takes no longer than its length.
func TestNestedWithoutEnd(t *testing.T) {
	const depth = 4000
	for _, body := range []string{
		strings.Repeat(`{"loc":["a"],"msg":`, depth) + `"` + strings.Repeat("x", 100<<10) +
			`"` + strings.Repeat("}", depth),
		`{"error":` + strings.Repeat("[", depth) + `"deep"` + strings.Repeat("]", depth) + "}",
		`{"error":` + strings.Repeat("[", 20_000),
	} {
		if text := Message([]byte(body)); strings.Contains(text, "deep") || strings.Contains(text, "xxx") {
			t.Errorf("%.80s says %.80s", body, text)
		}
	}
	if text := Message([]byte(`{"detail":{"error":{"message":[["it broke"]]}}}`)); text != "it broke" {
		t.Errorf("%q", text)
	}
	r, err := ParseResult([]byte(`{"webhook_summary":{"succeeded":9223372036854775807,"failed":9223372036854775807}}`))
	if err != nil ||
		r.Documents != nil {
		t.Errorf("%+v, %v: nobody makes that many documents", r, err)
	}
}
