package cases

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// pastOf is a past of n runs of so many documents, each of a length that draw says.
func statsOf(n, documents int, draw func() time.Duration) DurationStats {
	var p DurationStats
	now := epoch
	for range n {
		now = now.Add(24 * time.Hour)
		c := Case{
			State:   Succeeded,
			Job:     Job{StartedAt: now, Progress: Progress{Completed: documents, Total: documents}},
			Outcome: Outcome{EndedAt: now.Add(draw()), End: &End{Reason: ReasonCompleted, Source: SourceEvent}},
		}
		p, _ = p.With(c, c.Outcome.EndedAt, 0.5)
	}
	p.Found, p.Reported = n, 0 // as if looks had found them
	return p
}

func near(t *testing.T, what string, got time.Duration, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s: waits %v, not %v to %v", what, got, least, most)
	}
}

func TestWait(t *testing.T) {
	const least, most = 2 * time.Second, 30 * time.Second
	wait := func(o forecast) time.Duration { return o.wait(least, most, 0.5) }
	for _, end := range []float64{5, 9, 20, 28} {
		o := forecast{elapsed: 100, horizon: 3600, toFind: 1, estimated: true, end: 100 + end, dev: 0.3}
		near(t, "an end that is known", wait(o), time.Duration(end*float64(time.Second)), time.Duration((end+1.2)*float64(time.Second)))
	}
	far := forecast{elapsed: 100, horizon: 3600, toFind: 1, estimated: true, end: 400, dev: 5}
	near(t, "an end far off", wait(far), 20*time.Second, most)
	overdue := forecast{elapsed: 100, horizon: 3600, toFind: 1, estimated: true, end: 100.1, dev: 1}
	near(t, "an end that is due", wait(overdue), least, least+500*time.Millisecond)

	// All before took 18 to 22 s: none is looked for sooner, and then closely.
	r := rand.New(rand.NewPCG(1, 1))
	p := statsOf(200, 30, func() time.Duration { return 18*time.Second + time.Duration(r.Int64N(int64(4*time.Second))) })
	o := forecast{horizon: 3600, toFind: 1, durations: p.all(), runs: 200}
	near(t, "at the beginning of runs that are known", wait(o), 17*time.Second, 23*time.Second)
	o.elapsed = 19.5
	near(t, "amid the ends of runs that are known", wait(o), least, 4*time.Second)
	// Where the pipeline tells most ends itself, a look may wait.
	told := o
	told.toFind = 0.05
	if wait(told) <= wait(o) {
		t.Errorf("waits %v for ends that are told, %v for others", wait(told), wait(o))
	}
	// Longer than all before: not dense for ever.
	o.elapsed = 120
	near(t, "longer than all before", wait(o), 6*time.Second, most)
	o.elapsed = 1200
	near(t, "much longer than all before", wait(o), 15*time.Second, most)
}

// With an end that is as likely at any time the wait is about √(2·price/h).
func TestWaitOfASteadyHazard(t *testing.T) {
	for _, mean := range []float64{60, 120, 200} {
		r := rand.New(rand.NewPCG(2, uint64(mean)))
		p := statsOf(500, 30, func() time.Duration { return time.Duration(r.ExpFloat64() * mean * float64(time.Second)) })
		elapsed := mean / 2
		o := forecast{elapsed: elapsed, horizon: 36000, toFind: 1, durations: p.all(), runs: float64(p.all().Runs())}
		want := math.Sqrt(2 * min(max(minPrice, priceShare*elapsed), maxPrice) * mean)
		if got := o.wait(time.Second, 30*time.Second, 0.5).Seconds(); got < 0.6*want || got > 1.6*want {
			t.Errorf("mean %v s: waits %.1f s, not about %.1f", mean, got, want)
		}
	}
}

