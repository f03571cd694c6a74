package events_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func packed(data string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(data)) // writing to a buffer cannot fail
	_ = w.Close()
	return b.String()
}

func TestDecode(t *testing.T) {
	for _, test := range []struct {
		name, data string
		want       events.Incoming
	}{
		{"least", `{"case_id":"a:b","status":"running"}`, events.Incoming{CaseID: "a:b", Status: "running"}},
		{"run", `{"case_id":"c","run":3,"status":"succeeded"}`,
			events.Incoming{CaseID: "c", Run: 3, Status: "succeeded"}},
		{"nulls", `{"case_id":"c","run":null,"status":"failed","progress":null,"result":null,"error":null}`,
			events.Incoming{CaseID: "c", Status: "failed"}},
		{"unknown fields", `{"case_id":"c","status":"running","new":{"a":[1]}}`,
			events.Incoming{CaseID: "c", Status: "running"}},
		{"white space", " {\n\t\"case_id\" : \"c\" , \"status\" : \"running\" } \n",
			events.Incoming{CaseID: "c", Status: "running"}},
		{"progress", `{"case_id":"c","status":"running","progress":{"completed":3,"total":52,"current_doc":"a.docx",` +
			`"progress_percent":5.8}}`,
			events.Incoming{
				CaseID: "c", Status: "running",
				Progress: &cases.Reading{Completed: 3, Total: 52, Current: "a.docx", Percent: 5.8},
			}},
		{"empty progress", `{"case_id":"c","status":"running","progress":{}}`,
			events.Incoming{CaseID: "c", Status: "running", Progress: &cases.Reading{Percent: -1}}},
		{"error", `{"case_id":"c","status":"failed","error":{"code":"E7","message":"no paper"}}`,
			events.Incoming{CaseID: "c", Status: "failed", Message: "no paper"}},
		{"error as text", `{"case_id":"c","status":"failed","error":"no paper"}`,
			events.Incoming{CaseID: "c", Status: "failed", Message: "no paper"}},
		{"error without message", `{"case_id":"c","status":"failed","error":{"code":"E7"}}`,
			events.Incoming{CaseID: "c", Status: "failed", Message: `code: E7`}},
		{"NUL and Unicode", `{"case_id":"c","status":"failed","error":"a\u0000é😀"}`,
			events.Incoming{CaseID: "c", Status: "failed", Message: "a\x00é😀"}},
		{"not UTF-8", "{\"case_id\":\"c\",\"status\":\"failed\",\"error\":\"a\xffb\"}",
			events.Incoming{CaseID: "c", Status: "failed", Message: "a\uFFFDb"}},
		{"a long error", `{"case_id":"c","status":"failed","error":"x` + strings.Repeat("é", 2000) + `"}`,
			events.Incoming{CaseID: "c", Status: "failed", Message: "x" + strings.Repeat("é", 999)}},
		{"run as a float", `{"case_id":"c","run":1.0,"status":"running"}`,
			events.Incoming{CaseID: "c", Run: 1, Status: "running"}},
		{"run with an exponent", `{"case_id":"c","run":1e1,"status":"running"}`,
			events.Incoming{CaseID: "c", Run: 10, Status: "running"}},
		{"run as text", `{"case_id":"c","run":"1","status":"running"}`,
			events.Incoming{CaseID: "c", Run: 1, Status: "running"}},
		{"byte order mark", "\xef\xbb\xbf{\"case_id\":\"c\",\"status\":\"running\"}",
			events.Incoming{CaseID: "c", Status: "running"}},
		{"packed", packed(`{"case_id":"c","status":"running"}`), events.Incoming{CaseID: "c", Status: "running"}},
		{"not a number", `{"case_id":"c","status":"running",` +
			`"progress":{"completed":3,"total":52,"progress_percent":NaN},"x":[-Infinity]}`,
			events.Incoming{CaseID: "c", Status: "running",
				Progress: &cases.Reading{Completed: 3, Total: 52, Percent: -1}}},
		{"numbers as text",
			`{"case_id":"c","status":"running","progress":{"completed":"3","total":"52.0","progress_percent":"5.8%"}}`,
			events.Incoming{CaseID: "c", Status: "running",
				Progress: &cases.Reading{Completed: 3, Total: 52, Percent: 5.8}}},
		{"telling message", `{"case_id":"c","status":"failed","error":true,"message":"no paper"}`,
			events.Incoming{CaseID: "c", Status: "failed", Message: "no paper"}},
		{"message of the result", `{"case_id":"c","status":"failed","result":{"error":"no paper"}}`,
			events.Incoming{CaseID: "c", Status: "failed", Message: "no paper",
				Result: &cases.Result{Raw: []byte(`{"error":"no paper"}`), Size: 20}}},
		{"unreadable result", `{"case_id":"c","status":"succeeded","result":[]}`,
			events.Incoming{CaseID: "c", Status: "succeeded", Dropped: cases.Dropped{Result: true}}},
		{"unreadable result of a failure", `{"case_id":"c","status":"failed","error":"no paper","result":7}`,
			events.Incoming{CaseID: "c", Status: "failed", Message: "no paper", Dropped: cases.Dropped{Result: true}}},
		{"unreadable progress", `{"case_id":"c","status":"succeeded","progress":7}`,
			events.Incoming{CaseID: "c", Status: "succeeded", Dropped: cases.Dropped{Progress: true}}},
		{"unreadable parts", `{"case_id":"c","status":"succeeded","progress":{"completed":1.5,"total":2},"result":"x"}`,
			events.Incoming{CaseID: "c", Status: "succeeded", Dropped: cases.Dropped{Result: true, Progress: true}}},
		{"unreadable result of a long failure", `{"case_id":"c","status":"failed","error":"` +
			strings.Repeat("x", 2000) + `","result":7}`,
			events.Incoming{
				CaseID: "c", Status: "failed", Message: strings.Repeat("x", 2000), Dropped: cases.Dropped{Result: true},
			}},
		{"a result that says that it failed",
			`{"case_id":"c","status":"succeeded","result":{"success":false,"error":"no paper"}}`, events.Incoming{
				CaseID: "c", Status: "failed", Message: "no paper", Result: &cases.Result{
					Raw: []byte(`{"success":false,"error":"no paper"}`), Size: 36,
				}}},
		{"the same while it runs", `{"case_id":"c","status":"running","result":{"success":false}}`, events.Incoming{
			CaseID: "c", Status: "running", Result: &cases.Result{Raw: []byte(`{"success":false}`), Size: 17}}},
		{"result of another case", `{"case_id":"c","status":"succeeded","result":{"case_id":"other","success":true}}`,
			events.Incoming{CaseID: "c", Status: "succeeded", Dropped: cases.Dropped{Result: true}}},
		{"result of another run", `{"case_id":"c","run":2,"status":"succeeded","result":{"case_id":"c","run":1.0}}`,
			events.Incoming{CaseID: "c", Run: 2, Status: "succeeded", Dropped: cases.Dropped{Result: true}}},
		{"result that names a run", `{"case_id":"c","status":"succeeded","result":{"run":1}}`,
			events.Incoming{CaseID: "c", Status: "succeeded",
				Result: &cases.Result{Raw: []byte(`{"run":1}`), Size: 9}}},
		{"result of another case, running", `{"case_id":"c","status":"running","result":{"case_id":"other"}}`,
			events.Incoming{CaseID: "c", Status: "running"}},
		{"result", `{"case_id":"c","status":"succeeded","result":{"s":"\u0000 é","webhook_summary":{"total_sets":2,` +
			`"succeeded":1,"failed":1},"output_url":"u"}}`,
			events.Incoming{CaseID: "c", Status: "succeeded", Result: &cases.Result{
				Raw: []byte(`{"s":"\u0000 é","webhook_summary":{"total_sets":2,"succeeded":1,"failed":1},` +
					`"output_url":"u"}`), Size: 94,
				Documents: &cases.Documents{Total: new(2), Succeeded: new(1), Failed: new(1)}, OutputURL: "u"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := events.Decode([]byte(test.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeInvalid(t *testing.T) {
	for _, test := range []struct {
		name, data string
		want       []string
	}{
		{"empty", ``, []string{"not a JSON object"}},
		{"text", `hello`, []string{"not a JSON object"}},
		{"a list", `[{"case_id":"c"}]`, []string{"not a JSON object"}},
		{"null", `null`, []string{"not a JSON object"}},
		{"two", `{"case_id":"c","status":"running"}{}`, []string{"not a JSON object"}},
		{"no fields", `{}`, []string{"case_id is missing", "status is missing"}},
		{"id of another type", `{"case_id":7,"status":"running"}`, []string{"case_id"}},
		{"id with a slash", `{"case_id":"a/b","status":"running"}`, []string{"case_id"}},
		{"id with NUL", `{"case_id":"a\u0000","status":"running"}`, []string{"case_id"}},
		{"run 0", `{"case_id":"c","run":0,"status":"running"}`, []string{"run"}},
		{"run -1", `{"case_id":"c","run":-1,"status":"running"}`, []string{"run"}},
		{"run 1.5", `{"case_id":"c","run":1.5,"status":"running"}`, []string{"run"}},
		{"run as a word", `{"case_id":"c","run":"first","status":"running"}`, []string{"run"}},
		{"compressed, broken", packed(`{"case_id":"c","status":"running"}`)[:30], []string{"compressed"}},
		{"run too large", `{"case_id":"c","run":99999999999999999999,"status":"running"}`, []string{"run"}},
		{"status null", `{"case_id":"c","status":null}`, []string{"status"}},
		{"status unknown", `{"case_id":"c","status":"Succeeded"}`, []string{"none of running, succeeded, failed"}},
		{"progress of text", `{"case_id":"c","status":"running","progress":"5%"}`, []string{"progress"}},
		{"result of a list", `{"case_id":"c","status":"running","result":[]}`, []string{"result is not a JSON object"}},
		{"every problem together", `{"case_id":"/","run":0,"status":"done","progress":{"completed":1.5},` +
			`"result":7,"secret":"form content"}`,
			[]string{"case_id", "run is not", "status is none",
				"progress: completed is no whole number", "result is not"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := events.Decode([]byte(test.data))
			if !errors.Is(err, events.ErrInvalid) || !cmp.Equal(got, events.Incoming{}) {
				t.Fatalf("%+v, %v", got, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to contain %q", err, want)
				}
			}
			if n := strings.Count(err.Error(), ";") + 1; n != len(test.want) {
				t.Errorf("got %d problems, want %d: %v", n, len(test.want), err)
			}
			if strings.Contains(err.Error(), "form content") || strings.Contains(err.Error(), "done") {
				t.Errorf("the error shows the data: %v", err)
			}
		})
	}
}

func TestDecodeLimit(t *testing.T) {
	data := func(size int) []byte {
		const frame = `{"case_id":"c","status":"succeeded","result":{"x":""}}`
		return []byte(strings.Replace(frame, `""`, `"`+strings.Repeat("x", size-len(frame))+`"`, 1))
	}
	if in, err := events.Decode(data(350 << 10)); err != nil || in.Result == nil || in.Result.Raw == nil {
		t.Errorf("350 KiB of data: got %v, want the whole result", err)
	}
	if _, err := events.Decode([]byte(packed(string(data(350<<10 + 1))))); !errors.Is(err, events.ErrInvalid) ||
		!strings.Contains(err.Error(), "more than 358400 bytes") {
		t.Errorf("too large when decompressed: got %v", err)
	}
	if _, err := events.Decode(data(350<<10 + 1)); !errors.Is(err, events.ErrInvalid) ||
		!strings.Contains(err.Error(), "358401 bytes") {
		t.Errorf("%v", err)
	}
}

func TestDecodeReading(t *testing.T) {
	for _, test := range []struct {
		raw  string
		want cases.Reading
		err  string // part of the error; "" for none
	}{
		{`{}`, cases.Reading{Percent: -1}, ""},
		{`{"completed":1,"total":2}`, cases.Reading{Completed: 1, Total: 2, Percent: -1}, ""},
		{`{"completed":1.0,"total":2e1}`, cases.Reading{Completed: 1, Total: 20, Percent: -1}, ""},
		{`{"completed":null,"total":null,"current_doc":null,"progress_percent":null}`, cases.Reading{Percent: -1}, ""},
		{`{"completed":5,"total":4,"progress_percent":125}`, cases.Reading{Completed: 5, Total: 4, Percent: 100}, ""},
		{`{"progress_percent":0}`, cases.Reading{}, ""},
		{`{"progress_percent":-7}`, cases.Reading{Percent: -1}, ""},
		{`{"current_doc":"é\u0000","status":"running","more":1}`, cases.Reading{Percent: -1, Current: "é\x00"}, ""},
		{`{"current_doc":"` + strings.Repeat("x", 3000) + `"}`,
			cases.Reading{Percent: -1, Current: strings.Repeat("x", 2000)}, ""},
		{`{"completed":-1}`, cases.Reading{Percent: -1}, ""},
		{`{"total":"52"}`, cases.Reading{Total: 52, Percent: -1}, ""},
		{`{"completed":3,"total":7,"progress_percent":0.43}`, cases.Reading{Completed: 3, Total: 7, Percent: 43}, ""},
		{`{"completed":1,"current_doc":7,"progress_percent":[]}`, cases.Reading{Completed: 1, Percent: -1}, ""},
		{`{"completed":1.5}`, cases.Reading{}, "completed is no whole number"},
		{`{"total":4294967296}`, cases.Reading{}, "total is no whole number"},
		{`{"total":1e300}`, cases.Reading{}, "total is no whole number"},
		{`{"total":1e999}`, cases.Reading{}, "total is no whole number"},
		{`{"total":"many","completed":{}}`, cases.Reading{}, "completed and total are no whole numbers"},
		{`[]`, cases.Reading{}, "progress is not a JSON object"},
	} {
		t.Run(fmt.Sprintf("%.40s", test.raw), func(t *testing.T) {
			in, err := events.Decode([]byte(`{"case_id":"c","status":"running","progress":` + test.raw + `}`))
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) ||
				err == nil && *in.Progress != test.want {
				t.Errorf("%+v, %v", in.Progress, err)
			}
			// Together with an end, an unreadable count does not matter.
			in, err = events.Decode([]byte(`{"case_id":"c","status":"succeeded","progress":` + test.raw + `}`))
			if err != nil ||
				(in.Progress == nil) != (test.err != "") {
				t.Errorf("with an end: got %+v, %v", in.Progress, err)
			}
		})
	}
}

// FuzzDecode checks that a decoded event has the properties that the rules need, and that every
// error is ErrInvalid.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"case_id":"c","run":1,"status":"running","progress":{"completed":1,"total":4,"current_doc":"x",` +
			`"progress_percent":25.5}}`,
		`{"case_id":"c","status":"succeeded","result":{"webhook_summary":{"total_sets":3,"failed":1}}}`,
		`{"case_id":"c","status":"failed","error":{"detail":[{"msg":"x"}]}}`, `{"case_id":"/",` +
			`"run":-1}`, "{\"case_id\":\"\xff\"}", `null`,
		`{"case_id":"c","run":1.0,"status":"failed","error":true,"message":"x","progress":{"completed":"1",` +
			`"total":NaN}}`, packed(`{"case_id":"c","status":"running"}`),
		"\xef\xbb\xbf{\"case_id\":\"c\",\"run\":\"2\",\"status\":\"succeeded\",\"result\":{\"case_id\":7}}",
		`{"case_id":"c","status":"succeeded","result":[],"progress":7}`,
		`{"case_id":"c","status":"succeeded","result":{"webhook_summary":{"total_sets":3.0,"succeeded":"0",` +
			`"error":"no ink"},"output_url":false}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := events.Decode(data)
		if err != nil {
			if !errors.Is(err, events.ErrInvalid) || !cmp.Equal(in, events.Incoming{}) || len(err.Error()) > 500 {
				t.Fatalf("%q: %+v, %v", data, in, err)
			}
			return
		}
		if !cases.ValidID(in.CaseID) || in.Run < 0 || !utf8.ValidString(in.Message) || len(in.Message) > 2200 {
			t.Fatalf("%q: %+v", data, in)
		}
		if p := in.Progress; p != nil &&
			(p.Completed < 0 || p.Total < 0 || !utf8.ValidString(p.Current) || p.Status != "" || p.Percent < -1) {
			t.Fatalf("%q: %+v", data, p)
		}
		if r := in.Result; r != nil && (!utf8.Valid(r.Raw) || r.Size != len(r.Raw)) {
			t.Fatalf("%q: %+v", data, r)
		}
	})
}
