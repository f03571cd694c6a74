package sim

import (
	"strings"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
)

// done checks the state that an invocation leaves when it reports success.
func (c *checker) done(e *Entry) {
	for _, s := range c.order {
		if s.ended {
			if s.endedBy == e.Invocation && len(s.told) == 0 && !c.trouble[e.Invocation] && c.rec.Plan.punctual() {
				c.broken(Published, s.key, e.At, "%s ended it, and is done, and nobody was told", e.Invocation)
			}
			continue
		}
		// A viewer does not wait for a slow store. The earlier check schedules the next one.
		gaveUp := strings.HasPrefix(e.Invocation, followName) && !c.rec.Plan.punctual()
		for kind, k := range s.wakes {
			if k.by == e.Invocation && !gaveUp && !k.isAsked() && c.waits(s, kind) && !c.trouble[e.Invocation] {
				c.broken(Watched, s.key, e.At, "%s is done, and %s #%d is not scheduled", e.Invocation, kind, k.seq)
			}
		}
		if s.answer == e.Invocation {
			c.broken(Heard, s.key, e.At, "%s was answered how it ended, and it is %s", e.Invocation, s.last.Case.State)
		}
	}
	if s := c.runs[runKey{e.Case, e.Run}]; s != nil {
		c.delivered(e, s)
	}
}

// delivered checks the state that a delivery of a task or an event leaves when it reports success.
func (c *checker) delivered(e *Entry, s *seen) {
	message, _, redelivered := strings.Cut(e.Invocation, " delivery ")
	again := redelivered && strings.HasPrefix(s.endedBy, message+" delivery ") && c.names(message)
	stops := strings.HasPrefix(e.Invocation, "stop")
	switch {
	case stops: // its task exists before the end is published
	case s.ended && len(s.told) == 0 && e.Began > s.endedAt && (e.Seq > 0 || again):
		c.broken(Published, s.key, e.At, "it ended before %s, and nobody was told", e.Invocation)
	case s.ended || e.Seq == 0:
	case strings.HasPrefix(e.Invocation, "check"):
		if k := s.wakes[queue.Check]; k.seq == e.Seq+1 && !k.isAsked() {
			c.broken(Watched, s.key, e.At, "%s is done, and the next is not scheduled", e.Invocation)
		}
	default:
		if k := s.wakes[queue.Dispatch]; k.seq == e.Seq+1 && k.at < e.Began && !k.isAsked() &&
			c.waits(s, queue.Dispatch) {
			c.broken(Watched, s.key, e.At, "%s is done, and the next is not scheduled", e.Invocation)
		}
	}
}

// names reports whether an event names its run. An event that does not may count for another run
// when it is delivered again.
func (c *checker) names(message string) bool {
	for _, d := range c.said {
		if d.Named && strings.HasSuffix(message, " "+d.ID) {
			return true
		}
	}
	return false
}

// waits reports whether the record of an open run waits for a task of that kind.
func (c *checker) waits(s *seen, kind queue.Kind) bool {
	return kind == queue.Check || s.last.Case.Dispatch.Phase == cases.PhaseQueued
}

// stale checks that a delivery polls or dispatches nothing if a later one was already requested.
func (c *checker) stale(e *Entry, s *seen, kind queue.Kind, what string) {
	if e.Seq > 0 && s.wakes[kind].isPast(e.Seq, max(e.Began, s.wrote[e.Invocation])) {
		c.broken(StaleDrops, s.key, e.At, "%s %s, and a later one was scheduled", e.Invocation, what)
	}
}

func (c *checker) looked(e *Entry, d Looked) {
	s := c.runs[runKey{e.Case, e.Run}]
	if s == nil {
		return
	}
	if !s.tried && !s.first.Case.Adopted {
		c.broken(SentFirst, s.key, e.At, "%s asks", e.Invocation)
	}
	if s.ended && e.Began > s.endedAt {
		c.broken(
			NoneAfterEnd,
			s.key,
			e.At,
			"%s began at %s, the run ended at %s",
			e.Invocation,
			clock(e.Began),
			clock(s.endedAt),
		)
	}
	c.stale(e, s, queue.Check, "asks")
	if s.notBefore > 0 && e.At < s.notBefore-skewGrace && e.Began > s.wroteAt {
		c.broken(Polite, s.key, e.At, "%s polls, and the pipeline named %s", e.Invocation, clock(s.notBefore))
	}
	c.fresh(e, s)
	s.seenAt = e.At
	s.polls[e.Invocation] = poll{
		Polled{Outcome: cases.CheckOutcome{Kind: cases.CheckFailed}},
		e.At,
	} // until the answer comes
	r := d.Outcome.Reading
	if b := s.before; b != nil && d.Outcome.Kind == cases.CheckReading &&
		(r.Completed != b.Completed || r.Total != b.Total || r.Status != b.Status) {
		s.before = nil
	}
	switch {
	case d.Outcome.Kind == cases.CheckUnknown && s.unknown == 0:
		s.unknown = e.At
	case r.Status == "succeeded", r.Status == "failed":
		s.finals++
		s.ownWord = true
	}
}

// learns notes what a check or an event added to the record.
func (s *seen) learns(e *Entry, before, n cases.Case) {
	if strings.HasPrefix(e.Invocation, "complete ") && !n.State.Ended() {
		s.sighted(e)
		s.confirmed, s.counted = true, 0
	}
	d, ok := s.polls[e.Invocation]
	if !ok || !strings.HasPrefix(e.Invocation, "check ") {
		return
	}
	delete(s.polls, e.Invocation)
	out, r := d.Outcome, d.Outcome.Reading
	s.notBefore = 0
	if out.Kind != cases.CheckFailed {
		s.reached = d.at
	}
	switch {
	case out.Kind == cases.CheckBusy && out.RetryAfter > 0:
		s.notBefore, s.wroteAt = d.at+out.RetryAfter, e.At
	case out.Kind != cases.CheckReading:
	case r.Status != "" || r.Total == 0 || r.Completed < r.Total:
		s.counted = 0
	case s.counted == 0:
		s.counted = d.at
	}
	inFlight := before.Dispatch.Phase == cases.PhaseInFlight || before.Dispatch.Phase == cases.PhaseUncertain
	if out.Kind == cases.CheckReading && d.Of == s.key && s.key.run == 1 &&
		inFlight { // of a later run it may seem to be the one before
		s.sighted(e)
		s.polled = true
	}
}

// sighted notes when a record first showed that the pipeline works on the run.
func (s *seen) sighted(e *Entry) {
	if !s.polled && !s.confirmed {
		s.sightedAt = e.At
	}
}
