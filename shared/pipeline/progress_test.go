package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
	"github.com/casewatch/casewatch/shared/pipeline/report"
)

func TestDecodeProgress(t *testing.T) {
	reading := func(r cases.Reading) cases.CheckOutcome {
		return cases.CheckOutcome{Kind: cases.CheckReading, Reading: r}
	}
	unknown := cases.CheckOutcome{Kind: cases.CheckUnknown}
	failed := reading(cases.Reading{Percent: -1, Status: "failed"})
	failed.Message = "no paper"
	long := strings.Repeat("é", 400)
	for name, tc := range map[string]struct {
		body string
		want cases.CheckOutcome
	}{
		"usual": {
			`{"case_id":"c-1","completed":3,"total":52,"current_doc":"a.docx","progress_percent":5.8}`,
			reading(cases.Reading{Completed: 3, Total: 52, Percent: 5.8, Current: "a.docx"}),
		},
		"little": {`{"total":2}`, reading(cases.Reading{Total: 2, Percent: -1})},
		"nulls": {
			`{"completed":null,"total":2,"current_doc":null,"progress_percent":null,` +
				`"status":null,"result":null,"error":null}`,
			reading(cases.Reading{Total: 2, Percent: -1}),
		},
		"floats": {
			`{"completed":3.0,"total":5.2e1}`, reading(cases.Reading{Completed: 3, Total: 52, Percent: -1}),
		},
		"negative": {
			`{"completed":-1,"total":5,"progress_percent":-3}`, reading(cases.Reading{Total: 5, Percent: -1}),
		},
		"above 100": {
			`{"completed":9,"total":5,"progress_percent":180}`,
			reading(cases.Reading{Completed: 9, Total: 5, Percent: 100}),
		},
		"huge percent": {
			`{"total":5,"progress_percent":1e999}`, reading(cases.Reading{Total: 5, Percent: -1}),
		},
		"percent as text": {
			`{"total":5,"progress_percent":"40%"}`, reading(cases.Reading{Total: 5, Percent: 40}),
		},
		"running": {
			`{"total":5,"status":"running","error":"ignored"}`,
			reading(cases.Reading{Total: 5, Percent: -1, Status: "running"}),
		},
		"another status": {`{"total":5,"status":"processing"}`, reading(cases.Reading{Total: 5, Percent: -1})},
		"long document": {
			`{"total":5,"current_doc":"` + long + `\u0000"}`,
			reading(cases.Reading{Total: 5, Percent: -1, Current: strings.Repeat("é", 299) + "…"}),
		},
		"document is no text": {`{"total":5,"current_doc":{"a":1}}`, reading(cases.Reading{Total: 5, Percent: -1})},
		"other spelling of keys": {
			`{"Total":5,"total":2,"STATUS":"failed"}`, reading(cases.Reading{Total: 2, Percent: -1}),
		},
		"succeeded, no counts": {`{"status":"succeeded"}`, reading(cases.Reading{Percent: -1, Status: "succeeded"})},
		"succeeded, total 0": {
			`{"status":"succeeded","total":0}`, reading(cases.Reading{Percent: -1, Status: "succeeded"}),
		},
		"failed":         {`{"status":"failed","error":"no\npaper"}`, failed},
		"failed, object": {`{"status":"failed","error":{"code":"E","message":"no paper"}}`, failed},
		"total 0":        {`{"case_id":"c-1","completed":0,"total":0,"progress_percent":0}`, unknown},
		"total null":     {`{"total":null}`, unknown},
		"total negative": {`{"total":-1}`, unknown},
		"running of 0": {
			`{"total":0,"status":"running"}`, reading(cases.Reading{Percent: -1, Status: "running"}),
		},

		"no total": {`{"detail":"hello"}`, failedPoll("the progress has no total", "")},
		"fraction": {
			`{"completed":1.5,"total":2}`,
			failedPoll("the progress cannot be read: completed is no whole number of documents", ""),
		},
		"text": {
			`{"completed":"one","total":2}`,
			failedPoll("the progress cannot be read: completed is no whole number of documents", ""),
		},
		"total is a list": {
			`{"completed":1,"total":[2]}`,
			failedPoll("the progress cannot be read: total is no whole number of documents", ""),
		},
		"too many": {
			`{"completed":1,"total":1e18}`,
			failedPoll("the progress cannot be read: total is no whole number of documents", ""),
		},
		"page":  {`<html>`, failedPoll("the progress is not a JSON object", "")},
		"list":  {`[]`, failedPoll("the progress is not a JSON object", "")},
		"null":  {`null`, failedPoll("the progress is not a JSON object", "")},
		"empty": {``, failedPoll("the progress is not a JSON object", "")},
		"cut":   {`{"total":5`, failedPoll("the progress is not a JSON object", "")},
	} {
		t.Run(name, func(t *testing.T) {
			got := polled(t, pipelinetest.Answer(200, tc.body))
			got.Cause = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestDecodeProgressWithResult(t *testing.T) {
	for name, tc := range map[string]struct {
		body         string
		status       cases.Status
		message, raw string
	}{
		"succeeded": {`{"total":1,"status":"succeeded","result": {"success":true,"n":1.0} }`, "succeeded", "",
			`{"success":true,"n":1.0}`},
		"not said": {`{"total":1,"result":{"success":true}}`, "", "", `{"success":true}`},
		"failed by result": {`{"total":1,"status":"running","result":{"success":false,"error":"no ink"}}`, "failed",
			"no ink", `{"success":false,"error":"no ink"}`},
		"failed twice": {`{"status":"failed","error":"first","result":{"success":false,"error":"second"}}`, "failed",
			"first", `{"success":false,"error":"second"}`},
		"not a result":      {`{"total":1,"status":"succeeded","result":"u"}`, "succeeded", "", ""},
		"failed not a word": {`{"status":"failed"}`, "failed", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := polled(t, pipelinetest.Answer(200, tc.body))
			raw := ""
			if got.Result != nil {
				raw = string(got.Result.Raw)
			}
			if got.Kind != cases.CheckReading || got.Reading.Status != tc.status || got.Message != tc.message ||
				raw != tc.raw {
				t.Fatalf("got %+v with result %s", got, raw)
			}
		})
	}
}

func FuzzDecodeProgress(f *testing.F) {
	for _, body := range []string{
		`{"completed":1,"total":2,"progress_percent":50,"current_doc":"a","status":"running"}`,
		`{"completed":-1.0,"total":1e3,"progress_percent":-0.0,"current_doc":"\u0000\ud800"}`,
		`{"status":"failed","error":{"message":"s3cr3t"},"result":{"success":false,"detail":[]}}`,
		`{"total":0}`, `[]`, "\xff",
	} {
		f.Add([]byte(body))
	}
	for _, body := range odd {
		f.Add([]byte(body))
		f.Add([]byte(`{"status":"succeeded","result":` + body + `}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a := answer{
			status:  200,
			body:    report.Text(body),
			now:     time.Unix(1e9, 0),
			secrets: []string{"s3cr3t"},
			host:    "p",
		}
		got := a.progress("c-1", 2)
		checkText(t, got.Cause, maxMessage)
		checkText(t, got.Message, maxMessage+100)
		checkText(t, got.Reading.Current, maxCurrent)
		checkResult(t, got.Result)
		r := got.Reading
		final := r.Status == "succeeded" || r.Status == "failed"
		switch got.Kind {
		case cases.CheckReading:
			if r.Completed < 0 || r.Total < 0 || r.Total == 0 && !final && r.Status != "running" ||
				!(r.Percent == -1 || r.Percent >= 0 && r.Percent <= 100) {
				t.Fatalf("reading %+v", r)
			}
		case cases.CheckUnknown, cases.CheckFailed:
			if r != (cases.Reading{}) || got.Result != nil || (got.Message == "") != (got.Kind == cases.CheckUnknown) {
				t.Fatalf("got %+v", got)
			}
		default:
			t.Fatalf("kind %q", got.Kind)
		}
	})
}
