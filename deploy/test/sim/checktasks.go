package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
)

// scheduled checks a request to the queue.
func (c *checker) scheduled(e *Entry, d TaskChange) {
	s := c.runs[runKey{e.Case, e.Run}]
	if s == nil {
		return
	}
	if k := s.wakes[d.Kind]; !d.Deleted && k != nil {
		if _, ok := k.asked[d.Seq]; !ok {
			k.asked[d.Seq] = e.At
		}
	}
	made, was := c.made[d.Name]
	if d.Created && !was {
		c.made[d.Name] = e.At
	}
	if d.Gone && strings.HasPrefix(e.Invocation, "sweep") && made < s.wrote[e.Invocation] {
		c.broken(Watched, s.key, e.At, "the sweep schedules %s #%d, which was there before", d.Kind, d.Seq)
	}
	if s.ended && d.Created && e.Began <= s.endedAt {
		s.crossed = true
	}
	waiting := slices.DeleteFunc(
		slices.Clone(d.Waiting),
		func(seq int64) bool { return d.Kind == queue.Check && c.isPassed(s, seq) },
	)
	// A job that starts after the end is cancelled once more. The request before, if it still waits, is
	// dropped.
	if len(waiting) > 1 && d.Kind != queue.Stop && c.rec.Plan.punctual() &&
		c.rec.Plan.Tombstone >= time.Hour { // else a repeated start may schedule a stale one, which is dropped
		c.broken(OneChain, s.key, e.At, "%ss %v wait", d.Kind, waiting)
	}
}

// isPassed reports whether a check was replaced by a later number, and the invocation that replaced
// it is still running or could not delete the old task. The old task is deleted after the new one
// is scheduled. A delivery in between finds that it is stale.
func (c *checker) isPassed(s *seen, seq int64) bool {
	by, ok := s.passed[seq]
	return ok && (!c.well[by] || c.trouble[by])
}

// existence notes the answer of the queue to a sweep.
func (c *checker) existence(e *Entry, d Existence) {
	s := c.runs[runKey{e.Case, e.Run}]
	switch {
	case s == nil || !strings.HasPrefix(e.Invocation, "sweep"):
	case s.ended && d.Exists && d.Kind == queue.Check:
		c.left[e.Invocation]++
	case !s.ended && d.Kind != queue.Stop:
		s.wakes[d.Kind].told[e.Invocation] = d
	}
}

func (c *checker) sent(e *Entry, d Sent) {
	key := runKey{e.Case, e.Run}
	s := c.runs[key]
	if s == nil {
		c.broken(StartedOnce, key, e.At, "it was sent before it was recorded")
		return
	}
	c.stale(e, s, queue.Dispatch, "sends")
	s.open, s.opener = e.Began, e.Invocation
	if at, ok := s.wrote[e.Invocation]; ok && s.delivered > at || c.over[e.Invocation] {
		s.open = 0 // perhaps it was given up before it arrived, and nobody waits for its answer any more
	}
	// A request that was marked before the sighting cannot know of it: its instance may be slow.
	marked, ok := s.wrote[e.Invocation]
	if (s.polled || s.confirmed) && (!ok || s.sightedAt < marked) && !d.Idempotent {
		c.broken(StartedOnce, key, e.At, "%s sends it, and it was seen at work", e.Invocation)
	}
	s.lastSent = d.Outcome
	if d.Started {
		s.started++
	}
	if d.Started && (d.Outcome == cases.DispatchSucceeded || d.Outcome == cases.DispatchFailed) || d.SaysFailed {
		s.finals++
	}
	if s.started > 1 && !d.Idempotent {
		c.broken(StartedOnce, key, e.At, "%s is request number %d", e.Invocation, s.started)
	}
	if s.ended && e.Began > s.endedAt {
		c.broken(NoneAfterEnd, key, e.At, "%s began after the end, and sent it", e.Invocation)
	}
	if d.Form != s.first.Form {
		c.broken(StartKept, key, e.At, "the form sent is not the one recorded")
	}
}

func (c *checker) sample(e *Entry, d Sample) {
	checks, dispatches := map[runKey]bool{}, map[runKey]bool{}
	for _, t := range d.Tasks {
		switch t.Kind {
		case queue.Check:
			checks[runKey{t.Case, t.Run}] = true
		case queue.Dispatch:
			dispatches[runKey{t.Case, t.Run}] = true
		}
	}
	for _, s := range c.order {
		if s.ended || checks[s.key] && (dispatches[s.key] || s.handed || s.first.Case.Adopted) {
			s.alone = 0
			continue
		}
		if s.alone++; s.alone == 4 && d.Quiet { // longer than it takes to schedule one
			c.broken(Watched, s.key, e.At, "check %v, dispatch %v", checks[s.key], dispatches[s.key])
		}
	}
	for _, s := range c.order {
		c.fresh(e, s)
	}
	pending := map[runKey]int{}
	for _, t := range d.Tasks {
		key := runKey{t.Case, t.Run}
		if s := c.runs[key]; t.Kind == "check" && !t.Running && !c.repeats(t) && (s == nil || !c.isPassed(s, t.Seq)) {
			if pending[key]++; pending[key] == 2 {
				c.broken(OneChain, key, e.At, "two checks are pending")
			}
		}
		s := c.runs[key]
		if !t.Running && t.Kind != queue.Stop && (s == nil || s.ended && e.At > max(s.endedAt, t.Since)+c.leftOver(s)) {
			c.broken(NothingLeft, key, e.At, "a %s of a run that ended long ago", t.Kind)
		}
	}
}

// repeats reports whether a task only repeats a delivery whose work is saved.
func (c *checker) repeats(t Task) bool {
	s := c.runs[runKey{t.Case, t.Run}]
	return s != nil && t.Tried && t.Seq < s.last.Case.Checks.Seq
}

func (c *checker) faultless() bool { return c.rec.Plan.calm() && len(c.rec.Plan.Windows) == 0 }

// leftOver is how long a task may be pending after the end.
func (c *checker) leftOver(s *seen) time.Duration {
	if c.faultless() && !s.crossed {
		return 3 * time.Second
	}
	return leftOverBefore
}
