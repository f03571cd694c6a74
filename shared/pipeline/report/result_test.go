package report_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/cases"
	. "github.com/casewatch/casewatch/shared/pipeline/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseResult(t *testing.T) {
	yes, no := true, false
	for in, want := range map[string]*Result{
		`{"success":true,"case_id":"c","webhook_summary":{"total_sets":52,"succeeded":20,"failed":32,` +
			`"output_url":"http://s","results":[]},"output_url":"http://o"}`: {
			Result: cases.Result{
				Documents: &cases.Documents{Total: new(52), Succeeded: new(20), Failed: new(32)},
				OutputURL: "http://o",
			},
			Success: &yes,
		},
		`{"success":true,"webhook_summary":{"total_sets":52,"succeeded":51,"output_url":"http://s"}}`: {
			Result: cases.Result{
				Documents: &cases.Documents{Total: new(52), Succeeded: new(51), Failed: new(1)},
				OutputURL: "http://s",
			},
			Success: &yes,
		},
		`{"webhook_summary":{"total_sets":3,"failed":1}}`: {Result: cases.Result{Documents: &cases.Documents{
			Total:     new(3),
			Succeeded: new(2),
			Failed:    new(1),
		}}},
		`{"webhook_summary":{"succeeded":3,"failed":1}}`: {Result: cases.Result{Documents: &cases.Documents{
			Total:     new(4),
			Succeeded: new(3),
			Failed:    new(1),
		}}},
		`{"webhook_summary":{"succeeded":-3}}`:                     {},
		`{"webhook_summary":{"succeeded":"many"},"output_url":7}`:  {},
		`{"webhook_summary":[],"success":"yes"}`:                   {},
		`{"success":false,"error":"broke"}`:                        {Success: &no, Message: "broke"},
		`{"success":false,"error":{"code":"E","message":"broke"}}`: {Success: &no, Message: "broke"},
		`{"detail":{"success":false,"error":"broke"}}`:             {Success: &no, Message: "broke"},
		`{"detail":{"success":null}}`:                              {},
		`{"success":false,"error":[1, 2]}`:                         {Success: &no, Message: "1; 2"},
		`{"success":false,"error":{"a":1},"message":"m"}`:          {Success: &no, Message: "a: 1"},
		` {} `: {},
	} {
		got, err := ParseResult([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if !json.Valid(got.Raw) || got.Size != len(got.Raw) {
			t.Errorf("%s: kept %q of %d", in, got.Raw, got.Size)
		}
		got.Raw, got.Size = nil, 0
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	for _, in := range []string{``, `null`, `[]`, `"x"`, `{"a":}`, `{} {}`, `7`} {
		if _, err := ParseResult([]byte(in)); !errors.Is(err, ErrNotAResult) {
			t.Errorf("%q: %v", in, err)
		}
	}
	got, err := ParseResult([]byte("{\"a\":\"\xff\\u0000\"}"))
	if err != nil || string(got.Raw) != "{\"a\":\"\uFFFD\\u0000\"}" {
		t.Errorf("%q %v", got.Raw, err)
	}
	for _, test := range []struct{ in, want string }{
		{`null`, ""},
		{``, ""},
		{`"x"`, "x"},
		{`{"msg":"m"}`, "m"},
		{`{"error":{"a" : 1}}`, `a: 1`},
		{`plain words`, "plain words"},
		{`<html>`, ""},
		{`{"detail":[{"loc":["body","Form"],"msg":"Field required","input":{"ssn":"123"},"ctx":{"ssn":"123"}}]}`,
			"body.Form: Field required"},
	} {
		in, want := test.in, test.want
		if got := Message([]byte(in)); got != want {
			t.Errorf("Message(%s) = %q, not %q", in, got, want)
		}
	}
}

// An address that is longer than any that servers take does not make the record, and what is told
// of it, too large to be saved.
func TestParseResultWithoutEnd(t *testing.T) {
	longest := "https://o.example/" + strings.Repeat("u", 8<<10-len("https://o.example/"))
	for _, form := range []string{
		`{"success":true,"output_url":%q}`,
		`{"success":true,"webhook_summary":{"output_url":%q}}`,
	} {
		for url, want := range map[string]string{
			longest: longest, longest + "u": "", longest + strings.Repeat("u", 64<<10): "",
		} {
			got, err := ParseResult(fmt.Appendf(nil, form, url))
			if err != nil || got.OutputURL != want {
				t.Errorf("%.40s of %d bytes: %d bytes are kept, %v", form, len(url), len(got.OutputURL), err)
			}
		}
	}
	got, err := ParseResult(fmt.Appendf(nil, `{"output_url":%q,"webhook_summary":{"output_url":"https://s.example"}}`,
		longest+"u"))
	if err != nil || got.OutputURL != "https://s.example" {
		t.Errorf("%.40q, %v", got.OutputURL, err)
	}
}
