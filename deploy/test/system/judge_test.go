package system_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// TestViewerIsNotFooled shows a viewer what no viewer may be shown.
func TestViewerIsNotFooled(t *testing.T) {
	event := func(name, id string, current int) string {
		return fmt.Sprintf("event: %s\nid: %s\ndata: {\"jobId\":\"c\",\"case_id\":\"c\",\"run\":%s,\"current\":%d,\"state\":\"failed\",\"code\":\"pipeline_failed\"}\n\n", name, id, id[:1], current)
	}
	at := time.Now()
	succeeded := cases.View{CaseID: "c", Run: 1, State: cases.Succeeded, EndedAt: &at, End: &cases.End{Reason: cases.ReasonCompleted}}
	failed := cases.View{CaseID: "c", Run: 1, State: cases.Failed, EndedAt: &at, End: &cases.End{Reason: cases.ReasonPipelineFailed}}
	lost := failed
	lost.End = &cases.End{Reason: cases.ReasonPipelineLost}
	for _, test := range []struct {
		name    string
		streams []string // one for each time that it comes; then 204
		end     cases.View
		wrong   string // part of what it says
	}{
		{"all is well", []string{event("progress", "1.2", 1), event("progress", "1.3", 2) + event("complete", "1.5", 2)}, succeeded, ""},
		{"a rerun goes on", []string{event("progress", "1.9", 3) + event("progress", "2.1", 0) + event("error", "2.2", 0)},
			cases.View{CaseID: "c", Run: 2, State: cases.Failed, EndedAt: &at, End: failed.End}, ""},
		{"progress goes back", []string{event("progress", "1.2", 2) + event("progress", "1.3", 1) + event("complete", "1.5", 2)}, succeeded, "goes back"},
		{"an event comes twice", []string{event("progress", "1.2", 1), event("progress", "1.2", 1) + event("complete", "1.5", 2)}, succeeded, "1.2 after 1.2"},
		{"a run before comes back", []string{event("progress", "2.2", 1) + event("progress", "1.9", 1)}, succeeded, "1.9 after 2.2"},
		{"two ends", []string{event("complete", "1.5", 2), event("complete", "1.6", 2)}, succeeded, "after its end"},
		{"no end", []string{event("progress", "1.2", 1)}, succeeded, "want that of run 1"},
		{"another end", []string{event("complete", "1.5", 2)}, failed, "was shown"},
		{"another reason", []string{event("error", "1.5", 2)}, lost, "was shown"},
		{"an end that nobody else saw", []string{event("error", "1.5", 2)}, cases.View{CaseID: "c", Run: 1}, "was shown"},
		{"never told to stop", []string{event("complete", "1.5", 2), "500"}, succeeded, "told to stop: false"},
		{"another case", []string{strings.ReplaceAll(event("complete", "1.5", 2), `"c"`, `"d"`)}, succeeded, "it is shown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			visits := 0 // one connection at a time
			s := &system{fleet: &fleet{t: t}}
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				visits++
				w.Header().Set("X-Instance", "1")
				switch {
				case visits > len(test.streams):
					w.WriteHeader(http.StatusNoContent)
				case test.streams[visits-1] == "500":
					w.WriteHeader(http.StatusInternalServerError)
				default:
					w.Header().Set("Content-Type", "text/event-stream")
					fmt.Fprint(w, "retry: 1\n\n"+test.streams[visits-1])
				}
			})
			got := s.watch(run{ID: "c", Run: 1, StatusURL: url}).misled(test.end)
			if (got == "") != (test.wrong == "") || !strings.Contains(got, test.wrong) {
				t.Errorf("it says %q, want %q", got, test.wrong)
			}
		})
	}
}

// TestSameEnd holds the judge to what of an end may change: only that a missing result is filled in.
func TestSameEnd(t *testing.T) {
	at, later := time.Now(), time.Now().Add(time.Second)
	full := json.RawMessage(`{"success":true}`)
	end := func(change func(v *cases.View)) cases.View {
		v := cases.View{State: cases.Succeeded, EndedAt: &at, End: &cases.End{Reason: cases.ReasonCompleted, Source: cases.SourceEvent}, Result: full, Documents: &cases.Documents{Total: new(1), Succeeded: new(1), Failed: new(0)}}
		if change != nil {
			change(&v)
		}
		return v
	}
	missing := end(func(v *cases.View) {
		v.Result, v.Documents, v.End = json.RawMessage("null"), nil, &cases.End{Reason: cases.ReasonCompleted, Source: cases.SourceEvent, Message: "without a result"}
	})
	for name, test := range map[string]struct {
		before, now cases.View
		want        bool
	}{
		"the same":          {end(nil), end(nil), true},
		"filled in":         {missing, end(nil), true},
		"another state":     {end(nil), end(func(v *cases.View) { v.State = cases.Failed }), false},
		"another reason":    {end(nil), end(func(v *cases.View) { v.End.Reason = cases.ReasonDeadline }), false},
		"another source":    {end(nil), end(func(v *cases.View) { v.End.Source = cases.SourceCheck }), false},
		"another time":      {end(nil), end(func(v *cases.View) { v.EndedAt = &later }), false},
		"more progress":     {end(nil), end(func(v *cases.View) { v.Progress.Completed++ }), false},
		"another result":    {end(nil), end(func(v *cases.View) { v.Result = json.RawMessage(`{}`) }), false},
		"the result gone":   {end(nil), missing, false},
		"another message":   {end(nil), end(func(v *cases.View) { v.End.Message = "else" }), false},
		"a message alone":   {missing, end(func(v *cases.View) { v.Result = missing.Result }), false},
		"other documents":   {end(nil), end(func(v *cases.View) { v.Documents = nil }), false},
		"filled, not ended": {missing, end(func(v *cases.View) { v.End = nil }), false},
	} {
		if got := sameEnd(test.before, test.now); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
