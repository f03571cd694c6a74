package cases

import (
	"time"

	"github.com/casewatch/casewatch/shared/schedule"
)

// Viewed says that somebody follows the run and wants its progress fresh. It takes or renews the
// viewer's lease. It never polls the pipeline: it brings the next check forward, and while the
// lease holds the checks after it follow closely.
type Viewed struct {
	// CheckPending says that the task of the next check was seen to be pending. Only then can
	// another replace it: one that is not may still be created by a check that has just been saved,
	// or is being delivered.
	CheckPending bool
}

func (Viewed) input() {}

// Viewers is what is kept for those who follow an open run.
type Viewers struct {
	Lease Lease `json:"lease,omitzero"`
	Shown Shown `json:"shown,omitzero"`
}

// Lease is for how long checks follow each other closely, since somebody follows the run.
type Lease struct {
	Until time.Time `json:"until,omitzero"`
	// Version is the record's that the lease made. ContentVersion is the last one before it that
	// was not made by a lease: to those who read that one it brings nothing new.
	Version        int64 `json:"version,omitempty"`
	ContentVersion int64 `json:"content_version,omitempty"`
}

// Shown is the newest event that the stream of an open run has for its viewers. An event says the
// state, the progress, whether the run is stalled, and when its end is estimated. Most polls change
// none of these: they make no event.
type Shown struct {
	Version int64     `json:"version"`          // the record's, when what the event says last changed
	EndsAt  time.Time `json:"ends_at,omitzero"` // the end that the event estimates; zero without an estimate
}

// AcceptsViewer reports whether [Viewed] may change c at now: closer polls would show more, and its
// lease ends soon or its next check can be brought forward.
func (r Rules) AcceptsViewer(c Case, now time.Time) bool {
	asks := !r.Gone && !r.jobUnnamed(c)
	return asks && c.canExpedite() && now.Before(c.DeadlineAt) && (c.leaseEndsSoon(now) || r.NextCheckIsFar(c, now))
}

func (c Case) leaseEndsSoon(now time.Time) bool {
	return schedule.LeaseEndsSoon(c.Viewers.Lease.Until, now)
}

// canExpedite reports whether closer polls would show more of an open run. They would not while
// nothing was sent, nor while everything is counted and only the result is awaited. A pipeline that
// fails keeps its back-off, and one that asked not to be polled keeps its time.
func (c Case) canExpedite() bool {
	return c.Version > 0 && !c.State.Ended() && !c.nothingSent() &&
		!c.workIsDone() && c.Checks.ConsecutiveFailures == 0 && !c.isHeldBack()
}

// NextCheckIsFar reports whether the next check is late enough to be brought forward. One that is
// due, or soon will be, is not: it may be under way.
func (r Rules) NextCheckIsFar(c Case, now time.Time) bool {
	_, far := r.interval().Expedited(c.Checks.LastAt, c.Checks.NextAt, now)
	return far
}

// ContentVersion is the version of the last change that tells a reader something. A viewer's lease
// does not.
func (c Case) ContentVersion() int64 {
	if c.Version == c.Viewers.Lease.Version {
		return c.Viewers.Lease.ContentVersion
	}
	return c.Version
}

func (r Rules) viewed(n *Case, in Viewed, now time.Time) Verdict {
	at, far := r.interval().Expedited(n.Checks.LastAt, n.Checks.NextAt, now)
	expedites := in.CheckPending && far
	if !r.AcceptsViewer(*n, now) || !expedites && !n.leaseEndsSoon(now) {
		return Verdict{Kind: Ignored}
	}
	n.Viewers.Lease = Lease{Until: schedule.LeaseUntil(now), Version: n.Version + 1, ContentVersion: n.ContentVersion()}
	if expedites {
		n.Checks.Seq++
		n.Checks.NextAt = at
	}
	return Verdict{Kind: Applied}
}

// Remaining estimates how long the run will still take if it goes on as it has gone: from the share
// that is done and the time that this took, until now, so that the estimate grows while nothing
// moves. It is at most the time to the deadline. False if there is nothing to judge by, nothing has
// moved for long, or the pipeline does not know the job now.
func (c Case) Remaining(now time.Time) (time.Duration, bool) {
	p, started := c.Job.Progress, c.Job.StartedAt
	_, total := p.parts()
	if c.State.Ended() || c.Job.Stalled || total <= 0 || started.IsZero() || !c.Checks.UnknownSince.IsZero() {
		return 0, false
	}
	done := p.Percent / 100
	if p.Total > 0 {
		done = max(done, float64(p.Completed)/float64(p.Total))
	}
	elapsed := now.Sub(started)
	if done <= 0 || elapsed <= 0 {
		return 0, false
	}
	rest := float64(elapsed) * (1 - min(done, 1)) / done
	const longest = 365 * 24 * time.Hour // which keeps tiny shares from overflowing
	return min(time.Duration(min(rest, float64(longest))), max(0, c.DeadlineAt.Sub(now))), true
}

const (
	// etaSlack and etaShare bound how far an estimate is off before that alone makes an event: more
	// than 5 s, and more than a quarter of the time that is left. That the countdown goes on is no
	// change.
	etaSlack = 5 * time.Second
	etaShare = 4
)

// show notes whether c, which follows on before, has a new event to show. The event of an end is
// that of EndVersion.
func (c *Case) show(before Case, now time.Time) {
	if c.State.Ended() {
		return
	}
	var endsAt time.Time
	if rest, ok := c.Remaining(c.UpdatedAt); ok {
		endsAt = c.UpdatedAt.Add(rest).Truncate(time.Second)
	}
	shown := before.Viewers.Shown
	if c.State != before.State || c.Job.Progress != before.Job.Progress || c.Job.Stalled != before.Job.Stalled ||
		etaMoved(shown.EndsAt, endsAt, now) {
		c.Viewers.Shown = Shown{c.Version, endsAt}
	}
}

// etaMoved reports whether an estimate differs enough from the one that was shown to be shown too.
func etaMoved(shown, endsAt, now time.Time) bool {
	if shown.IsZero() || endsAt.IsZero() {
		return shown.IsZero() != endsAt.IsZero()
	}
	return endsAt.Sub(shown).Abs() > max(etaSlack, endsAt.Sub(now)/etaShare)
}
