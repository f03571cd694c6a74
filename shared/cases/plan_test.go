package cases_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
)

func TestNextCheckIsPlanned(t *testing.T) {
	// A five-minute job, checked whenever due: few polls, dense at the end.
	l := accepted(rules)
	start, n := l.now, 0
	for !l.c.State.Ended() {
		l.now = l.c.Checks.NextAt
		done := int(l.now.Sub(start) * 50 / (5 * time.Minute))
		if done >= 50 {
			break
		}
		l.read(0, done, 50)
		if wait := l.c.Checks.NextAt.Sub(l.now); wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval {
			t.Fatalf("waits %v", wait)
		}
		n++
	}
	if lag := l.now.Sub(start.Add(5 * time.Minute)); n > 25 || lag > 3*time.Second {
		t.Errorf("%d polls, seen %v after its end", n, lag)
	}
	// Backing off spreads by jitter, within bounds.
	for _, jitter := range []float64{0, 0.5, 0.999} {
		l := accepted(rules)
		for range 20 {
			l.now = l.c.Checks.NextAt
			l.c, l.v = rules.Apply(l.c, CheckOutcome{Seq: l.c.Checks.Seq, Kind: CheckFailed}, l.now, jitter)
			if wait := l.c.Checks.NextAt.Sub(l.now); wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval {
				t.Fatalf("waits %v", wait)
			}
		}
	}
	// An instance whose clock is behind does not take every check for one that is due immediately.
	for name, found := range map[string]CheckOutcome{
		"work":               {Kind: CheckReading, Reading: Reading{Completed: 3, Total: 50}},
		"all but the report": {Kind: CheckReading, Reading: Reading{Completed: 50, Total: 50}},
		"nothing to see":     {Kind: CheckFailed},
	} {
		l, behind, checks := accepted(rules), 20*time.Second, 0
		for end := l.now.Add(2 * time.Minute); l.now.Before(end) && !l.c.State.Ended(); checks++ {
			l.now = later(l.c.Checks.NextAt, l.now.Add(100*time.Millisecond)) // the queue's clock is right
			found.Seq = l.c.Checks.Seq
			l.c, l.v = rules.Apply(l.c, found, l.now.Add(-behind), 0.5)
		}
		if limit := int((behind + 2*time.Minute) / rules.CheckMinInterval); checks > limit {
			t.Errorf("%s: %d checks in two minutes", name, checks)
		}
	}
	// Never past the deadline.
	l = &life{r: rules, now: epoch}
	l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Second})
	if !l.c.Checks.NextAt.Equal(l.c.DeadlineAt) {
		t.Error(l.c.Checks.NextAt)
	}
}

// When all is counted and the status says running, the end may be reported at any time: polls begin
// close together.
func TestPollsForAReportGetFartherApart(t *testing.T) {
	l := accepted(rules).read(10*time.Second, 4, 4)
	if at := l.c.Checks.NextAt; !at.Equal(l.c.Job.CompleteSince.Add(rules.CompletionGrace)) {
		t.Errorf("without a status the next poll is at %v", at)
	}
	l = accepted(rules)
	var waits []time.Duration
	for range 12 {
		l.do(max(0, l.c.Checks.NextAt.Sub(l.now)), shows(4, 4, "running"))
		waits = append(waits, l.c.Checks.NextAt.Sub(l.now))
	}
	if first, last := waits[0], waits[len(waits)-1]; first != rules.CheckMinInterval || last != rules.CheckMaxInterval {
		t.Errorf("waits %v", waits)
	}
	if l.c.State != Running || !l.c.Job.CompleteSince.IsZero() {
		t.Errorf("%s", dump(l.c))
	}
	l.do(time.Second, shows(4, 4, "succeeded"))
	if l.want(t, Succeeded, ReasonCompleted, SourceCheck); !l.c.Outcome.Reported {
		t.Error("its own report is not taken for one")
	}
}

