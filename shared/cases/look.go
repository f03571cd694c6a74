package cases

import (
	"math"
	"time"
)

const (
	// What a look costs, in seconds that an end waits to be found: a five-hundredth of the time so far, between these. With more, looks
	// get fewer and ends wait longer.
	minPrice, maxPrice, priceShare = 0.15, 0.5, 1.0 / 500
	// surprise is the share of runs that are like none before; misled is how likely, beside the best guess, an estimate is to mean nothing.
	surprise, misled = 0.02, 0.003
	// steps is into how many the longest wait is divided, about; manySteps into how many at most, where the least wait is a small part of it.
	steps, maxSteps = 128, 1024
	// alike is by how much worse than the best a wait may be for chance to choose it.
	alike = 1.02
)

// outlook is what is known of when an open run ends, all times counted from when the pipeline took it up, in seconds.
type forecast struct {
	elapsed   float64
	horizon   float64 // it ends by then: the deadline
	durations Histogram
	runs      float64 // of past
	toFind    float64 // share of ends that a look has to find

	estimated bool // by its progress
	end, dev  float64
}

func (r Rules) forecast(c Case, now time.Time) forecast {
	began := c.CreatedAt
	if s := later(c.Job.StartedAt, c.Dispatch.SentAt); !s.IsZero() {
		began = s
	}
	o := forecast{elapsed: max(0, now.Sub(began).Seconds()), horizon: c.DeadlineAt.Sub(began).Seconds()}
	var past DurationStats
	if c.Durations.Earlier != nil {
		past = *c.Durations.Earlier
	}
	o.durations, o.toFind = past.all(), past.toFind()
	o.runs = float64(o.durations.Runs())
	if e, ok := c.estimate(now); ok {
		rest := e.EndAt.Sub(now).Seconds()
		o.estimated, o.end = true, o.elapsed+rest
		o.dev = max(past.off(c.Durations.Estimate, e)*e.Deviation.Seconds(), rest/20, r.CheckMaxInterval.Seconds()/steps) // none is taken for better than this
	}
	return o
}

// estimate says when the run ends if it goes on as it has gone, from the share that is done and the time that took. The document at work
// counts as half done. If documents take as long as each other give or take all of their length, d, the error of n of N done is that of
// the N-n to come and that of d itself: d √(N-n) √(1 + (N-n)/n).
func (c Case) estimate(now time.Time) (Estimate, bool) {
	p := c.Job.Progress
	elapsed := now.Sub(c.Job.StartedAt)
	if c.Job.StartedAt.IsZero() || p.Total <= 0 || elapsed <= 0 || p.Completed <= 0 && p.Percent <= 0 {
		return Estimate{}, false
	}
	total := float64(p.Total)
	share := min(max((float64(p.Completed)+0.5)/total, p.Percent/100), 1-0.1/total)
	end := min(elapsed.Seconds()/share, 1e8)
	left := (1 - share) * total
	dev := end / total * math.Sqrt(left*total/(total-left))
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return Estimate{EndAt: c.Job.StartedAt.Add(seconds(end)).Truncate(time.Microsecond), Deviation: seconds(dev).Truncate(time.Microsecond)}, true
}

// density is how likely it is, but for a factor, that the run ends t seconds after it began: as many of those before did, and as well
// as its progress agrees with it.
func (o forecast) density(t float64) float64 {
	x := perOctave*math.Log2(max(t, 1)) - 0.5
	i := math.Floor(x)
	ended := surprise / (perOctave * octaves / 2) // as if some run had ended at any time
	if o.runs > 0 {
		ended += (float64(o.durations.at(int(i)))*(1-(x-i)) + float64(o.durations.at(int(i)+1))*(x-i)) / o.runs
	}
	ended /= max(t, 1)
	if !o.estimated {
		return ended
	}
	z := (t - o.end) / o.dev
	return ended * (misled + math.Exp(-z*z/2))
}

// wait is how long from now to wait with the next look: the wait that costs least for each end that it finds, by that look or, if it comes too
// early, by another after the least wait. A look has its price, and so has each second that an end waits to be found:
//
//	(price of the looks + expected wait of the ends before them) / chance that the end comes before them
//
// Where an end is as likely at any time, with h the chance of it in a second, that is about √(2·price/h), the known optimum of checking
// for failures (J. B. Keller, Optimum checking schedules for systems subject to random failure, Management Science 21, 1974). Where
// the end is nearly known, it is the time until just after it. Between them the formula needs no case of its own.
//
// Of the waits that are nearly as good as the best, jitter, from 0 up to 1, chooses, so that runs begun together are not looked at together.
func (o forecast) wait(least, most time.Duration, jitter float64) time.Duration {
	most = max(most, least)
	between := max(1, int(math.Round(steps*least.Seconds()/most.Seconds()))) // steps of the least wait
	step := least.Seconds() / float64(between)
	if step < most.Seconds()/maxSteps { // of settings that are far apart
		between, step = 1, most.Seconds()/maxSteps
	}
	longest := max(between, int(most.Seconds()/step))
	// mass is of the ends within so many steps, lag how long they wait until then.
	mass, lag := make([]float64, 1, longest+between+1), make([]float64, 1, longest+between+1)
	before := o.density(o.elapsed)
	for i := range longest + between {
		after := o.density(o.elapsed + float64(i+1)*step)
		here := (before + after) / 2 * step
		lag = append(lag, lag[i]+(mass[i]+here/2)*step)
		mass = append(mass, mass[i]+here)
		before = after
	}
	all := mass[longest+between] + o.beyond(float64(longest+between)*step)
	price := min(max(minPrice, priceShare*o.elapsed), maxPrice)
	cost := func(i int) float64 {
		again := i + between
		return (price*(2*all-mass[i]) + o.toFind*(lag[again]-mass[i]*least.Seconds())) / mass[again]
	}
	best := between
	for i := between; i <= longest; i++ {
		if cost(i) < cost(best) {
			best = i
		}
	}
	lo, hi := best, best
	for lo > between && cost(lo-1) <= alike*cost(best) {
		lo--
	}
	for hi < longest && cost(hi+1) <= alike*cost(best) {
		hi++
	}
	wait := step * (float64(lo) + jitter*float64(hi-lo))
	return min(max(time.Duration(wait*float64(time.Second)), least), most)
}

// beyond is the mass of the ends that come more than u seconds from now.
func (o forecast) beyond(u float64) (mass float64) {
	for u < o.horizon-o.elapsed {
		step := u / 16
		mass += o.density(o.elapsed+u+step/2) * step
		u += step
	}
	return mass
}
