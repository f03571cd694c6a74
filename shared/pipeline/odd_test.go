package pipeline

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

const (
	theOther = "other-7" // the case of another client
)

// odd are answers that pipelines gave, for the fuzz targets.
var odd = []string{
	`{"success":true,"webhook_summary":{"total_sets":3}}`,
	`{"success":true,"webhook_summary":{"total_sets":3,"succeeded":null,"failed":3}}`,
	`{"total_sets":3.0,"succeeded":0,"failed":3}`,
	`{"webhook_summary":{"total_sets":3e0,"succeeded":"0","failed":3},"output_url":false}`,
	`{"success":true,"case_id":"other-7","output_url":"https://o"}`, `{"case_id":7,"run":1.0,"completed":1,"total":2}`,
	`{"completed":7,"total":0,"status":"running"}`, `{"completed":3,"total":3,"status":"running"}`,
	`{"completed":"1","total":"2","status":"Running"}`,
	"\xef\xbb\xbf{\"completed\":1,\"total\":2}", "\xfe\xff\x00{\x00}", "\xff\xfe{\x00}\x00\x3d\xd8",
	packed(`{"success":true}`),
	`{"completed":NaN,"total":-Infinity,"a":"NaN"}`, `{"completed":3,"total":7,"progress_percent":0.43}`,
	`{"total":7,"progress_percent":"43.7%"}`,
	`{"status":"failed","result":[1,2],"progress":"x"}`, `{"error":true,"message":"no ink"}`,
	`{"error":"Bad Request","message":"no ink"}`,
	`{"errors":[{"message":"no ink","path":["a"]}],"data":null}`,
	`{"errors":{"city":["must not be blank"],"errors":{"errors":{}}}}`,
	`{"success":true,"webhook_summary":{"total_sets":3,"succeeded":0,"error":"no ink"}}`,
	`{"title":"Bad Request","status":400,"detail":"no ink"}`,
	`{"timestamp":"x","status":400,"error":"Bad Request","errors":[{"field":"city","rejectedValue":"x",` +
		`"defaultMessage":"is bad"}]}`,
}

func packed(body string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(body)) // a buffer takes everything
	_ = w.Close()
	return b.String()
}

func wide(body string, big bool) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + body)) {
		pair := []byte{byte(unit), byte(unit >> 8)}
		if big {
			pair[0], pair[1] = pair[1], pair[0]
		}
		b = append(b, pair...)
	}
	return string(b)
}

// dispatched answers a dispatch of case c-1, run 2.
func dispatched(t *testing.T, react pipelinetest.Reaction, options ...func(*Config)) cases.DispatchOutcome {
	t.Helper()
	p := pipelinetest.New(t)
	p.Script("c-1", react)
	got := open(t, p.URL, options...).Dispatch(t.Context(), request)
	if n := len(p.Posts("c-1")); n != 1 {
		t.Fatalf("%d requests", n)
	}
	return got
}

// polled answers a poll of case c-1, run 2.
func polled(t *testing.T, react pipelinetest.Reaction, options ...func(*Config)) cases.CheckOutcome {
	t.Helper()
	p := pipelinetest.New(t)
	p.ScriptPolls("c-1", react)
	return open(t, p.URL, options...).Poll(t.Context(), Job{CaseID: "c-1", Run: 2})
}

