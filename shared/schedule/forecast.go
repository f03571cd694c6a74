package schedule

import (
	"math"
	"time"
)

const (
	// What a poll costs, in seconds of lag: priceShare of the time so far, within these bounds.
	minPrice, maxPrice, priceShare = 0.15, 0.5, 1.0 / 500

	// outlierShare is the share of runs whose duration no history predicts. It is spread over
	// outlierBuckets of the histogram.
	outlierShare   = 0.02
	outlierBuckets = 68
	// estimateFloor is the weight given to times that the estimate rules out, so that no time is
	// impossible.
	estimateFloor = 0.003
	// No estimate is taken to be better than restShare of the time that is left, nor than the
	// longest interval divided by steps.
	restShare = 1.0 / 20

	// steps is into how many steps the longest wait is divided, about. maxSteps bounds it where the
	// shortest interval is a small part of the longest.
	steps, maxSteps = 128, 1024
	// nearlyBest is by how much more than the best a wait may cost for jitter to choose it.
	nearlyBest = 1.02
)

// Run is what is known of a run that goes on.
type Run struct {
	BeganAt    time.Time      // when the pipeline began to work on it, as far as that is known
	DeadlineAt time.Time      // it ends by then
	Earlier    *DurationStats // of the runs before it; nil: nothing is known
	Estimate   Estimate       // of its end, by its progress now; zero: none
	Halfway    Estimate       // the same from about half of it; zero: none
}

// Forecast is what is known of when an open run ends. All times are counted from when the pipeline
// began to work on it, in seconds.
type Forecast struct {
	elapsed   float64
	deadline  float64 // it ends by then
	durations Histogram
	runs      float64 // in durations
	pollShare float64 // of ends that only a poll finds

	estimated bool // by its progress
	end       float64
	deviation float64
}

// NewForecast returns what is known now of when a run ends. The interval says how exact that has to
// be.
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

// Runs is how many earlier runs the forecast goes by.
func (f Forecast) Runs() int { return int(f.runs) }

// Longer is how many of these took longer than this run has taken so far.
func (f Forecast) Longer() int { return f.Runs() - f.durations.endedWithin(seconds(f.elapsed)) }

// Deviation is by how much the estimate from progress may be off; 0 without one.
func (f Forecast) Deviation() time.Duration { return seconds(f.deviation) }

// density is how likely it is, but for a factor, that the run ends t seconds after it began: as
// many earlier runs did, and as well as its progress agrees with it.
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

// Wait is how long from now to wait with the next poll: the wait that costs least for each end that
// is found, as the package documentation explains, within the interval. Jitter is from 0 up to 1.
// It takes some 15 µs.
func (f Forecast) Wait(in Interval, jitter float64) time.Duration {
	shortest, longest := in.Min, max(in.Max, in.Min)
	// The costs of waits are compared step by step; again is how many steps the shortest interval
	// has.
	again := max(1, int(math.Round(steps*shortest.Seconds()/longest.Seconds())))
	step := shortest.Seconds() / float64(again)
	if step < longest.Seconds()/maxSteps {
		again, step = 1, longest.Seconds()/maxSteps
	}
	last := max(again, int(longest.Seconds()/step))
	ends, lag := f.integrate(step, last+again)
	all := ends[last+again] + f.beyond(float64(last+again)*step)
	price := min(max(minPrice, priceShare*f.elapsed), maxPrice)
	// The poll after i steps is followed by another if the run goes on. Ends before the first one
	// wait for that, ends between the two for the second.
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

// integrate returns, for each number of steps from now up to n, the chance of an end within it, and
// the expected lag of these ends until then. Both are but for a factor.
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

// beyond is the chance of an end more than u seconds from now.
func (f Forecast) beyond(u float64) (chance float64) {
	for u < f.deadline-f.elapsed {
		step := u / 16
		chance += f.density(f.elapsed+u+step/2) * step
		u += step
	}
	return chance
}
