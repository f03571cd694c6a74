package cases

import "time"

const (
	// leaseTime is how long a run counts as watched after somebody said so, and leaseRest in how much of its end that is said again. So one lease costs
	// at most one write in 15 s, whoever watches, and when the last viewer has gone at most 20 s of looks are made for nobody.
	leaseTime = 20 * time.Second
	leaseRest = 5 * time.Second
)

// Watched says that somebody follows the run as it goes on, and wants its progress fresh. It never has the pipeline asked: it brings the next
// look forward, and keeps those after it close.
type Viewed struct {
	// Pending says that the task of the next look was seen to be pending: only then is there one to take the place of. One that is not may still
	// be on its way from a check that has just been saved, or be under way itself.
	CheckPending bool
}

// Lease is for how long a run counts as watched.
type Lease struct {
	Until time.Time `json:"until,omitzero"`
	// Version is the record's that the lease made, and News the last before it that was not made by a lease: readers of that learn nothing new.
	Version        int64 `json:"version,omitempty"`
	ContentVersion int64 `json:"news,omitempty"`
	Expedited      int   `json:"forward,omitempty"` // how many checks were brought forward so far: their tasks were deleted
}

func (Viewed) input() {}

// Freshens reports whether [Watched] may change c at now: closer looks would show more, and its lease ends soon or its next look is far.
func (r Rules) AcceptsViewer(c Case, now time.Time) bool {
	return c.canExpedite() && now.Before(c.DeadlineAt) && (c.leaseEnds(now) || r.NextCheckIsFar(c, now))
}

func (c Case) leaseEnds(now time.Time) bool { return !c.Viewers.Lease.Until.After(now.Add(leaseRest)) }

// canBeFresh reports whether closer looks would show more of an open run: not while nothing was sent, nor while everything is counted and only
// the result is awaited, and not of a pipeline that fails, which is left its back-off, or that asked not to be polled.
func (c Case) canExpedite() bool {
	sent := c.Dispatch.Phase != PhaseQueued || c.Dispatch.Attempts > 0
	return c.Version > 0 && !c.State.Ended() && sent && c.Job.CompleteSince.IsZero() && c.Checks.ConsecutiveFailures == 0 && !c.isHeldBack()
}

// IsFar reports whether the next look comes later than one that follows the last at the least interval, whatever a clock that is behind says. One
// that is due, or soon will be, is not: it may be under way.
func (r Rules) NextCheckIsFar(c Case, now time.Time) bool {
	return c.Checks.NextAt.After(later(now, c.Checks.LastAt).Add(r.CheckMinInterval))
}

// News is the version of the last change that tells a reader something: that the run is watched does not.
func (c Case) ContentVersion() int64 {
	if c.Version == c.Viewers.Lease.Version {
		return c.Viewers.Lease.ContentVersion
	}
	return c.Version
}

func (r Rules) viewed(n *Case, in Viewed, now time.Time) Verdict {
	moves := in.CheckPending && r.NextCheckIsFar(*n, now)
	if !r.AcceptsViewer(*n, now) || !moves && !n.leaseEnds(now) {
		return Verdict{Kind: Ignored}
	}
	n.Viewers.Lease = Lease{Until: now.Add(leaseTime), Version: n.Version + 1, ContentVersion: n.ContentVersion(), Expedited: n.Viewers.Lease.Expedited}
	if moves {
		n.Checks.Seq++
		n.Viewers.Lease.Expedited++
		n.Checks.NextAt = later(now, n.Checks.LastAt.Add(r.CheckMinInterval)) // which is earlier than it was
	}
	return Verdict{Kind: Applied}
}