func counts(d *cases.Documents) string {
	text, err := json.Marshal(d)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// One odd field of a result spoils only itself, and what is not given is null.
func TestResultFieldByField(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{`{"success":true,"webhook_summary":{"total_sets":3}}`,
			`succeeded {"total":3,"succeeded":null,"failed":null} ""`},
		{`{"success":true,"webhook_summary":{"total_sets":3.0,"succeeded":0,"failed":3}}`,
			`succeeded {"total":3,"succeeded":0,"failed":3} ""`},
		{`{"success":true,"webhook_summary":{"total_sets":3,"succeeded":0,"failed":3,"output_url":false}}`,
			`succeeded {"total":3,"succeeded":0,"failed":3} ""`},
		{`{"success":true,"webhook_summary":{"total_sets":3,"succeeded":0,"failed":3},"output_url":false}`,
			`succeeded {"total":3,"succeeded":0,"failed":3} ""`},
		{`{"success":true,"webhook_summary":{"total_sets":[3],"succeeded":1,"failed":2,"output_url":"https://o"}}`,
			`succeeded {"total":3,"succeeded":1,"failed":2} "https://o"`},
		{`{"success":true,"webhook_summary":{"total_sets":"3","succeeded":" 3.0 ","failed":0e0}}`,
			`succeeded {"total":3,"succeeded":3,"failed":0} ""`},
		{`{"success":true,"webhook_summary":{"total_sets":"three","succeeded":"0x3","failed":"Inf"}}`,
			`succeeded null ""`},
		{`{"success":true,"webhook_summary":{"total_sets":3.5,"succeeded":2,"failed":null},"output_url":"https://o"}`,
			`succeeded {"total":null,"succeeded":2,"failed":null} "https://o"`},
		{`{"success":true,"webhook_summary":{"total_sets":NaN,"succeeded":2,"failed":-Infinity,"a":[Infinity,"NaN"]}}`,
			`succeeded {"total":null,"succeeded":2,"failed":null} ""`},
		{"\xef\xbb\xbf" + `{"success":true,"webhook_summary":{"total_sets":1,"succeeded":1,"failed":0}}`,
			`succeeded {"total":1,"succeeded":1,"failed":0} ""`},
		{packed(`{"success":true,"webhook_summary":{"total_sets":1,"succeeded":1,"failed":0},` +
			`"output_url":"https://é"}`), `succeeded {"total":1,"succeeded":1,"failed":0} "https://é"`},
		{packed("\xef\xbb\xbf" + `{"success":true}`), `succeeded null ""`},
		{wide(`{"success":true,"output_url":"https://é😀"}`, false), `succeeded null "https://é😀"`},
		{wide(`{"success":true,"output_url":"https://é😀"}`, true), `succeeded null "https://é😀"`},
		{`{"success":true,"webhook_summary":{"total_sets":2},"webhook_summary":{"total_sets":3,"total_sets":4}}`,
			`succeeded {"total":4,"succeeded":null,"failed":null} ""`},
	} {
		body, want := test.body, test.want
		got := dispatched(t, pipelinetest.Answer(200, body))
		said := string(got.Kind)
		if r := got.Result; r != nil {
			said += fmt.Sprintf(" %s %q", counts(r.Documents), r.OutputURL)
			if !json.Valid(r.Raw) || r.Size != len(r.Raw) {
				t.Errorf("%.80q: keeps %q, size %d", body, r.Raw, r.Size)
			}
		}
		if said != want {
			t.Errorf("%.80q: got %s, want %s", body, said, want)
		}
		// The same by a poll.
		if strings.HasPrefix(body, "{") {
			poll := polled(t, pipelinetest.Answer(200, `{"status":"succeeded","result":`+body+`}`))
			if poll.Kind != cases.CheckReading || poll.Result == nil ||
				counts(poll.Result.Documents) != counts(got.Result.Documents) ||
				poll.Result.OutputURL != got.Result.OutputURL {
				t.Errorf("%.80q polled: %+v", body, poll)
			}
		}
	}
}

