package schedule

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// usual are the bounds that the settings have by default.
var usual = Interval{Min: 2 * time.Second, Max: 30 * time.Second}

// at is a time so many seconds after epoch.
func at(s float64) time.Time { return epoch.Add(seconds(s)) }

// statsOf returns the statistics of n runs with so many documents that took what draw says, and
// whose ends only polls found.
func statsOf(n, documents int, draw func() time.Duration) DurationStats {
	var s DurationStats
	now := epoch
	for range n {
		now = now.Add(24 * time.Hour)
		end := now.Add(draw())
		s, _ = s.With(Sample{Documents: documents, StartedAt: now, First: end, Last: end}, end, 0.5)
	}
	s.FoundByPoll, s.Reported = n, 0
	return s
}

// from18To22 are the durations of runs that differ little.
func from18To22() func() time.Duration {
	r := rand.New(rand.NewPCG(1, 1))
	return func() time.Duration { return 18*time.Second + time.Duration(r.Int64N(int64(4*time.Second))) }
}

func wantWithin(t *testing.T, got, low, high time.Duration) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("got a wait of %v, want %v to %v", got, low, high)
	}
}

func TestWait(t *testing.T) {
	stats := statsOf(200, 30, from18To22())
	like := func(elapsed, pollShare float64) Forecast {
		return Forecast{elapsed: elapsed, deadline: 3600, pollShare: pollShare, durations: stats.all(), runs: 200}
	}
	estimated := func(end, deviation float64) Forecast {
		return Forecast{elapsed: 100, deadline: 3600, pollShare: 1, estimated: true, end: end, deviation: deviation}
	}
	for _, test := range []struct {
		name      string
		f         Forecast
		low, high float64
	}{
		{"an end known to come in 5 s", estimated(105, 0.3), 5, 6.2},
		{"an end known to come in 9 s", estimated(109, 0.3), 9, 10.2},
		{"an end known to come in 20 s", estimated(120, 0.3), 20, 21.2},
		{"an end known to come in 28 s", estimated(128, 0.3), 28, 29.2},
		{"an end that is far", estimated(400, 5), 20, 30},
		{"an end that is due", estimated(100.1, 1), 2, 2.5},
		{"the beginning of a run like those before", like(0, 1), 17, 23},
		{"amid the ends of those before", like(19.5, 1), 2, 4},
		{"longer than all before", like(120, 1), 6, 30},
		{"much longer than all before", like(1200, 1), 15, 30},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantWithin(t, test.f.Wait(usual, 0.5), seconds(test.low), seconds(test.high))
		})
	}
	t.Run("ends that the pipeline reports may wait", func(t *testing.T) {
		reported, polled := like(19.5, 0.05).Wait(usual, 0.5), like(19.5, 1).Wait(usual, 0.5)
		if reported <= polled {
			t.Errorf("got %v for ends that are mostly reported, want more than %v", reported, polled)
		}
	})
}

// With an end that is equally likely at any time, the wait is about √(2·price/rate).
func TestWaitOfASteadyRate(t *testing.T) {
	for _, mean := range []float64{60, 120, 200} {
		r := rand.New(rand.NewPCG(2, uint64(mean)))
		s := statsOf(500, 30, func() time.Duration { return seconds(r.ExpFloat64() * mean) })
		elapsed := mean / 2
		f := Forecast{elapsed: elapsed, deadline: 36000, pollShare: 1, durations: s.all(), runs: float64(s.all().
			Runs())}
		price := min(max(minPrice, priceShare*elapsed), maxPrice)
		want := math.Sqrt(2 * price * mean)
		got := f.Wait(Interval{Min: time.Second, Max: 30 * time.Second}, 0.5).Seconds()
		if got < 0.6*want || got > 1.6*want {
			t.Errorf("mean %v s: got a wait of %.1f s, want about %.1f s", mean, got, want)
		}
	}
}

// Settings that are far apart make it neither slow nor wrong.
func TestWaitBetweenFarBounds(t *testing.T) {
	f := Forecast{elapsed: 100, deadline: 86400, pollShare: 1, estimated: true, end: 700, deviation: 3600 / steps}
	wantWithin(t, f.Wait(Interval{Min: 100 * time.Millisecond, Max: time.Hour}, 0.5), 10*time.Minute, 12*time.Minute)
	n := testing.AllocsPerRun(10, func() { f.Wait(Interval{Min: 100 * time.Millisecond, Max: 24 * time.Hour}, 0.5) })
	if n > 2 {
		t.Errorf("got %v allocations, want at most 2", n)
	}
}

