package sim

import (
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

const (
	// freshGrace is how much later than the minimum interval a poll may come when nothing is slow.
	// A follower reconnects within 1.1 s, a task is delivered within 0.3 s, and each call takes up
	// to 80 ms.
	freshGrace = 3 * time.Second
	// followGap is the longest gap between followers of a case that still counts as followed
	// without a break.
	followGap = 2 * time.Second
)

// following describes the readers that wait for news of a case.
type following struct {
	now   int           // how many
	since time.Duration // there has been somebody without a break
	until time.Duration // when the last of them ended
	reads []*Entry      // of the store, by them
	ended map[string]time.Duration
}

// joined says since when somebody who was shown a version has asked for it: who follows may join
// others whose read is under way.
func (f *following) joined(e *Entry, version int64) time.Duration {
	for _, read := range f.reads {
		if ended, over := f.ended[read.Invocation]; read.Data.(Got).Version == version && read.At < e.Began &&
			(!over || ended >= e.Began) {
			return read.At
		}
	}
	return e.Began
}

// followed notes a reader that begins or stops waiting for news.
func (c *checker) followed(e *Entry) {
	f := c.follows[e.Case]
	if f == nil {
		f = &following{until: -time.Hour, ended: map[string]time.Duration{}}
		c.follows[e.Case] = f
	}
	if e.What == "ends" {
		f.now, f.until, f.ended[e.Invocation] = f.now-1, e.At, e.At
		return
	}
	if f.now == 0 && e.At > f.until+followGap {
		f.since = e.At
	}
	f.now++
}

// isAble notes whether more frequent polls would show more of a run. The run must be sent and not
// waiting only for its terminal report, and the pipeline must be readable.
func (s *seen) isAble(e *Entry, n Commit, rules cases.Rules) {
	r := n.Case
	able := (!rules.PollNeedsJob || r.Job.ID != "") && !r.State.Ended() &&
		(r.Dispatch.Phase != cases.PhaseQueued || r.Dispatch.Attempts > 0) &&
		r.Checks.ConsecutiveFailures == 0 &&
		r.Job.CompleteSince.IsZero()
	switch {
	case !able:
		s.able = 0
	case s.able == 0:
		s.able = e.At
	}
}

// fresh checks that a followed run was polled soon enough after the previous poll.
func (c *checker) fresh(e *Entry, s *seen) {
	f := c.follows[s.key.id]
	if !c.faultless() || s.ended || s.able == 0 || f == nil || f.now == 0 && e.At > f.until+followGap {
		return
	}
	for _, other := range c.order {
		if other.key.id == s.key.id && other.key.run > s.key.run {
			return // that is the one that is followed
		}
	}
	by := max(s.seenAt, s.able, f.since, s.notBefore) + c.rec.Plan.Rules.CheckMinInterval + freshGrace
	if len(c.rec.Plan.Skews) > 1 { // by clocks that differ, a look may be planned so much later
		by += skewGrace
	}
	if e.At > by && e.At > s.begun+time.Second {
		c.broken(
			Fresh,
			s.key,
			e.At,
			"it was last looked at at %s, and is followed since %s",
			clock(s.seenAt),
			clock(f.since),
		)
	}
}
