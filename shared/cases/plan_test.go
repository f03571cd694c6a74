package cases_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
)

func TestWhy(t *testing.T) {
	past := schedule.DurationStats{Version: 40, BySize: map[int]schedule.Histogram{3: {From: 16, Counts: []int{10, 0, 30}}}} // 10 took 4 s, 30 took 4.8 s
	began := func() *life {
		l := &life{r: rules, now: epoch}
		l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Hour, Earlier: &past})
		return l
	}
	for name, x := range map[string]struct {
		l    *life
		want string
	}{
		"nothing sent":         {began(), `{"awaits":"dispatch","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"sent":                 {began().inFlight(), `{"awaits":"end","runs":40,"longer":40,"end_at":null,"give_or_take_seconds":0}`},
		"longer than some":     {began().inFlight().read(4500*time.Millisecond, 0, 4), `{"awaits":"end","runs":40,"longer":30,"end_at":null,"give_or_take_seconds":0}`},
		"with progress":        {began().inFlight().read(4500*time.Millisecond, 1, 4), `{"awaits":"end","runs":40,"longer":30,"end_at":"2026-01-02T03:04:18Z","give_or_take_seconds":3.9}`},
		"nobody before":        {accepted(rules), `{"awaits":"end","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"somebody watches":     {far().do(0, Viewed{CheckPending: true}), `{"awaits":"progress","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"nobody does any more": {accepted(rules).do(time.Second, Viewed{}).read(time.Minute, 0, 4), `{"awaits":"end","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"all counted":          {accepted(rules).read(5*time.Second, 4, 4), `{"awaits":"result","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"counted, and running": {accepted(rules).do(5*time.Second, shows(4, 4, "running")), `{"awaits":"report","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"the pipeline is busy": {accepted(rules).do(5*time.Second, busy(time.Minute)).do(time.Second, Viewed{}), `{"awaits":"busy","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"the pipeline is down": {accepted(rules).do(5*time.Second, failed), `{"awaits":"pipeline","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"the job is not known": {accepted(rules).do(5*time.Second, unknown), `{"awaits":"sign","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"it has ended":         {accepted(rules).do(5*time.Second, Cancel{}), `null`},
	} {
		got, err := json.Marshal(rules.Why(x.l.c))
		if err != nil || string(got) != x.want {
			t.Errorf("%s:\n%s, want\n%s (%v)", name, got, x.want, err)
		}
	}
}

// Once its documents are known a run keeps of the past only what is of its kind.
func TestRunKeepsItsKind(t *testing.T) {
	p := schedule.DurationStats{BySize: map[int]schedule.Histogram{5: {From: 34, Counts: []int{20}}, 8: {From: 60, Counts: []int{12}}}}
	l := &life{r: rules, now: epoch}
	l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Hour, Earlier: &p})
	if len(l.c.Durations.Earlier.BySize) != 2 {
		t.Errorf("%+v", l.c.Durations.Earlier)
	}
	l.inFlight().read(5*time.Second, 0, 200)
	if got := l.c.Durations.Earlier.BySize; len(got) != 1 || got[8].Runs() != 12 || len(p.BySize) != 2 {
		t.Errorf("goes by %+v", got)
	}
}

// FuzzDurationStats: what a store gives back, whatever it is, neither breaks the rules nor what is learned next.
func FuzzDurationStats(f *testing.F) {
	f.Add([]byte(`{"version":20,"by_size":{"5":{"from":34,"n":[20]},"0":{"from":0,"n":[1,2]}},"found_by_poll":20,"error_sum":3.5,"error_count":9}`), 12)
	f.Add([]byte(`{"by_size":{"-1":{"from":-5,"n":[-3,9]},"99":{"from":1000000000000,"n":[1]},"4":{"from":9223372036854775807,"n":[1]}},"found_by_poll":-1,"reported":-7,"error_sum":-1e300,"error_count":-2}`), 0)
	f.Fuzz(func(t *testing.T, data []byte, documents int) {
		var p schedule.DurationStats
		if json.Unmarshal(data, &p) != nil {
			return
		}
		l := &life{r: rules, now: epoch}
		l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Hour, Earlier: &p})
		if wait := l.c.Checks.NextAt.Sub(l.now); wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval {
			t.Errorf("waits %v with the first check", wait)
		}
		l.inFlight()
		l.read(l.c.Checks.NextAt.Sub(l.now), 3, max(4, documents&1023)) // a check that comes too early counts from when it was due
		if wait := l.c.Checks.NextAt.Sub(l.now); wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval {
			t.Errorf("waits %v", wait)
		}
		l.do(time.Second, Event{ID: "e", Status: "succeeded"})
		if sample, ok := l.c.DurationSample(0); ok {
			p.With(sample, l.now, 0.5)
		}
	})
}

// What a run tells later ones: between which times it ended, and who found that.
func TestDurationSample(t *testing.T) {
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	run := func(change func(*Case)) Case {
		c := Case{
			State:     Succeeded,
			Job:       Job{StartedAt: epoch, Progress: Progress{Total: 4}},
			Outcome:   Outcome{EndedAt: at(64), End: &End{Reason: ReasonCompleted, Source: SourceCheck}},
			Durations: Durations{UndoneAt: at(32)},
		}
		change(&c)
		return c
	}
	by := func(source Source) func(*Case) {
		return func(c *Case) { c.Outcome.End = &End{Reason: ReasonCompleted, Source: source} }
	}
	sample := func(first, last int, polled bool) schedule.Sample {
		return schedule.Sample{Documents: 4, StartedAt: epoch, First: at(first), Last: at(last), FoundByPoll: polled}
	}
	for name, test := range map[string]struct {
		c    Case
		want schedule.Sample
	}{
		"found by a check":        {run(func(*Case) {}), sample(32, 64, true)},
		"found by the only check": {run(func(c *Case) { c.Durations.UndoneAt = time.Time{} }), sample(0, 64, true)},
		"found at the deadline":   {run(by(SourceDeadline)), sample(32, 64, true)},
		"found by the sweep":      {run(by(SourceSweep)), sample(32, 64, true)},
		"reported by an event":    {run(by(SourceEvent)), sample(64, 64, false)},
		"ended by the grace":      {run(func(c *Case) { c.Job.CompleteSince = at(34) }), sample(32, 34, true)},
		"complete before its report": {
			run(func(c *Case) { c.Job.Reading, c.Job.MovedAt = &Reading{Completed: 4, Total: 4}, at(40) }), sample(32, 40, true),
		},
		"it failed, as the answer said": {
			run(func(c *Case) {
				c.State, c.Outcome.End = Failed, &End{Reason: ReasonPipelineFailed, Source: SourceDispatch}
			}), sample(64, 64, false),
		},
	} {
		got, ok := test.c.DurationSample(0)
		if diff := cmp.Diff(test.want, got); !ok || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, ok, diff)
		}
	}
	many := schedule.DurationStats{BySize: map[int]schedule.Histogram{3: {Counts: []int{256}}}}
	for name, c := range map[string]Case{
		"cancelled":     run(func(c *Case) { c.State = Cancelled }),
		"timed out":     run(func(c *Case) { c.State = TimedOut }),
		"lost":          run(func(c *Case) { c.State, c.Outcome.End = Failed, &End{Reason: ReasonPipelineLost} }),
		"adopted":       run(func(c *Case) { c.Adopted = true }),
		"never started": run(func(c *Case) { c.Job.StartedAt = time.Time{} }),
		"one of many":   run(func(c *Case) { c.Durations.Earlier = &many }),
	} {
		if got, ok := c.DurationSample(0.9); ok {
			t.Errorf("a run that was %s tells %+v, want nothing", name, got)
		}
	}
}
