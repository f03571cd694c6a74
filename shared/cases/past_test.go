package cases

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHistogram(t *testing.T) {
	for length, want := range map[time.Duration]int{
		-time.Second: 0, 0: 0, time.Second: 0, 2 * time.Second: 8, 4 * time.Second: 16, time.Minute: 47, time.Hour: 94, 1000 * time.Hour: 135,
	} {
		if got := bucket(length); got != want {
			t.Errorf("%v is in bucket %d, not %d", length, got, want)
		}
	}
	a, b := Histogram{3, []int{1, 2}}, Histogram{6, []int{4}}
	want := Histogram{3, []int{1, 2, 0, 4}}
	if diff := cmp.Diff(want, a.Merge(b)) + cmp.Diff(want, b.Merge(a)) + cmp.Diff(a, a.Merge(Histogram{})) + cmp.Diff(a, (Histogram{}).Merge(a)); diff != "" {
		t.Error(diff)
	}
	if got := (Histogram{3, []int{1, 2, 0, 4, 1}}).halved(); !cmp.Equal(got, Histogram{4, []int{1, 0, 2}}) {
		t.Errorf("%+v", got)
	}
	if n := (Histogram{8, []int{3, 4, 5}}).ended(2400 * time.Millisecond); n != 7 { // 2.38 s is where the third bucket begins
		t.Errorf("%d had ended", n)
	}
}

// What is kept is small, however many runs it has learned from, and however they scatter; and old ones fade.
func TestDurationStatsAreSmall(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var p DurationStats
	now := epoch
	for range 20000 {
		now = now.Add(48 * time.Hour)
		length := time.Duration(math.Exp(r.NormFloat64()*0.8+3) * float64(time.Second))
		c := Case{
			State:     Succeeded,
			Job:       Job{StartedAt: now.Add(-length), Progress: Progress{Total: 1 << r.IntN(12)}},
			Outcome:   Outcome{EndedAt: now, End: &End{Reason: ReasonCompleted, Source: SourceCheck}},
			Durations: Durations{UndoneAt: now.Add(-length / 4), Estimate: Estimate{EndAt: now.Add(-time.Second), Deviation: time.Second}},
		}
		p, _ = p.With(c, now, r.Float64())
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.ByKind) != maxKind || len(data) > 2500 {
		t.Errorf("%d kinds in %d bytes", len(p.ByKind), len(data))
	}
	for kind, l := range p.ByKind {
		if n := l.Runs(); n > maxRuns || n < maxRuns/4 {
			t.Errorf("kind %d has %d runs", kind, n)
		}
	}
	one, err := json.Marshal(p.of(52))
	if err != nil || len(one) > 400 {
		t.Errorf("a run keeps %d bytes of it: %s", len(one), one)
	}
	if p.Found > maxRuns || p.Estimates > maxRuns {
		t.Errorf("%+v", p)
	}
}

func TestKinds(t *testing.T) {
	p := statsOf(20, 30, func() time.Duration { return 20 * time.Second })
	p.ByKind[kindOf(3)] = Histogram{bucket(3 * time.Second), []int{enoughRuns - 1}}
	p.ByKind[kindOf(200)] = Histogram{bucket(200 * time.Second), []int{enoughRuns}}
	for documents, runs := range map[int]int{30: 20, 16: 20, 31: 20, 3: 20 + 2*enoughRuns - 1, 200: enoughRuns, 1000: 20 + 2*enoughRuns - 1} {
		of := p.of(documents)
		if got := of.all().Runs(); got != runs || len(of.ByKind) != 1 {
			t.Errorf("%d documents go by %d runs, not %d", documents, got, runs)
		}
	}
	if len(p.ByKind) != 3 {
		t.Error("the past that was asked has changed")
	}
}

