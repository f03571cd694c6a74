package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// An event that names no run can be about one only if the pipeline was asked for it, or works on it
// anyhow, and not if it was published before the run began.
func TestRunThatAnEventMayBeAbout(t *testing.T) {
	notTaken := begin(rules, nil).inFlight().outcome(DispatchBusy)
	for name, test := range map[string]struct {
		l    *life
		want bool
	}{
		"queued":    {begin(rules, nil), false},
		"not taken": {notTaken, false},
		"in flight": {begin(rules, nil).inFlight(), true},
		"accepted":  {accepted(rules), true},
		"ended":     {accepted(rules).do(time.Second, Cancel{}), true},
		"adopted":   {adopt(), true},
	} {
		if got := test.l.c.MayOwn(test.l.now); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
		if got := test.l.c.OwnsUnattributed(test.l.now); got != test.want {
			t.Errorf("%s, an event without a run: got %v, want %v", name, got, test.want)
		}
		if test.l.c.MayOwn(test.l.c.CreatedAt.Add(-time.Millisecond)) {
			t.Errorf("%s: it owns an event from before it began", name)
		}
	}
}

// A run that was refused by its only attempt has nothing more to report: the next one owns events
// without a run. An attempt before that may have arrived, may report.
func TestRefusedRunReportsNothingMore(t *testing.T) {
	once := begin(rules, nil).inFlight().outcome(DispatchRefused)
	once.want(t, Failed, ReasonPipelineRefused, SourceDispatch)
	twice := begin(idempotent, nil).inFlight().outcome(DispatchUncertain)
	twice.poll(unknown, rules.StartGrace+10*time.Second)
	twice.inFlight().outcome(DispatchRefused).want(t, Failed, ReasonPipelineRefused, SourceDispatch)
	for name, test := range map[string]struct {
		prior *life
		want  bool
	}{
		"refused":                          {once, true},
		"refused after an uncertain start": {twice, false},
	} {
		l := begin(rules, &test.prior.c).inFlight()
		if got := l.c.OwnsUnattributed(l.now); got != test.want {
			t.Errorf("after a run that was %s: got %v, want %v", name, got, test.want)
		}
	}
}
