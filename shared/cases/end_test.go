package cases_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/casewatch/casewatch/shared/cases"
)

func TestReportAfterTheEndIsKeptAsLate(t *testing.T) {
	l := accepted(rules).do(time.Hour, CheckOutcome{Kind: CheckSkipped})
	l.want(t, TimedOut, ReasonDeadline, SourceDeadline)
	end := l.c
	l.do(time.Minute, Event{ID: "1", Status: "succeeded", Message: "", Result: nil})
	l.do(time.Minute, Event{ID: "2", Status: "succeeded", Result: result(t, `{"success":true}`)})
	if l.v.Keep != KeepLate {
		t.Error("the first late result was dropped")
	}
	l.do(time.Minute, Event{ID: "3", Status: "failed", Message: "no", Result: result(t, `{"success":false}`)})
	if l.v.Keep != KeepNothing {
		t.Error("a late result was swapped in")
	}
	l.do(time.Minute, Event{ID: "3", Status: "failed", Message: "no"})
	want := &LateReport{
		State:     Succeeded,
		HasResult: true,
		Source:    SourceEvent,
		At:        end.Outcome.EndedAt.Add(time.Minute),
		Count:     3,
	}
	if diff := cmp.Diff(want, l.c.Outcome.Late); diff != "" {
		t.Error(diff)
	}
	if l.c.State != TimedOut || l.c.Outcome.EndVersion != end.Version || l.c.Version != end.Version+3 ||
		l.c.Outcome.Documents != nil {
		t.Errorf("the end changed: %s", dump(l.c))
	}
	if l.do(0, Event{ID: "4", Status: "running", Progress: &Reading{Completed: 9, Total: 9}}); l.v.Kind != Ignored {
		t.Error("progress after the end:", l.v.Kind)
	}
	// A terminal report that a check brings from before the end is late too.
	l.do(0, CheckOutcome{Kind: CheckReading, Reading: Reading{Status: "failed"}, Message: "late"})
	if l.c.Outcome.Late.Count != 4 {
		t.Errorf("%+v", l.c.Outcome.Late)
	}
	for i := range 20 {
		l.do(0, Event{ID: fmt.Sprint("many", i), Status: "failed"})
	}
	if len(l.c.Outcome.ReportIDs) > 8 || l.c.Outcome.Late.Count != 24 {
		t.Errorf("%d ids kept, %d counted", len(l.c.Outcome.ReportIDs), l.c.Outcome.Late.Count)
	}
}

func TestResultIsKeptUnlessTooLarge(t *testing.T) {
	big := result(t, `{"webhook_summary":{"total_sets":52,"succeeded":51,"failed":1},"output_url":"http://o",`+
		`"x":"`+strings.Repeat("x", MaxResult)+`"}`)
	l := accepted(rules).do(0, Event{ID: "e", Status: "succeeded", Result: big})
	l.want(t, Succeeded, ReasonCompleted, SourceEvent)
	if l.c.Outcome.HasResult || l.v.Keep != KeepNothing ||
		!reflect.DeepEqual(l.c.Outcome.Documents, &Documents{Total: new(52), Succeeded: new(51), Failed: new(1)}) ||
		l.c.Outcome.OutputURL != "http://o" || !strings.Contains(l.c.Outcome.End.Message, fmt.Sprint(big.Size)) {
		t.Errorf("%s", dump(l.c))
	}
	if l.do(0, Event{ID: "f", Status: "succeeded", Result: result(t, `{}`)}); l.v.Kind != Late {
		t.Error("a second result took the place of the one that was too large:", l.v.Kind)
	}
	l = accepted(rules).do(0, Event{ID: "e", Status: "succeeded"}).
		do(0, Event{ID: "f", Status: "succeeded", Result: big})
	if want := fmt.Sprintf("the result of %d bytes is larger than the %d that are kept", big.Size,
		MaxResult); l.v.Kind != Filled ||
		l.c.Outcome.End.Message != want {
		t.Errorf("%+v %+v", l.v, l.c.Outcome.End)
	}
	l = accepted(rules).
		do(0, Event{ID: "e", Status: StatusFailed, Message: "out of paper", Result: result(t, `{"success":false}`)})
	if l.c.Outcome.End.Message != "out of paper" || !l.c.Outcome.HasResult {
		t.Errorf("%s", dump(l.c))
	}
	l = accepted(rules).do(0, Event{ID: "e", Status: "failed", Message: strings.Repeat("ü", 2000)})
	if n := len([]rune(l.c.Outcome.End.Message)); n != 1000 {
		t.Errorf("a message of %d characters", n)
	}
}

// The end was shown and published with its progress. A result that follows counts its documents
// beside it.
func TestResultAfterTheEndMovesNoProgress(t *testing.T) {
	l := accepted(rules).
		do(time.Second, Event{ID: "e", Status: "succeeded", Progress: &Reading{Completed: 3, Total: 4, Percent: -1}})
	before := l.c.Job.Progress
	l.do(time.Second, Event{
		ID:     "f",
		Status: "succeeded",
		Result: result(t, `{"success":true,"webhook_summary":{"total_sets":9,"succeeded":9}}`),
	})
	if l.v.Kind != Filled || *l.c.Outcome.Documents.Succeeded != 9 || l.c.Job.Progress != before ||
		before != (Progress{4, 4, 100, ""}) {
		t.Errorf("%s: %+v became %+v, with %+v", l.v.Kind, before, l.c.Job.Progress, l.c.Outcome.Documents)
	}
}