func TestWhatIsLearned(t *testing.T) {
	start := epoch
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	run := func(change func(*Case)) Case {
		c := Case{State: Succeeded, Job: Job{StartedAt: start, Progress: Progress{Total: 4}}, Outcome: Outcome{EndedAt: at(64), End: &End{Reason: ReasonCompleted, Source: SourceCheck}}, Durations: Durations{UndoneAt: at(32)}}
		change(&c)
		return c
	}
	for name, x := range map[string]struct {
		c           Case
		jitter      float64
		found, told int
		bucket      int
	}{
		"found by a look, early in its interval": {run(func(*Case) {}), 0, 1, 0, bucket(32 * time.Second)},
		"found by a look, late in it":            {run(func(*Case) {}), 0.999, 1, 0, bucket(63 * time.Second)},
		"found by the only look":                 {run(func(c *Case) { c.Durations.UndoneAt = time.Time{} }), 0.5, 1, 0, bucket(32 * time.Second)},
		"complete, and ended by the grace":       {run(func(c *Case) { c.Job.CompleteSince, c.Durations.UndoneAt = at(34), at(33) }), 0.999, 1, 0, bucket(33 * time.Second)},
		"told":                                   {run(func(c *Case) { c.Outcome.End = &End{Reason: ReasonCompleted, Source: SourceEvent} }), 0, 0, 1, bucket(64 * time.Second)},
		"answered": {run(func(c *Case) {
			c.State, c.Outcome.End = Failed, &End{Reason: ReasonPipelineFailed, Source: SourceDispatch}
		}), 0, 0, 1, bucket(64 * time.Second)},
	} {
		p, ok := DurationStats{}.With(x.c, at(65), x.jitter)
		want := DurationStats{Version: 1, At: at(65), Found: x.found, Reported: x.told, ByKind: map[int]Histogram{3: {x.bucket, []int{1}}}}
		if diff := cmp.Diff(want, p); !ok || diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, c := range map[string]Case{
		"cancelled":     run(func(c *Case) { c.State = Cancelled }),
		"timed out":     run(func(c *Case) { c.State = TimedOut }),
		"lost":          run(func(c *Case) { c.State, c.Outcome.End = Failed, &End{Reason: ReasonPipelineLost} }),
		"adopted":       run(func(c *Case) { c.Adopted = true }),
		"never started": run(func(c *Case) { c.Job.StartedAt = time.Time{} }),
	} {
		if _, ok := (DurationStats{}).With(c, at(65), 0); ok || c.Learns(0) {
			t.Errorf("a run that was %s is learned from", name)
		}
	}
	// Not twice in a second, wherever the clocks are.
	p, _ := DurationStats{}.With(run(func(*Case) {}), at(65), 0)
	for _, now := range []time.Time{at(65), at(65).Add(999 * time.Millisecond), at(65).Add(-999 * time.Millisecond)} {
		if _, ok := p.With(run(func(*Case) {}), now, 0); ok {
			t.Errorf("learned again at %v", now)
		}
	}
	// The more is known, the fewer runs are learned from.
	many := statsOf(256, 4, func() time.Duration { return 20 * time.Second })
	c := run(func(c *Case) { c.Durations.Earlier = &many })
	if !c.Learns(0.249) || c.Learns(0.251) || !run(func(*Case) {}).Learns(0.999) {
		t.Error("of runs after 256 it is to be a quarter")
	}
}

func TestHowMuchAnEstimateMissed(t *testing.T) {
	at := func(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }
	pace := Estimate{EndAt: at(100), Deviation: 10 * time.Second}
	unit := math.Sqrt(math.Pi / 2)
	for _, x := range []struct{ first, last, want float64 }{
		{100, 100, 0}, {110, 110, unit}, {90, 90, unit}, // known to the moment
		{95, 105, 0}, {110, 120, 2 * unit}, {70, 90, 2 * unit}, // known to lie between two looks
		{1e4, 1e4, maxMissed},
	} {
		if got := pace.missed(at(x.first), at(x.last)); math.Abs(got-x.want) > 1e-9 {
			t.Errorf("%+v: %v", x, got)
		}
	}
	if got := (Estimate{EndAt: at(100)}).missed(at(200), at(200)); got != maxMissed {
		t.Errorf("an estimate that claims to be exact: %v", got)
	}
}
