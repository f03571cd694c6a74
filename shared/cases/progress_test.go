package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// TestPercentIs100OnlyOfASuccess: while a run is open, and after any other end, it is at most 99.9.
func TestPercentIs100OnlyOfASuccess(t *testing.T) {
	part := func(completed, total int, percent float64, status Status) CheckOutcome {
		return CheckOutcome{Kind: CheckReading, Reading: Reading{Completed: completed, Total: total, Percent: percent, Status: status}}
	}
	for name, x := range map[string]struct {
		in   []Input
		want Progress
	}{
		"2,499 of 2,500":       {[]Input{part(2499, 2500, -1, "")}, Progress{2499, 2500, 99.9, ""}},
		"it says 100":          {[]Input{part(1, 4, 100, "")}, Progress{1, 4, 99.9, ""}},
		"it says 99.96":        {[]Input{part(1, 4, 99.96, "")}, Progress{1, 4, 99.9, ""}},
		"it says 250":          {[]Input{part(1, 4, 250, "")}, Progress{1, 4, 99.9, ""}},
		"3 of 3, and it runs":  {[]Input{part(3, 3, -1, "running")}, Progress{3, 3, 99.9, ""}},
		"3 of 3, in the grace": {[]Input{part(3, 3, -1, "")}, Progress{3, 3, 99.9, ""}},
		"an event of 3 of 3":   {[]Input{running("e", &Reading{Completed: 3, Total: 3, Percent: -1})}, Progress{3, 3, 99.9, ""}},
		"total grows":          {[]Input{part(3, 3, -1, ""), part(3, 6, -1, ""), part(4, 60, -1, "")}, Progress{4, 60, 99.9, ""}},
		"4 of 4, failed":       {[]Input{part(4, 4, 100, "failed")}, Progress{4, 4, 99.9, ""}},
		"3 of 4, failed":       {[]Input{part(3, 4, -1, ""), Event{ID: "e", Status: "failed"}}, Progress{3, 4, 75, ""}},
		"3 of 4, cancelled":    {[]Input{part(3, 4, -1, ""), Cancel{}}, Progress{3, 4, 75, ""}},
		"every one failed":     {[]Input{Event{ID: "e", Status: "succeeded", Result: result(t, `{"webhook_summary":{"total_sets":4,"succeeded":0,"failed":4}}`)}}, Progress{}},

		"succeeded without counts":    {[]Input{Event{ID: "e", Status: "succeeded"}}, Progress{0, 0, 100, ""}},
		"1 of 100, then succeeded":    {[]Input{part(1, 100, -1, ""), Event{ID: "e", Status: "succeeded"}}, Progress{100, 100, 100, ""}},
		"its status says succeeded":   {[]Input{part(17, 18, -1, "succeeded")}, Progress{18, 18, 100, ""}},
		"7 of nobody knows":           {[]Input{part(7, 0, -1, "running"), Event{ID: "e", Status: "succeeded"}}, Progress{7, 7, 100, ""}},
		"more documents than counted": {[]Input{part(3, 4, -1, ""), Event{ID: "e", Status: "succeeded", Result: result(t, `{"webhook_summary":{"total_sets":9,"succeeded":8,"failed":1}}`)}}, Progress{9, 9, 100, ""}},
		"fewer documents":             {[]Input{part(3, 4, -1, ""), Event{ID: "e", Status: "succeeded", Result: result(t, `{"webhook_summary":{"total_sets":2,"succeeded":2}}`)}}, Progress{4, 4, 100, ""}},
		"only documents are counted":  {[]Input{Event{ID: "e", Status: "succeeded", Result: result(t, `{"webhook_summary":{"total_sets":2,"succeeded":2}}`)}}, Progress{2, 2, 100, ""}},
		"the grace ends it":           {[]Input{part(3, 3, -1, ""), CheckOutcome{Kind: CheckSkipped}}, Progress{3, 3, 100, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			l := accepted(rules)
			for _, in := range x.in {
				before := l.c
				l.do(time.Minute, in)
				checkInvariants(t, l.r, before, l.c, l.v)
			}
			if l.c.Job.Progress != x.want {
				t.Errorf("%s: %+v, want %+v", l.c.State, l.c.Job.Progress, x.want)
			}
		})
	}
}

// TestResultAfterTheEndMovesNothing: the end was shown and published with its progress. A result that comes later counts its documents beside it.
func TestResultAfterTheEndMovesNothing(t *testing.T) {
	l := accepted(rules).do(time.Second, Event{ID: "e", Status: "succeeded", Progress: &Reading{Completed: 3, Total: 4, Percent: -1}})
	before := l.c.Job.Progress
	l.do(time.Second, Event{ID: "f", Status: "succeeded", Result: result(t, `{"success":true,"webhook_summary":{"total_sets":9,"succeeded":9}}`)})
	if l.v.Kind != Filled || *l.c.Outcome.Documents.Succeeded != 9 || l.c.Job.Progress != before || before != (Progress{4, 4, 100, ""}) {
		t.Errorf("%s: %+v became %+v, with %+v", l.v.Kind, before, l.c.Job.Progress, l.c.Outcome.Documents)
	}
}

// TestNoEstimateWhileStalled: a run that does not move tells nothing of when it ends.
func TestNoEstimateWhileStalled(t *testing.T) {
	l := accepted(rules).read(10*time.Second, 1, 4)
	if l.c.View(l.now, nil, nil).ETASeconds == nil {
		t.Fatal("no estimate while it moves")
	}
	l.read(rules.StallAfter, 1, 4)
	if v := l.c.View(l.now, nil, nil); !v.Stalled || v.ETASeconds != nil {
		t.Errorf("stalled %v, and it takes %v s", v.Stalled, *v.ETASeconds)
	}
	if l.read(time.Second, 2, 4); l.c.View(l.now, nil, nil).ETASeconds == nil {
		t.Error("no estimate when it moves again")
	}
}
