package cases_test

import (
	"encoding/json"
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// Once its documents are known a run keeps of the past only what is of its kind.
func TestRunKeepsItsKind(t *testing.T) {
	p := DurationStats{ByKind: map[int]Histogram{5: {From: 34, Counts: []int{20}}, 8: {From: 60, Counts: []int{12}}}}
	l := &life{r: rules, now: epoch}
	l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Hour, Earlier: &p})
	if len(l.c.Durations.Earlier.ByKind) != 2 {
		t.Errorf("%+v", l.c.Durations.Earlier)
	}
	l.inFlight().read(5*time.Second, 0, 200)
	if got := l.c.Durations.Earlier.ByKind; len(got) != 1 || got[8].Runs() != 12 || len(p.ByKind) != 2 {
		t.Errorf("goes by %+v", got)
	}
}

// FuzzPast: what a store gives back, whatever it is, neither breaks the rules nor what is learned next.
func FuzzDurationStats(f *testing.F) {
	f.Add([]byte(`{"version":20,"lengths":{"5":{"from":34,"n":[20]},"0":{"from":0,"n":[1,2]}},"found":20,"missed":3.5,"estimates":9}`), 12)
	f.Add([]byte(`{"lengths":{"-1":{"from":-5,"n":[-3,9]},"99":{"from":1000000000000,"n":[1]},"4":{"from":9223372036854775807,"n":[1]}},"found":-1,"told":-7,"missed":-1e300,"estimates":-2}`), 0)
	f.Fuzz(func(t *testing.T, data []byte, documents int) {
		var p DurationStats
		if json.Unmarshal(data, &p) != nil {
			return
		}
		l := &life{r: rules, now: epoch}
		l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Hour, Earlier: &p})
		if wait := l.c.Checks.NextAt.Sub(l.now); wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval {
			t.Errorf("waits %v with the first look", wait)
		}
		l.inFlight()
		l.read(l.c.Checks.NextAt.Sub(l.now), 3, max(4, documents&1023)) // a look that comes too early counts from when it was due
		if wait := l.c.Checks.NextAt.Sub(l.now); wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval {
			t.Errorf("waits %v", wait)
		}
		l.do(time.Second, Event{ID: "e", Status: "succeeded"})
		p.With(l.c, l.now, 0.5)
	})
}
