package cases

import "time"

// Shown is the newest event that the stream of an open run has for its viewers. An event says the state, the progress, whether the
// run is stalled, and when its end is estimated. Most polls change none of these: they make no event.
type Shown struct {
	Version int64     `json:"version"`          // the record's, when what the event says last changed
	EndsAt  time.Time `json:"ends_at,omitzero"` // the end that the event estimates; zero without an estimate
}

const (
	// etaSlack and etaShare bound how far an estimate is off before that alone makes an event: more than 5 s, and more than a quarter
	// of the time that is left. That the countdown goes on is no change.
	etaSlack = 5 * time.Second
	etaShare = 4
)

// show notes whether n, which follows on c, has a new event to show.
func (n *Case) show(c Case, now time.Time) {
	if n.State.Ended() {
		return // EndVersion says which event that is
	}
	var ends time.Time
	if rest, ok := n.Remaining(n.UpdatedAt); ok && !n.Job.Stalled {
		ends = n.UpdatedAt.Add(rest).Truncate(time.Second)
	}
	if n.State != c.State || n.Job.Progress != c.Job.Progress || n.Job.Stalled != c.Job.Stalled || etaMoved(c.Viewers.Shown.EndsAt, ends, now) {
		n.Viewers.Shown = Shown{n.Version, ends}
	}
}

// etaMoved reports whether an estimate differs enough from the one that was shown to be shown too.
func etaMoved(shown, ends, now time.Time) bool {
	if shown.IsZero() || ends.IsZero() {
		return shown.IsZero() != ends.IsZero()
	}
	return ends.Sub(shown).Abs() > max(etaSlack, ends.Sub(now)/etaShare)
}
