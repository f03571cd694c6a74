package schedule

import (
	"math"
	"time"
)

const (
	// The price of a poll, in seconds of lag, is the time so far times priceShare, but at least
	// minPrice and at most maxPrice.
	minPrice, maxPrice, priceShare = 0.15, 0.5, 1.0 / 500

	// outlierShare is the share of runs whose duration the earlier runs do not predict. Each bucket
	// of the histogram gets one part in outlierBuckets of it. With eight buckets for each doubling,
	// 68 of them are the durations from 1 s to 6 minutes.
	outlierShare   = 0.02
	outlierBuckets = 68
	// estimateFloor is the weight of times that the estimate rules out. It keeps every time
	// possible.
	estimateFloor = 0.003
	// The deviation of an estimate is at least restShare of the time that is left, and at least the
	// longest interval divided by steps.
	restShare = 1.0 / 20

	// steps is the approximate number of waits that are compared. If the shortest interval is a
	// small part of the longest, there are more, but at most maxSteps.
	steps, maxSteps = 128, 1024
	// Jitter chooses among the waits that cost at most nearlyBest times as much as the best one.
	nearlyBest = 1.02
)

// Run is what is known of a run that goes on.
type Run struct {
	BeganAt    time.Time      // when the pipeline began to work on it, as far as that is known
	DeadlineAt time.Time      // it ends by then
	Earlier    *DurationStats // of the runs before it; nil: nothing is known
	Estimate   Estimate       // of its end, from its progress now; zero: none
	Halfway    Estimate       // of its end, from its progress when about half was done; zero: none
}

// Forecast is what is known of when an open run ends. All times are counted from when the pipeline
// began to work on it, in seconds.
type Forecast struct {
	elapsed   float64
	deadline  float64 // it ends by then
	durations Histogram
	runs      float64 // in durations
	pollShare float64 // the share of ends that only a poll finds

	estimated bool // by its progress
	end       float64
	deviation float64
}

// NewForecast returns what is known now of when a run ends. The longest interval bounds how exact
// the forecast is.
func NewForecast(run Run, now time.Time, in Interval) Forecast {
	f := Forecast{
		elapsed:  max(0, now.Sub(run.BeganAt).Seconds()),
		deadline: run.DeadlineAt.Sub(run.BeganAt).Seconds(),
	}
	var earlier DurationStats
	if run.Earlier != nil {
		earlier = *run.Earlier
	}
	f.durations, f.pollShare = earlier.all(), earlier.pollShare()
	f.runs = float64(f.durations.Runs())
	if e := run.Estimate; e.Known() {
		rest := e.EndAt.Sub(now).Seconds()
		f.estimated, f.end = true, f.elapsed+rest
		f.deviation = max(earlier.meanError(run.Halfway, e)*e.Deviation.Seconds(), rest*restShare,
			in.Max.Seconds()/steps)
	}
	return f
}

// Runs returns the number of earlier runs that the forecast uses.
func (f Forecast) Runs() int { return int(f.runs) }

// Longer returns how many of these took longer than this run has taken so far.
func (f Forecast) Longer() int { return f.Runs() - f.durations.endedWithin(seconds(f.elapsed)) }

// Deviation returns the deviation of the estimate from progress; 0 if there is no estimate.
func (f Forecast) Deviation() time.Duration { return seconds(f.deviation) }

// density returns a number that is proportional to the chance that the run ends t seconds after it
// began. It is the share of earlier runs that took so long, times how well that moment agrees with
// the estimate from the run's own progress.
func (f Forecast) density(t float64) float64 {
	x := perOctave*math.Log2(max(t, 1)) - 0.5
	i := math.Floor(x)
	ended := outlierShare / outlierBuckets
	if f.runs > 0 {
		here, next := float64(f.durations.at(int(i))), float64(f.durations.at(int(i)+1))
		ended += (here*(1-(x-i)) + next*(x-i)) / f.runs
	}
	ended /= max(t, 1)
	if !f.estimated {
		return ended
	}
	z := (t - f.end) / f.deviation
	return ended * (estimateFloor + math.Exp(-z*z/2))
}

// Wait returns how long from now the next poll is to wait. It is the wait, within the interval, that
// costs least for each end that is found; the package documentation explains the cost. Jitter is
// from 0 up to 1. Wait takes some 15 µs.
func (f Forecast) Wait(in Interval, jitter float64) time.Duration {
	shortest, longest := in.Min, max(in.Max, in.Min)
	// The costs of waits are compared step by step. The shortest interval has "again" steps.
	again := max(1, int(math.Round(steps*shortest.Seconds()/longest.Seconds())))
	step := shortest.Seconds() / float64(again)
	if step < longest.Seconds()/maxSteps {
		again, step = 1, longest.Seconds()/maxSteps
	}
	last := max(again, int(longest.Seconds()/step))
	ends, lag := f.integrate(step, last+again)
	all := ends[last+again] + f.beyond(float64(last+again)*step)
	price := min(max(minPrice, priceShare*f.elapsed), maxPrice)
	// The cost of a first poll after i steps, and of a second one "again" steps later if the run
	// goes on. The first poll is always paid for, the second one unless the run ended before the
	// first: 2*all-ends[i]. An end before the first poll waits for it. An end between the two waits
	// for the second: lag[second] counts all ends as if they did, so what those before the first
	// poll wait less is taken off.
	cost := func(i int) float64 {
		second := i + again
		return (price*(2*all-ends[i]) + f.pollShare*(lag[second]-ends[i]*shortest.Seconds())) / ends[second]
	}
	best := again
	for i := again; i <= last; i++ {
		if cost(i) < cost(best) {
			best = i
		}
	}
	lo, hi := best, best
	for lo > again && cost(lo-1) <= nearlyBest*cost(best) {
		lo--
	}
	for hi < last && cost(hi+1) <= nearlyBest*cost(best) {
		hi++
	}
	return min(max(seconds(step*(float64(lo)+jitter*float64(hi-lo))), shortest), longest)
}

// integrate returns two numbers for each count of steps from 0 to n, both up to the factor of
// [Forecast.density]: the chance that the run ends within these steps, and how long these ends
// together wait until the last of the steps.
func (f Forecast) integrate(step float64, n int) (ends, lag []float64) {
	ends, lag = make([]float64, 1, n+1), make([]float64, 1, n+1)
	before := f.density(f.elapsed)
	for i := range n {
		after := f.density(f.elapsed + float64(i+1)*step)
		here := (before + after) / 2 * step
		lag = append(lag, lag[i]+(ends[i]+here/2)*step)
		ends = append(ends, ends[i]+here)
		before = after
	}
	return ends, lag
}

// beyond returns the chance of an end more than u seconds from now, up to the same factor.
func (f Forecast) beyond(u float64) (chance float64) {
	for u < f.deadline-f.elapsed {
		step := u / 16
		chance += f.density(f.elapsed+u+step/2) * step
		u += step
	}
	return chance
}
