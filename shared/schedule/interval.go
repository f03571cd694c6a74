package schedule

import "time"

// gridSteps is into how many steps of the grid the shortest interval is divided.
const gridSteps = 8

// Interval bounds the time between two polls of one run. Both are above 0; Max counts as Min where
// it is shorter.
type Interval struct{ Min, Max time.Duration }

// Clamp returns the wait that is nearest to the given one within the interval.
func (in Interval) Clamp(wait time.Duration) time.Duration {
	return min(max(wait, in.Min), max(in.Max, in.Min))
}

// Align moves a time to the nearest multiple of an eighth of the shortest interval, the same for
// all runs, if that is within the interval after from. Checks that come together share what a
// commit of the store, a batch of tasks or a busy instance costs.
func (in Interval) Align(from, at time.Time) time.Time {
	grid := in.Min / gridSteps
	first, last := from.Add(in.Min), from.Add(max(in.Min, in.Max))
	at = at.Round(grid)
	if at.Before(first) {
		at = first.Add(grid - 1).Truncate(grid)
	}
	if at.After(last) {
		return last
	}
	return at
}

// Backoff returns how long to wait after some failures in a row. It doubles from Min with each
// failure before, up to Max. Jitter, from 0 up to 1, takes up to half of it away, but not below
// Min.
func (in Interval) Backoff(before int, jitter float64) time.Duration {
	d := in.Min
	for range min(before, 62) {
		if d >= in.Max/2 {
			d = in.Max
			break
		}
		d *= 2
	}
	d = min(d, in.Max)
	return max(min(in.Min, in.Max), d-time.Duration(float64(d)*jitter/2))
}

// A viewer's lease keeps the polls of a run close together while somebody follows it. leaseTime is
// how long it holds; a viewer renews it when leaseRenewal of it is left. So it costs at most one
// write in 15 s, however many follow, and at most 20 s of polls after the last viewer has left.
const (
	leaseTime    = 20 * time.Second
	leaseRenewal = 5 * time.Second
)

// LeaseUntil is when a viewer's lease ends that is taken now.
func LeaseUntil(now time.Time) time.Time { return now.Add(leaseTime) }

// LeaseEndsSoon reports whether a lease that holds until then is to be renewed now.
func LeaseEndsSoon(until, now time.Time) bool { return !until.After(now.Add(leaseRenewal)) }

// Expedited returns when the next check is due if a viewer brings it forward: Min after the last
// check was due, or now if that is later. It returns false if the next check is due within Min of
// that: the check may be under way already, even if this clock says that it is not yet due.
func (in Interval) Expedited(lastAt, nextAt, now time.Time) (time.Time, bool) {
	at := lastAt.Add(in.Min)
	if at.Before(now) {
		at = now
	}
	far := now
	if lastAt.After(now) {
		far = lastAt
	}
	return at, nextAt.After(far.Add(in.Min))
}