// Whatever is known, a wait is within its bounds.
func FuzzWait(f *testing.F) {
	f.Add(10.0, 3600.0, 12.0, 1.0, 0.5, 3, int64(2e9), int64(30e9))
	f.Add(0.0, 1.0, 0.0, 0.0, 0.0, 0, int64(1), int64(1))
	f.Add(1e9, 1e5, 1e8, 1e8, 0.99, 135, int64(1e9), int64(3600e9))
	f.Fuzz(func(t *testing.T, elapsed, horizon, end, dev, jitter float64, bucket int, least, most int64) {
		for _, v := range []*float64{&elapsed, &horizon, &end, &dev} {
			*v = math.Abs(*v)
			if !(*v < 1e9) {
				*v = 1e9
			}
		}
		jitter = math.Abs(jitter)
		if !(jitter < 1) {
			jitter = 0
		}
		shortest := time.Millisecond + time.Duration(uint64(least)%uint64(time.Hour))
		longest := shortest + time.Duration(uint64(most)%uint64(200*shortest))
		o := forecast{
			elapsed: elapsed, horizon: horizon, toFind: 1, estimated: dev > 0, end: end, dev: max(dev, 0.01),
			durations: Histogram{From: bucket & 127, Counts: []int{1, 5, 2}}, runs: 8,
		}
		if wait := o.wait(shortest, longest, jitter); wait < shortest || wait > longest {
			t.Errorf("%v is not within %v and %v: %+v", wait, shortest, longest, o)
		}
	})
}

// The run's own earlier estimate tells how good its progress is to go by.
func TestEstimateIsJudgedByTheOneBefore(t *testing.T) {
	var p DurationStats
	at := func(s float64) Estimate {
		return Estimate{EndAt: epoch.Add(time.Duration(s * float64(time.Second))), Deviation: 2 * time.Second}
	}
	first, steady, jumped := p.off(at(20), at(20)), p.off(at(20), at(20.1)), p.off(at(20), at(30))
	if !(steady < first && first < jumped) {
		t.Errorf("%v after a steady estimate, %v after the first, %v after one that jumped", steady, first, jumped)
	}
}

func TestEstimate(t *testing.T) {
	c := Case{State: Running, Job: Job{StartedAt: epoch}}
	for _, x := range []struct {
		completed, total int
		percent          float64
		after, end       time.Duration
		ok               bool
	}{
		{0, 30, 0, 5 * time.Second, 0, false},
		{5, 0, 0, 5 * time.Second, 0, false},
		{5, 30, 0, 0, 0, false},
		{10, 20, 50, 21 * time.Second, 40 * time.Second, true}, // 10½ of 20 are done
		{0, 1, 25, 10 * time.Second, 20 * time.Second, true},   // the document at work counts as half done
		{1, 10, 80, 8 * time.Second, 10 * time.Second, true},   // it says more than its documents do
		{0, 1, 0.1, 1e6 * time.Second, 2e6 * time.Second, true},
	} {
		c.Job.Progress = Progress{Completed: x.completed, Total: x.total, Percent: x.percent}
		e, ok := c.estimate(epoch.Add(x.after))
		if ok != x.ok || ok && !e.EndAt.Equal(epoch.Add(x.end)) || ok && e.Deviation <= 0 {
			t.Errorf("%+v: %v %v", x, e, ok)
		}
	}
}

// Settings that are far apart make it neither slow nor wrong.
func TestWaitBetweenFarBounds(t *testing.T) {
	o := forecast{elapsed: 100, horizon: 86400, toFind: 1, estimated: true, end: 700, dev: 3600 / steps}
	near(t, "an end that is known", o.wait(100*time.Millisecond, time.Hour, 0.5), 10*time.Minute, 12*time.Minute)
	if n := testing.AllocsPerRun(10, func() { o.wait(100*time.Millisecond, 24*time.Hour, 0.5) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkWait is what deciding adds to a check.
func BenchmarkWait(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	p := statsOf(200, 30, func() time.Duration { return 18*time.Second + time.Duration(r.Int64N(int64(4*time.Second))) })
	o := forecast{elapsed: 10, horizon: 3600, toFind: 1, durations: p.all(), runs: 200, estimated: true, end: 20, dev: 1}
	b.ReportAllocs()
	for b.Loop() {
		o.wait(2*time.Second, 30*time.Second, 0.5)
	}
}
