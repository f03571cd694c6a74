package schedule

import (
	"math"
	"time"
)

const (
	// maxError bounds by how many expected deviations one estimate counts as off.
	maxError = 8.0
	// maxEstimate bounds how long a run is estimated to take, in seconds: three years.
	maxEstimate = 1e8
)

// Estimate is when a run is expected to end, as its progress shows. It is kept to see at the end
// how good it was. The zero Estimate is none.
type Estimate struct {
	EndAt time.Time `json:"end_at"`
	// Deviation is how far it may be off if documents differ from each other by as much as one
	// takes. In nanoseconds.
	Deviation time.Duration `json:"deviation"`
}

// Known reports whether there is an estimate.
func (e Estimate) Known() bool { return !e.EndAt.IsZero() }

// EstimateEnd returns when a run ends if it goes on as it has gone, from the share of it that is
// done and the time that this took. The document being worked on counts as half done. A percentage
// above 0 counts where it says more than the counts do. False if there is nothing to judge by.
//
// If documents differ from each other by as much as one takes, d, the error of n of N documents is
// that of the N-n to come and that of d itself: d √(N-n) √(1 + (N-n)/n).
func EstimateEnd(startedAt, now time.Time, completed, total int, percent float64) (Estimate, bool) {
	elapsed := now.Sub(startedAt)
	if startedAt.IsZero() || total <= 0 || elapsed <= 0 || completed <= 0 && percent <= 0 {
		return Estimate{}, false
	}
	all := float64(total)
	share := min(max((float64(completed)+0.5)/all, percent/100), 1-0.1/all)
	end := min(elapsed.Seconds()/share, maxEstimate)
	left := (1 - share) * all
	deviation := end / all * math.Sqrt(left*all/(all-left))
	return Estimate{
		EndAt:     startedAt.Add(seconds(end)).Truncate(time.Microsecond),
		Deviation: seconds(deviation).Truncate(time.Microsecond),
	}, true
}

// errorFor is by how many deviations the estimate was off, given that the run ended between first
// and last. Where they are one moment it is the mean error, scaled to a standard deviation. Where
// they are not, only an end outside counts, and counts twice: a poll that follows the estimate does
// not see by how much an end came too early for it.
func (e Estimate) errorFor(first, last time.Time) float64 {
	off := max(first.Sub(e.EndAt), e.EndAt.Sub(last), 0)
	scale := math.Sqrt(math.Pi / 2)
	if last.After(first) {
		scale *= 2
	}
	return min(scale*float64(off)/float64(max(e.Deviation, time.Millisecond)), maxError)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