// Runs of days are told apart, up to the longest deadline.
func TestWaitForRunsOfDays(t *testing.T) {
	const day = 24 * time.Hour
	in := Interval{Min: time.Minute, Max: 12 * time.Hour}
	for _, days := range []time.Duration{2, 9, 27} {
		s := statsOf(100, 30, func() time.Duration { return days * day })
		run := Run{BeganAt: epoch, DeadlineAt: epoch.Add(29 * day), Earlier: &s}
		before := NewForecast(run, epoch.Add(days*day/2), in)
		if before.Longer() != 100 {
			t.Errorf("%d days: at half of it %d of 100 runs took longer", days, before.Longer())
		}
		after := NewForecast(run, epoch.Add(days*day*12/10), in)
		if after.Longer() != 0 {
			t.Errorf("%d days: long after it %d of 100 runs took longer", days, after.Longer())
		}
	}
}

func TestForecastOfARun(t *testing.T) {
	s := statsOf(200, 30, from18To22())
	estimate := Estimate{EndAt: at(25), Deviation: time.Second}
	for _, test := range []struct {
		name          string
		run           Run
		runs, longer  int
		low, high     time.Duration // of the deviation
		estimateFound bool
	}{
		{"nothing is known", Run{BeganAt: epoch, DeadlineAt: at(3600)}, 0, 0, 0, 0, false},
		{"runs before it", Run{BeganAt: epoch, DeadlineAt: at(3600), Earlier: &s}, 200, 200, 0, 0, false},
		{
			"its progress",
			Run{BeganAt: epoch, DeadlineAt: at(3600), Estimate: estimate},
			0,
			0,
			750 * time.Millisecond,
			750 * time.Millisecond,
			true,
		},
		{
			"its progress, and a steady estimate before", Run{
				BeganAt:    epoch,
				DeadlineAt: at(3600),
				Estimate:   estimate,
				Halfway:    Estimate{at(25.1), time.Second},
			},
			0, 0, 750 * time.Millisecond, 750 * time.Millisecond, true,
		},
		{
			"its progress, and an estimate before that was wrong", Run{
				BeganAt:    epoch,
				DeadlineAt: at(3600),
				Estimate:   estimate,
				Halfway:    Estimate{at(80), time.Second},
			},
			0, 0, 5 * time.Second, 6 * time.Second, true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := NewForecast(test.run, at(10), usual)
			if f.Runs() != test.runs || f.Longer() != test.longer || f.estimated != test.estimateFound {
				t.Errorf("got %d runs, %d longer, estimated %v; want %d, %d, %v", f.Runs(), f.Longer(), f.estimated,
					test.runs, test.longer, test.estimateFound)
			}
			if d := f.Deviation(); d < test.low || d > test.high {
				t.Errorf("got a deviation of %v, want %v to %v", d, test.low, test.high)
			}
		})
	}
}

// Whatever is known, a wait is within its bounds.
func FuzzWait(f *testing.F) {
	f.Add(10.0, 3600.0, 12.0, 1.0, 0.5, 3, int64(2e9), int64(30e9))
	f.Add(0.0, 1.0, 0.0, 0.0, 0.0, 0, int64(1), int64(1))
	f.Add(1e9, 1e5, 1e8, 1e8, 0.99, 135, int64(1e9), int64(3600e9))
	f.Fuzz(func(t *testing.T, elapsed, deadline, end, deviation, jitter float64, bucket int, low, high int64) {
		for _, v := range []*float64{&elapsed, &deadline, &end, &deviation} {
			*v = math.Abs(*v)
			if !(*v < 1e9) {
				*v = 1e9
			}
		}
		jitter = math.Abs(jitter)
		if !(jitter < 1) {
			jitter = 0
		}
		in := Interval{Min: time.Millisecond + time.Duration(uint64(low)%uint64(time.Hour))}
		in.Max = in.Min + time.Duration(uint64(high)%uint64(200*in.Min))
		forecast := Forecast{
			elapsed: elapsed, deadline: deadline, pollShare: 1,
			estimated: deviation > 0, end: end, deviation: max(deviation, 0.01),
			durations: Histogram{From: bucket & 127, Counts: []int{1, 5, 2}}, runs: 8,
		}
		if wait := forecast.Wait(in, jitter); wait < in.Min || wait > in.Max {
			t.Errorf("got %v, want it within %+v: %+v", wait, in, forecast)
		}
	})
}

// BenchmarkWait is what deciding adds to a check.
func BenchmarkWait(b *testing.B) {
	s := statsOf(200, 30, from18To22())
	f := Forecast{
		elapsed:   10,
		deadline:  3600,
		pollShare: 1,
		durations: s.all(),
		runs:      200,
		estimated: true,
		end:       20,
		deviation: 1,
	}
	b.ReportAllocs()
	for b.Loop() {
		f.Wait(usual, 0.5)
	}
}