// An answer that names another case, or another run, is not this run's.
func TestAnswersOfOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		ids     string // members of an answer to c-1, run 2
		foreign bool
	}{
		"none":              {``, false},
		"null":              {`"case_id":null,"run":null,`, false},
		"empty":             {`"case_id":"",`, false},
		"its own":           {`"case_id":"c-1","run":2,`, false},
		"its own, a float":  {`"case_id":"c-1","run":2.0,`, false},
		"its own, in text":  {`"case_id":"c-1","run":"2",`, false},
		"escaped":           {`"c\u0061se_id":"\u0063-1",`, false},
		"no name of a case": {`"case_id":{"a":1},"run":"abc",`, false},
		"no name of a run":  {`"run":0,`, false},
		"another":           {`"case_id":"` + theOther + `",`, true},
		"another, a number": {`"case_id":7,`, true},
		"longer":            {`"case_id":"c-1 ",`, true},
		"another, later":    {`"case_id":"c-1","case_id":"` + theOther + `",`, true},
		"another run":       {`"case_id":"c-1","run":1,`, true},
		"another run, 1.0":  {`"run":1.0,`, true},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(what, kind, want, message string) {
				t.Helper()
				if kind != want || strings.Contains(message, theOther) {
					t.Errorf("%s: got %s, %q, want %s", what, kind, message, want)
				}
			}
			for _, answer := range []struct {
				status int
				body   string
				kind   cases.DispatchKind // if it is not another's
			}{
				{200, `{%s"success":true,"output_url":"https://o"}`, cases.DispatchSucceeded},
				{200, `{"success":true,"result":{%s"a":1}}`, cases.DispatchSucceeded},
				{200, `{"success":true,"webhook_summary":{%s"total_sets":1}}`, cases.DispatchSucceeded},
				{500, `{%s"success":false,"error":"no ink"}`, cases.DispatchFailed},
				{500, `{"detail":{%s"success":false,"error":"no ink"}}`, cases.DispatchFailed},
				{202, `{%s"status":"accepted"}`, cases.DispatchAccepted},
				{400, `{%s"error":"no form"}`, cases.DispatchRefused},
				{429, `{%s"error":"later"}`, cases.DispatchBusy},
			} {
				want := answer.kind
				if tc.foreign {
					want = cases.DispatchUncertain
				}
				got := dispatched(t, pipelinetest.Answer(answer.status, fmt.Sprintf(answer.body, tc.ids)))
				check(answer.body, string(got.Kind), string(want), got.Message)
				if tc.foreign && (got.Result != nil || !strings.Contains(got.Message, "another")) {
					t.Errorf("%s: %+v", answer.body, got)
				}
			}
			for _, answer := range []struct {
				status int
				body   string
				kind   cases.CheckKind
			}{
				{200, `{%s"completed":1,"total":2}`, cases.CheckReading},
				{200, `{%s"total":0}`, cases.CheckUnknown},
				{
					200, `{"status":"succeeded","result":{%s"success":true,"output_url":"https://o"}}`,
					cases.CheckReading,
				},
				{404, `{%s"detail":"Case not found"}`, cases.CheckUnknown},
			} {
				want := answer.kind
				if tc.foreign {
					want = cases.CheckFailed
				}
				got := polled(t, pipelinetest.Answer(answer.status, fmt.Sprintf(answer.body, tc.ids)))
				check(answer.body, string(got.Kind), string(want), got.Message)
				if tc.foreign && (got.Result != nil || !strings.Contains(got.Message, "another") || got.Cause == "") {
					t.Errorf("%s: %+v", answer.body, got)
				}
			}
		})
	}
	// A case whose id is a number, told as one.
	p := pipelinetest.New(t)
	for id, literal := range map[string]string{
		"7": "7", "1200": "1.2e3", "12345678901234567890": "12345678901234567890",
	} {
		p.ScriptPolls(id, pipelinetest.Answer(200, `{"case_id":`+literal+`,"total":2}`))
		if got := open(t, p.URL).Poll(t.Context(), Job{CaseID: id, Run: 1}); got.Kind != cases.CheckReading {
			t.Errorf("%s told as %s: %+v", id, literal, got)
		}
	}
}