// The next check comes when the pipeline asked for it, or at what ends the run without a poll,
// whichever is first.
func TestBusyPollPutsTheNextCheckOff(t *testing.T) {
	for name, x := range map[string]struct {
		l     *life
		after time.Duration
		want  time.Duration // until the next check; 0: by the usual schedule
	}{
		"longer than the longest interval":   {accepted(rules), 7 * time.Minute, 7 * time.Minute},
		"as a fraction":                      {accepted(rules), 7500 * time.Millisecond, 7500 * time.Millisecond},
		"shorter than the shortest interval": {accepted(rules), time.Second, rules.CheckMinInterval},
		"beyond the deadline":                {accepted(rules), 3 * time.Hour, time.Hour - 2*time.Second},
		"none":                               {accepted(rules), 0, 0},
		"while nothing can be read":          {accepted(rules).do(0, failed).do(0, failed), time.Minute, time.Minute},
		"while it is unknown":                {accepted(rules).do(0, unknown), 20 * time.Minute, 20 * time.Minute},
		"after a succeeded event": {
			begin(rules, nil).inFlight().do(0, Event{ID: "e", Status: "succeeded"}),
			time.Minute,
			rules.CompletionGrace - time.Second,
		},
		"somebody follows it": {accepted(rules).do(0, Viewed{}), time.Minute, time.Minute},
	} {
		l := x.l
		l.do(l.c.Checks.NextAt.Sub(l.now), busy(x.after)) // when it is due
		wait := l.c.Checks.NextAt.Sub(l.now)
		if x.want != 0 && wait != x.want {
			t.Errorf("%s: the next check is in %v, want %v", name, wait, x.want)
		}
		if x.want == 0 && (wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval) {
			t.Errorf("%s: the next check is in %v", name, wait)
		}
		if asked := l.c.Checks.NextAt.Sub(l.now) >= x.after; asked && x.after > 10*time.Second {
			seq := l.c.Checks.Seq
			for range 5 {
				l.do(time.Second, Viewed{CheckPending: true})
			}
			if l.c.Checks.Seq != seq {
				t.Errorf("%s: a viewer brought it forward", name)
			}
			if l.r.AcceptsViewer(l.c, l.now) {
				t.Errorf("%s: a viewer would write without effect", name)
			}
		}
	}
	// Once it is answered again, all is as before.
	l := accepted(rules).do(time.Second, busy(time.Minute)).read(time.Minute, 1, 40)
	if wait := l.c.Checks.NextAt.Sub(l.now); wait > rules.CheckMaxInterval {
		t.Errorf("waits %v after an answer", wait)
	}
	if !l.r.AcceptsViewer(l.c, l.now) {
		t.Error("a viewer has no effect after an answer")
	}
	// The check at the end of a completion grace polls nothing; by a clock that is behind it may,
	// and is then followed by one that does not.
	l = accepted(rules).read(0, 4, 4)
	over := l.c.Checks.NextAt
	if l.do(over.Sub(l.now)-time.Second, busy(time.Minute)); l.c.State.Ended() ||
		!l.c.Checks.NextAt.Equal(over.Add(rules.CheckMinInterval)) {
		t.Errorf("the next check is %v after the grace", l.c.Checks.NextAt.Sub(over))
	}
	if rules.ShouldPoll(l.c, over.Add(-time.Second)) {
		t.Error("by a clock that is behind it is polled before the time that it named")
	}
	if l.do(0, CheckOutcome{Kind: CheckSkipped}); l.c.Checks.BusyUntil.IsZero() || l.poll(busy(0), time.Minute) > 0 {
		t.Errorf("a check that polls nothing forgets the time: %s", dump(l.c))
	}
	l.want(t, Succeeded, ReasonCompleted, SourceCheck)
	// A clock that is behind does not poll before the time.
	l = accepted(rules)
	due := l.c.Checks.NextAt
	l.now = due.Add(-20 * time.Second)
	if l.do(0, busy(time.Minute)); l.c.Checks.NextAt.Before(due.Add(time.Minute)) {
		t.Errorf("the next check is %v after the last was due", l.c.Checks.NextAt.Sub(due))
	}
}

