package events_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/events"
)

const traceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// ended returns the view of an ended run that has every possible field.
func ended(result, late []byte) cases.View {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
	c := cases.Case{
		Origin: cases.Origin{
			CaseID: "a:b", Run: 2, Pipeline: "render", CreatedAt: begin, DeadlineAt: begin.Add(time.Hour),
		},
		Version: 17,
		State:   cases.Succeeded,
		Job: cases.Job{
			StartedAt: begin.Add(time.Second),
			Progress:  cases.Progress{Completed: 51, Total: 52, Percent: 98.1, Current: "SROGs é <1>"},
		},
		UpdatedAt: begin.Add(91 * time.Second),
		Outcome: cases.Outcome{
			EndedAt:   begin.Add(90 * time.Second),
			End:       &cases.End{Reason: cases.ReasonCompleted, Message: "", Source: cases.SourceEvent},
			Documents: &cases.Documents{Total: new(52), Succeeded: new(51), Failed: new(1)},
			OutputURL: "https://docs.example/?a=1&b=2",
			Late: &cases.LateReport{
				State:     cases.Failed,
				HasResult: true,
				Message:   "too late",
				Source:    cases.SourceDispatch,
				At:        begin.Add(91 * time.Second),
				Count:     2,
			},
		},
		Dispatch: cases.Dispatch{Begun: 3, Failures: 2},
		Checks:   cases.Checks{Seq: 9, Polls: 8, FailedPolls: 1},
	}
	return c.View(begin.Add(2*time.Minute), result, late)
}

func TestEncodeEnded(t *testing.T) {
	view := ended([]byte(`{"s":"\u0000 é","big":12345678901234567890}`), []byte(`{"late":true}`))
	e, err := events.EncodeEnded("/projects/p/casewatch", view, traceParent)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{
		"ce-specversion": "1.0",
		"ce-id":          "a:b:2:ended",
		"ce-type":        "casewatch.case.ended.v1",
		"ce-source":      "/projects/p/casewatch",
		"ce-time":        "2026-01-02T03:05:35.6Z",
		"content-type":   "application/json",
		"traceparent":    traceParent,
		"ce-traceparent": traceParent,
	}, e.Attributes); diff != "" {
		t.Error(diff)
	}
	want, err := os.ReadFile("testdata/ended.json")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, e.Data, "", "  "); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), got.String()); diff != "" {
		t.Errorf("not testdata/ended.json:\n%s", diff)
	}
	again, err := events.EncodeEnded("/projects/p/casewatch", view, traceParent)
	if err != nil || !cmp.Equal(e, again) {
		t.Errorf("the second event differs from the first: %v", err)
	}
	if e, err = events.EncodeEnded("s", ended(nil, nil), ""); err != nil || e.Attributes["traceparent"] != "" ||
		len(e.Attributes) != 6 {
		t.Errorf("%v %v", e.Attributes, err)
	}
}

func TestLargeResults(t *testing.T) {
	sized := func(n int) []byte { return []byte(`{"x":"` + strings.Repeat("x", n-8) + `"}`) }
	const limit = 256 << 10
	for _, test := range []struct {
		name                              string
		result, late                      []byte
		wantResult, wantLate, wantOmitted bool // what is present, and result_omitted
	}{
		{"both fit", sized(limit), sized(limit), true, true, false},
		{"a large result", sized(limit + 1), sized(limit), false, true, true},
		{"a large late result", sized(limit), sized(limit + 1), true, false, true},
		{"both large", sized(limit + 1), sized(limit + 1), false, false, true},
		{"none", nil, nil, false, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := ended(test.result, test.late)
			e, err := events.EncodeEnded("s", v, "")
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(e.Data, &got); err != nil {
				t.Fatal(err)
			}
			late := got["late"].(map[string]any)
			value, omitted := got["result_omitted"]
			if (got["result"] != nil) != test.wantResult || (late["result"] != nil) != test.wantLate ||
				omitted != test.wantOmitted ||
				omitted && value != true {
				t.Errorf("result %t, late result %t, omitted %v", got["result"] != nil, late["result"] != nil, value)
			}
			if _, ok := got["checks"]; ok {
				t.Error("the event contains checks")
			}
			if v.Checks == nil || !bytes.Equal(v.Result, test.result) || !bytes.Equal(v.Late.Result, test.late) {
				t.Error("the view was changed")
			}
			if len(e.Data) > 2*limit+4096 {
				t.Errorf("%d bytes", len(e.Data))
			}
		})
	}
}

func TestNotEnded(t *testing.T) {
	v := ended(nil, nil)
	v.EndedAt = nil
	if _, err := events.EncodeEnded("s", v, ""); err == nil {
		t.Error("a run that has not ended has an ended event")
	}
	if _, err := events.EncodeEnded("s", ended([]byte(`{"a":`), nil), ""); err == nil {
		t.Error("what is not JSON was encoded")
	}
}
