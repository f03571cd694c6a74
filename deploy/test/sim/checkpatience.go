package sim

import (
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// patience looks whether a run that ended by a check was given the time it is to have. Looks whose outcome was lost make it laxer, never stricter.
func (c *checker) patience(e *Entry, s *seen, n cases.Case) {
	rules, from := c.rec.Plan.Rules, time.Duration(0)
	var grace time.Duration
	switch early := n.Outcome.End.Source != cases.SourceCheck || s.key.run > 1; { // what a rerun is shown may be of the run before
	case n.Outcome.End.Reason == cases.ReasonDeadline && n.Outcome.EndedAt.Before(n.DeadlineAt):
		c.broken(Patience, s.key, e.At, "its deadline is at %v", n.DeadlineAt)
	case early:
	case s.unknown == 0 && (n.Outcome.End.Reason == cases.ReasonStartUnknown || n.Outcome.End.Reason == cases.ReasonPipelineLost):
		c.broken(Patience, s.key, e.At, "%s, and every look found it", n.Outcome.End.Reason)
	case s.counted == 0 && n.Outcome.End.Reason == cases.ReasonCompleted && !s.ownWord:
		c.broken(Patience, s.key, e.At, "it was taken to be complete, and no look found it so, or it was said to be running since")
	case n.Outcome.End.Reason == cases.ReasonStartUnknown:
		from, grace = s.unknown, rules.StartGrace
	case n.Outcome.End.Reason == cases.ReasonPipelineLost:
		from, grace = s.unknown, rules.UnreachableAfter
	case n.Outcome.End.Reason == cases.ReasonPipelineUnreachable:
		from, grace = max(s.looked, s.reached), rules.UnreachableAfter
	case n.Outcome.End.Reason == cases.ReasonCompleted && !s.ownWord && n.Outcome.EndedAt.Before(n.DeadlineAt):
		from, grace = s.counted, rules.CompletionGrace
	}
	if e.At < from+grace-skewGrace {
		c.broken(Patience, s.key, e.At, "%s, %v after it first seemed so", n.Outcome.End.Reason, e.At-from)
	}
}

// unwaited looks whether an event without a result ended a run before its request, which is open, had the time to bring one.
func (c *checker) unwaited(e *Entry, s *seen) {
	rules := c.rec.Plan.Rules
	first := e.At
	for _, w := range c.said {
		if w.Case == s.key.id && w.Status == "succeeded" {
			first = min(first, w.At)
		}
	}
	by := min(first+rules.CompletionGrace, s.open+rules.PipelineTimeout) - skewGrace
	if end := s.end.Case; e.At < by && end.Outcome.EndedAt.Before(end.DeadlineAt) {
		c.broken(Patience, s.key, e.At, "it ended without a result, and had until %s to be answered", clock(by))
	}
}