// A run has made no document only if that is given, or follows from two counts.
func TestCountThatIsNotGivenIsNotZero(t *testing.T) {
	for summary, want := range map[string]struct {
		reason    Reason
		documents string
	}{
		`{"total_sets":3}`: {ReasonCompleted, `{"total":3,"succeeded":null,"failed":null}`},
		`{"total_sets":3,"succeeded":null,"failed":null}`: {
			ReasonCompleted,
			`{"total":3,"succeeded":null,"failed":null}`,
		},
		`{"failed":3}`:    {ReasonCompleted, `{"total":null,"succeeded":null,"failed":3}`},
		`{"succeeded":0}`: {ReasonCompleted, `{"total":null,"succeeded":0,"failed":null}`},
		`{"total_sets":0,"succeeded":0,"failed":0}`: {ReasonCompleted, `{"total":0,"succeeded":0,"failed":0}`},
		`{"total_sets":3,"succeeded":5}`: {
			ReasonCompleted,
			`{"total":3,"succeeded":5,"failed":null}`,
		},
		`{"total_sets":3,"succeeded":1,"failed":1}`: {ReasonCompleted, `{"total":3,"succeeded":1,"failed":1}`},
		`{"total_sets":3,"failed":1}`:               {ReasonCompleted, `{"total":3,"succeeded":2,"failed":1}`},
		`{"total_sets":3,"failed":3}`: {
			ReasonNoDocuments,
			`{"total":3,"succeeded":0,"failed":3}`,
		},
		`{"total_sets":3,"succeeded":0}`: {
			ReasonNoDocuments,
			`{"total":3,"succeeded":0,"failed":3}`,
		},
		`{"succeeded":0,"failed":3}`: {
			ReasonNoDocuments,
			`{"total":3,"succeeded":0,"failed":3}`,
		},
		`{"total_sets":3,"succeeded":0,"failed":1}`: {
			ReasonNoDocuments,
			`{"total":3,"succeeded":0,"failed":1}`,
		},
		`{"total_sets":3.0,"succeeded":0,"failed":3}`: {
			ReasonNoDocuments,
			`{"total":3,"succeeded":0,"failed":3}`,
		},
		`{"total_sets":"3","succeeded":"0","failed":3e0}`: {
			ReasonNoDocuments,
			`{"total":3,"succeeded":0,"failed":3}`,
		},
		`{"total_sets":3,"succeeded":0,"output_url":false}`: {
			ReasonNoDocuments,
			`{"total":3,"succeeded":0,"failed":3}`,
		},
	} {
		l := accepted(rules).
			do(0, Event{ID: "e", Status: "succeeded", Result: result(t, `{"success":true,"webhook_summary":`+summary+
				`}`)})
		got, err := json.Marshal(l.c.View(l.now, nil, nil).Documents)
		if err != nil || l.c.Outcome.End.Reason != want.reason || string(got) != want.documents {
			t.Errorf("%s: got %s, %s, %v, want %s, %s", summary, l.c.Outcome.End.Reason, got, err, want.reason,
				want.documents)
		}
	}
}

// A report whose result or progress could not be read says so behind its message. A result that
// follows takes its remark away.
func TestMessageSaysWhatWasDropped(t *testing.T) {
	const (
		progress = "the progress could not be read and was dropped"
		res      = "the result could not be read and was dropped"
	)
	both := Dropped{Result: true, Progress: true}
	for name, test := range map[string]struct {
		in   Event
		want string
	}{
		"a success":       {Event{Status: StatusSucceeded, Dropped: Dropped{Result: true}}, res},
		"a success, both": {Event{Status: StatusSucceeded, Dropped: both}, progress + "; " + res},
		"a failure": {
			Event{Status: StatusFailed, Message: "no ink", Dropped: Dropped{Result: true}},
			"no ink; " + res,
		},
		"a failure, no message": {Event{Status: StatusFailed, Dropped: Dropped{Progress: true}}, progress},
		"a failure, nothing":    {Event{Status: StatusFailed}, "the pipeline gave no reason"},
		"a long message": {
			Event{Status: StatusFailed, Message: strings.Repeat("x", 2000), Dropped: Dropped{Result: true}},
			strings.Repeat("x", 1000-len(res)-3) + "…; " + res,
		},
	} {
		test.in.ID = "e"
		l := accepted(rules).do(time.Second, test.in)
		if got := l.c.Outcome.End.Message; got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		if late := accepted(rules).do(0, Cancel{}).do(time.Second, test.in).c.Outcome.Late; late.Message != test.want {
			t.Errorf("%s, late: got %q, want %q", name, late.Message, test.want)
		}
	}
	l := accepted(rules).do(0, Event{ID: "e", Status: StatusSucceeded, Message: "done", Dropped: both})
	l.do(time.Second, Event{ID: "f", Status: StatusSucceeded, Result: result(t, `{}`)})
	if got, want := l.c.Outcome.End.Message, "done; "+progress; got != want || l.v.Kind != Filled {
		t.Errorf("with a result after the end: %s, got %q, want %q", l.v.Kind, got, want)
	}
}

func TestTextOfThePipelineIsCleaned(t *testing.T) {
	l := accepted(rules).
		do(0, CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: 1, Total: 2, Current: "a\x00\n\u202eb"}})
	l.do(0, Event{ID: "e", Status: "failed", Message: "a\x00\r\n\u202eb"})
	if l.c.Job.Progress.Current != "a b" || l.c.Outcome.End.Message != "a b" {
		t.Errorf("%q %q", l.c.Job.Progress.Current, l.c.Outcome.End.Message)
	}
}

// A state that is declared and not listed would be counted and filtered by no reader.
func TestStatesListsEveryState(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "case.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var declared []State
	for n := range ast.Preorder(file) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			continue
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "State" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, State(text))
		}
	}
	if len(declared) == 0 || !slices.Equal(States(), declared) {
		t.Errorf("States is %v, declared are %v", States(), declared)
	}
}