func TestWhySaysWhatACheckWaitsFor(t *testing.T) {
	// 10 runs took 4 s, 30 took 4.8 s.
	past := schedule.DurationStats{
		Version: 40, BySize: map[int]schedule.Histogram{3: {From: 16, Counts: []int{10, 0, 30}}},
	}
	began := func() *life {
		l := &life{r: rules, now: epoch}
		l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Hour, Earlier: &past})
		return l
	}
	for name, x := range map[string]struct {
		l    *life
		want string
	}{
		"nothing sent": {
			began(),
			`{"awaits":"dispatch","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`,
		},
		"sent": {
			began().inFlight(),
			`{"awaits":"end","runs":40,"longer":40,"end_at":null,"give_or_take_seconds":0}`,
		},
		"longer than some": {
			began().inFlight().read(4500*time.Millisecond, 0, 4),
			`{"awaits":"end","runs":40,"longer":30,"end_at":null,"give_or_take_seconds":0}`,
		},
		"with progress": {
			began().inFlight().read(4500*time.Millisecond, 1, 4),
			`{"awaits":"end","runs":40,"longer":30,"end_at":"2026-01-02T03:04:18Z","give_or_take_seconds":3.9}`,
		},
		"no earlier run": {
			accepted(rules),
			`{"awaits":"end","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`,
		},
		"somebody follows it": {
			far().do(0, Viewed{CheckPending: true}),
			`{"awaits":"progress","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`,
		},
		"nobody follows it any more": {
			accepted(rules).do(time.Second, Viewed{}).read(time.Minute, 0, 4),
			`{"awaits":"end","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`,
		},
		"all counted": {
			accepted(rules).read(5*time.Second, 4, 4),
			`{"awaits":"result","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`,
		},
		"counted, and running": {
			accepted(rules).do(5*time.Second, shows(4, 4, "running")),
			`{"awaits":"report","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`,
		},
		"the pipeline is busy": {
			accepted(rules).do(5*time.Second, busy(time.Minute)).do(time.Second, Viewed{}),
			`{"awaits":"busy","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`,
		},
		"the pipeline is down": {
			accepted(rules).do(5*time.Second, failed),
			`{"awaits":"pipeline","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`,
		},
		"the job is not known": {
			accepted(rules).do(5*time.Second, unknown),
			`{"awaits":"sign","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`,
		},
		"it has ended": {accepted(rules).do(5*time.Second, Cancel{}), `null`},
	} {
		got, err := json.Marshal(rules.Why(x.l.c))
		if err != nil || string(got) != x.want {
			t.Errorf("%s:\n%s, want\n%s (%v)", name, got, x.want, err)
		}
	}
}

// Once the number of its documents is known, a run keeps only the statistics of its size class.
func TestRunKeepsStatisticsOfItsSize(t *testing.T) {
	p := schedule.DurationStats{BySize: map[int]schedule.Histogram{
		5: {From: 34, Counts: []int{20}},
		8: {From: 60, Counts: []int{12}},
	}}
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

// What a store gives back, whatever it is, breaks neither the rules nor what is learned next.
func FuzzDurationStats(f *testing.F) {
	f.Add([]byte(`{"version":20,"by_size":{"5":{"from":34,"n":[20]},"0":{"from":0,"n":[1,2]}},
		"found_by_poll":20,"error_sum":3.5,"error_count":9}`), 12)
	f.Add([]byte(`{"by_size":{"-1":{"from":-5,"n":[-3,9]},"99":{"from":1000000000000,"n":[1]},
		"4":{"from":9223372036854775807,"n":[1]}},
		"found_by_poll":-1,"reported":-7,"error_sum":-1e300,"error_count":-2}`), 0)
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
		// A check that comes too early counts from when it was due.
		l.read(l.c.Checks.NextAt.Sub(l.now), 3, max(4, documents&1023))
		if wait := l.c.Checks.NextAt.Sub(l.now); wait < rules.CheckMinInterval || wait > rules.CheckMaxInterval {
			t.Errorf("waits %v", wait)
		}
		l.do(time.Second, Event{ID: "e", Status: "succeeded"})
		if sample, ok := l.c.DurationSample(0); ok {
			p.With(sample, l.now, 0.5)
		}
	})
}

// A sample says between which times a run ended, and who found that.
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
			run(func(c *Case) { c.Job.Reading, c.Job.MovedAt = &Reading{Completed: 4, Total: 4}, at(40) }),
			sample(32, 40, true),
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