// What the pipeline says beats what its counts suggest.
func TestStatusBeatsCounts(t *testing.T) {
	for body, want := range map[string]cases.CheckOutcome{
		`{"completed":7,"total":0,"status":"running"}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Completed: 7, Percent: -1, Status: "running"},
		},
		`{"total":0,"status":"running"}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Percent: -1, Status: "running"},
		},
		`{"status":"running"}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Percent: -1, Status: "running"},
		},
		`{"completed":3,"total":3,"status":"running"}`: {
			Kind:    cases.CheckReading,
			Reading: cases.Reading{Completed: 3, Total: 3, Percent: -1, Status: "running"},
		},
		`{"total":0,"status":"succeeded"}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Percent: -1, Status: "succeeded"},
		},
		`{"total":0,"status":"failed"}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Percent: -1, Status: "failed"},
		},
		`{"completed":7,"total":0}`:                       {Kind: cases.CheckUnknown},
		`{"completed":7,"total":0,"status":"processing"}`: {Kind: cases.CheckUnknown},
		`{"completed":7,"total":0,"status":"Running"}`:    {Kind: cases.CheckUnknown},
		`{"completed":7,"total":0,"status":["running"]}`:  {Kind: cases.CheckUnknown},
		`{"completed":1,"total":2,"status":7}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Completed: 1, Total: 2, Percent: -1},
		},
		`{"completed":"1","total":"2.0"}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Completed: 1, Total: 2, Percent: -1},
		},
		`{"completed":NaN,"total":2,"status":"running"}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Total: 2, Percent: -1, Status: "running"},
		},
		`{"completed":1,"total":2,"progress_percent":NaN}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Completed: 1, Total: 2, Percent: -1},
		},
		`{"completed":1,"total":2,"progress_percent":[5]}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Completed: 1, Total: 2, Percent: -1},
		},
		`{"completed":1,"total":2,"current_doc":{"a":"b"}}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Completed: 1, Total: 2, Percent: -1},
		},
		"\xef\xbb\xbf" + `{"completed":1,"total":2}`: {
			Kind: cases.CheckReading, Reading: cases.Reading{Completed: 1, Total: 2, Percent: -1},
		},
		packed(`{"completed":1,"total":2}`): {
			Kind: cases.CheckReading, Reading: cases.Reading{Completed: 1, Total: 2, Percent: -1},
		},
		wide(`{"completed":1,"total":2}`, true): {
			Kind: cases.CheckReading, Reading: cases.Reading{Completed: 1, Total: 2, Percent: -1},
		},
	} {
		got := polled(t, pipelinetest.Answer(200, body))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%.80q: %s", body, diff)
		}
	}
}

// Counts that cannot be read are said to be: in the cause if the status tells enough, else in the
// message of a failed poll.
func TestUnreadableCounts(t *testing.T) {
	got := polled(t, pipelinetest.Answer(200, `{"completed":"some","total":2.5,"current_doc":"a","status":"running"}`))
	if got.Kind != cases.CheckReading || got.Reading != (cases.Reading{Percent: -1, Status: "running", Current: "a"}) ||
		!strings.HasPrefix(
			got.Cause,
			"the progress cannot be read: completed and total are no whole numbers of documents (host 127.0.0.1:",
		) {
		t.Errorf("%+v", got)
	}
	got = polled(t, pipelinetest.Answer(200, `{"completed":1,"total":{"of":2}}`))
	if got.Kind != cases.CheckFailed ||
		got.Message != "the progress cannot be read: total is no whole number of documents" {
		t.Errorf("%+v", got)
	}
}

// A percentage is taken as it is, unless the counts show that it is a share of 1.
func TestPercent(t *testing.T) {
	for body, want := range map[string]float64{
		`{"total":7,"completed":3,"progress_percent":43.7}`:     43.7,
		`{"total":7,"completed":3,"progress_percent":"43.7%"}`:  43.7,
		`{"total":7,"completed":3,"progress_percent":" 43.7 "}`: 43.7,
		`{"total":7,"completed":3,"progress_percent":"43,7"}`:   -1,
		`{"total":7,"completed":3,"progress_percent":0.43}`:     43,
		`{"total":7,"completed":3,"progress_percent":"0.43"}`:   43,
		`{"total":7,"completed":3,"progress_percent":"0.43%"}`:  0.43,
		`{"total":2,"completed":1,"progress_percent":0.5}`:      50,
		`{"total":52,"completed":52,"progress_percent":1}`:      100,
		`{"total":52,"completed":52,"progress_percent":1.0}`:    100,
		`{"total":100,"completed":1,"progress_percent":1}`:      1,
		`{"total":100,"completed":1,"progress_percent":0.01}`:   1,
		`{"total":200,"completed":1,"progress_percent":0.5}`:    0.5,
		`{"total":52,"completed":0,"progress_percent":0.9}`:     0.9,
		`{"total":52,"completed":0,"progress_percent":0}`:       0,
		`{"status":"running","progress_percent":0.43}`:          0.43,
		`{"total":7,"progress_percent":-1}`:                     -1,
		`{"total":7,"progress_percent":180}`:                    100,
		`{"total":7,"progress_percent":true}`:                   -1,
	} {
		if got := polled(t, pipelinetest.Answer(200, body)); math.Abs(got.Reading.Percent-want) > 1e-9 ||
			got.Kind != cases.CheckReading {
			t.Errorf("%s: got %+v, want %v", body, got, want)
		}
	}
}

// "Try again" is not "it failed".
func TestTryAgain(t *testing.T) {
	const failed = `{"success":false,"error":"no ink"}`
	for name, tc := range map[string]struct {
		status     int
		retryAfter string
		body       string
		kind       cases.DispatchKind
		saysFailed bool
		check      cases.CheckKind
	}{
		"429":                 {429, "", `{"error":"full"}`, cases.DispatchBusy, false, cases.CheckBusy},
		"429 failed":          {429, "", failed, cases.DispatchBusy, true, cases.CheckBusy},
		"429 failed, seconds": {429, "7", failed, cases.DispatchBusy, true, cases.CheckBusy},
		"429 failed, below detail": {
			429, "7", `{"detail":` + failed + `}`, cases.DispatchBusy, true, cases.CheckBusy,
		},
		"429 succeeded":              {429, "", `{"success":true}`, cases.DispatchBusy, false, cases.CheckBusy},
		"429 page":                   {429, "7", `<html>`, cases.DispatchBusy, false, cases.CheckBusy},
		"429 packed":                 {429, "7", packed(failed), cases.DispatchBusy, true, cases.CheckBusy},
		"503 with Retry-After":       {503, "7", `{"error":"full"}`, cases.DispatchBusy, false, cases.CheckBusy},
		"503 failed, Retry-After":    {503, "7", failed, cases.DispatchBusy, true, cases.CheckBusy},
		"503 without Retry-After":    {503, "", `{"error":"full"}`, cases.DispatchUncertain, false, cases.CheckFailed},
		"503 failed, no Retry-After": {503, "", failed, cases.DispatchFailed, false, cases.CheckFailed},
		"500 failed":                 {500, "7", failed, cases.DispatchFailed, false, cases.CheckFailed},
		"400 failed":                 {400, "7", failed, cases.DispatchFailed, false, cases.CheckFailed},
	} {
		t.Run(name, func(t *testing.T) {
			react := pipelinetest.Answer(tc.status, tc.body)
			if tc.retryAfter != "" {
				react = pipelinetest.Answer(tc.status, tc.body, "Retry-After", tc.retryAfter)
			}
			wait := func(busy bool) time.Duration {
				if busy && tc.retryAfter != "" {
					return 7 * time.Second
				}
				return 0
			}
			got := dispatched(t, react)
			if got.Kind != tc.kind || got.SaysFailed != tc.saysFailed ||
				got.RetryAfter != wait(tc.kind == cases.DispatchBusy) {
				t.Errorf("dispatch: %+v", got)
			}
			if tc.saysFailed && (got.Message != "no ink" || got.Result == nil) {
				t.Errorf("dispatch: %+v", got)
			}
			poll := polled(t, react)
			if poll.Kind != tc.check || poll.RetryAfter != wait(tc.check == cases.CheckBusy) || poll.Message == "" ||
				poll.Result != nil ||
				poll.Reading != (cases.Reading{}) {
				t.Errorf("poll: %+v", poll)
			}
		})
	}
	for name, react := range map[string]pipelinetest.Reaction{
		"broken off": pipelinetest.ResetDuring(pipelinetest.Answer(429, failed)),
		"endless":    pipelinetest.Answer(429, strings.Repeat(" ", 2<<20)),
	} {
		small := func(c *Config) { c.MaxAnswer = 1 << 20 }
		if got := dispatched(t, react, small); got.Kind != cases.DispatchBusy || got.SaysFailed {
			t.Errorf("429 %s: %+v", name, got)
		}
		if got := polled(t, react, small); got.Kind != cases.CheckBusy {
			t.Errorf("429 %s: %+v", name, got)
		}
	}
}

// A terminal answer whose result or progress cannot be read ends the run all the same, and says
// what was dropped.
func TestTerminalAnswerWithUnreadableParts(t *testing.T) {
	for body, want := range map[string]struct {
		status  cases.Status
		message string
		dropped cases.Dropped
	}{
		`{"status":"succeeded","result":[1,2]}`:           {"succeeded", "", cases.Dropped{Result: true}},
		`{"status":"succeeded","result":"https://o"}`:     {"succeeded", "", cases.Dropped{Result: true}},
		`{"status":"succeeded","result":null}`:            {"succeeded", "", cases.Dropped{}},
		`{"status":"failed","error":"no ink","result":7}`: {"failed", "no ink", cases.Dropped{Result: true}},
		`{"status":"failed","result":7}`:                  {"failed", "", cases.Dropped{Result: true}},
		`{"status":"succeeded","total":"x"}`:              {"succeeded", "", cases.Dropped{Progress: true}},
		`{"status":"succeeded","total":"x","completed":3,"result":[1]}`: {"succeeded", "",
			cases.Dropped{Result: true, Progress: true}},
		`{"status":"succeeded","total":3,"completed":3,"result":{"a":NaN}}`: {"succeeded", "", cases.Dropped{}},
	} {
		got := polled(t, pipelinetest.Answer(200, body))
		if got.Kind != cases.CheckReading || got.Reading.Status != want.status || got.Message != want.message ||
			got.Dropped != want.dropped {
			t.Errorf("%s: got %+v, want %+v", body, got, want)
		}
		if r := got.Result; r != nil && !json.Valid(r.Raw) {
			t.Errorf("%s: keeps %q", body, r.Raw)
		}
	}
}

// What is packed although nobody asked for it is unpacked, to the same size as what is not.
func TestPacked(t *testing.T) {
	const limit = 1 << 20
	small := func(c *Config) { c.MaxAnswer = limit }
	bomb := packed(`{"total":1,"x":"` + strings.Repeat("x", limit) + `"}`)
	broken := packed(`{"success":true,"total":1}`)
	broken = broken[:len(broken)-9] + "XXXXXXXXX"
	for name, tc := range map[string]struct {
		body, header, message string // of what cannot be read
	}{
		"said":          {packed(`{"success":true,"total":1}`), "GZIP", ""},
		"not said":      {packed(`{"success":true,"total":1}`), "", ""},
		"said, but not": {`{"success":true,"total":1}`, "gzip", ""},
		"in two parts":  {packed(`{"success":true`) + packed(`,"total":1}`), "gzip", ""},
		"too large":     {bomb, "gzip", "more than 1048576 bytes"},
		"broken":        {broken, "gzip", "it is compressed and cannot be unpacked"},
		"cut":           {packed(`{"success":true,"total":1}`)[:20], "gzip", "it is compressed and cannot be unpacked"},
		"another":       {"\x0b\x02\x80{}", "br", "in an encoding that was not asked for"},
		"said another":  {`{"success":true,"total":1}`, "br", ""},
	} {
		t.Run(name, func(t *testing.T) {
			react := pipelinetest.Answer(200, tc.body)
			if tc.header != "" {
				react = pipelinetest.Answer(200, tc.body, "Content-Encoding", tc.header)
			}
			got, poll := dispatched(t, react, small), polled(t, react, small)
			if tc.message == "" {
				if got.Kind != cases.DispatchSucceeded || poll.Kind != cases.CheckReading {
					t.Errorf("%+v, %+v", got, poll)
				}
				return
			}
			if got.Kind != cases.DispatchUncertain || !strings.Contains(got.Message, tc.message) ||
				poll.Kind != cases.CheckFailed ||
				!strings.Contains(poll.Message, tc.message) {
				t.Errorf("%+v, %+v", got, poll)
			}
		})
	}
	refused := pipelinetest.Answer(422, packed(`{"error":"no form"}`), "Content-Encoding", "gzip")
	if got := dispatched(t, refused); got.Kind != cases.DispatchRefused ||
		got.Message != "no form" {
		t.Errorf("%+v", got)
	}
	failing := pipelinetest.Answer(500, packed(`{"error":"no ink"}`), "Content-Encoding", "gzip")
	if got := polled(t, failing); got.Kind != cases.CheckFailed ||
		!strings.HasSuffix(got.Message, ": no ink") {
		t.Errorf("%+v", got)
	}
}

// The message is the pipeline's most telling text.
func TestMostTellingText(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{`{"error":true,"message":"FilingCity must not be blank"}`, "FilingCity must not be blank"},
		{`{"error":false,"message":"FilingCity must not be blank"}`, "FilingCity must not be blank"},
		{`{"error":"Bad Request","message":"FilingCity must not be blank"}`, "FilingCity must not be blank"},
		{`{"error":"400 Bad Request","message":"no ink"}`, "no ink"},
		{`{"error":400,"message":"no ink"}`, "no ink"},
		{`{"error":"invalid_form","error_description":"the form has no city"}`, "the form has no city"},
		{`{"error":"broke"}`, "broke"},
		{`{"error":"Bad Request"}`, "Bad Request"},
		{`{"errors":[{"message":"no ink"},{"message":"no paper"}]}`, "no ink; no paper"},
		{`{"errors":["no ink"]}`, "no ink"},
		{`{"errors":{"FilingCity":["must not be blank"],"b":"is bad"}}`, "FilingCity: must not be blank; b: is bad"},
		{`{"message":"Validation failed","errors":[{"field":"a","message":"is bad"}]}`, "a: is bad"},
		{`{"type":"about:blank","title":"Bad Request","status":400,"detail":"FilingCity must not be blank"}`,
			"FilingCity must not be blank"},
		{`{"title":"One or more validation errors occurred.","status":400,` +
			`"errors":{"FilingCity":["The FilingCity field is required."]}}`,
			"FilingCity: The FilingCity field is required."},
		{`{"errors":[{"message":"Cannot query field","path":["a"],"extensions":{"code":"X"}}],"data":null}`,
			"Cannot query field"},
		{`{"error":{"code":400,"message":"Request contains an invalid argument.","status":"INVALID_ARGUMENT",` +
			`"details":[{"@type":"x","fieldViolations":[]}]}}`,
			"Request contains an invalid argument."},
		{`{"timestamp":"2026-11-30T12:00:00Z","status":400,"error":"Bad Request",` +
			`"message":"FilingCity must not be blank","path":"/api/normalize"}`,
			"FilingCity must not be blank"},
		{`{"timestamp":"2026-11-30T12:00:00Z","status":400,"error":"Bad Request",` +
			`"errors":[{"field":"city","rejectedValue":"SECRET","defaultMessage":"must not be blank"}]}`,
			"city: must not be blank"},
		{`{"errorType":"ValueError","errorMessage":"no ink"}`, "no ink"},
		{`{"Message":"The request is invalid."}`, "The request is invalid."},
		{`{"errors":[{"status":"422","title":"Invalid Attribute","detail":"City is too short."}]}`,
			"City is too short."},
		{`{"errors":[{"type":"field","value":"SECRET","msg":"Invalid value","path":"city"}]}`, "Invalid value"},
		{`{"detail":[{"loc":["body","Form"],"msg":"Field required","input":{"a":"SECRET"},"ctx":{"b":"SECRET"}}]}`,
			"body.Form: Field required"},
		{`{"error":{"input":"SECRET","value":"SECRET","body":"SECRET","data":{"a":"SECRET"},"code":"E1","fatal":true}}`,
			"code: E1, fatal: true"},
		{`{"success":false,"error":null,"message":"","detail":[],"reason":"no ink"}`, "no ink"},
		{`{"error":NaN,"message":"no ink"}`, "no ink"},
		{"\xef\xbb\xbf" + `{"error":"no ink"}`, "no ink"},
		{"\xef\xbb\xbfno ink", "no ink"},
	} {
		body, want := test.body, test.want
		if got := dispatched(t, pipelinetest.Answer(422, body)); got.Message != want ||
			strings.Contains(got.Message, "SECRET") {
			t.Errorf("%s: got %q, want %q", body, got.Message, want)
		}
	}
	for _, test := range []struct{ body, want string }{
		{`{"success":true,"webhook_summary":{"total_sets":3,"failed":3,"error":"the template is missing"}}`,
			"the template is missing"},
		{`{"success":true,"message":"Processing complete","webhook_summary":{"total_sets":3,"succeeded":0,` +
			`"error":{"message":"no ink"}}}`,
			"no ink"},
		{`{"success":true,"error":"no paper","webhook_summary":{"total_sets":3,"succeeded":0,"error":"no ink"}}`,
			"no paper"},
		{`{"success":true,"message":"Processing complete",` +
			`"webhook_summary":{"total_sets":3,"succeeded":2,"error":"no ink"}}`, "Processing complete"},
		{`{"success":true,"webhook_summary":{"total_sets":3,"succeeded":0}}`, ""},
	} {
		body, want := test.body, test.want
		if got := dispatched(t, pipelinetest.Answer(200, body)); got.Kind != cases.DispatchSucceeded ||
			got.Message != want {
			t.Errorf("%s: got %+v, want %q", body, got.Result, want)
		}
		if got := polled(t, pipelinetest.Answer(200, `{"status":"succeeded","result":`+body+`}`)); got.Result == nil ||
			got.Message != want {
			t.Errorf("%s polled: got %+v, want %q", body, got.Result, want)
		}
	}
}
