package sim

import (
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// patience checks that a run that a check ended had its full grace. Polls whose outcome was lost
// make this check laxer, never stricter.
func (c *checker) patience(e *Entry, s *seen, n cases.Case) {
	rules, from := c.rec.Plan.Rules, time.Duration(0)
	var grace time.Duration
	reason := n.Outcome.End.Reason
	// The polls of a rerun may show the previous run.
	unknowable := n.Outcome.End.Source != cases.SourceCheck || s.key.run > 1
	switch {
	case reason == cases.ReasonDeadline && n.Outcome.EndedAt.Before(n.DeadlineAt):
		c.broken(Patience, s.key, e.At, "its deadline is at %v", n.DeadlineAt)
	case reason == cases.ReasonStartUnknown && rules.PollNeedsJob && n.Job.ID == "":
		from, grace = s.marked, rules.StartGrace // nothing can be asked
	case unknowable:
	case s.unknown == 0 && (reason == cases.ReasonStartUnknown || reason == cases.ReasonPipelineLost):
		c.broken(Patience, s.key, e.At, "%s, and every poll found it", reason)
	case s.counted == 0 && reason == cases.ReasonCompleted && !s.ownWord:
		c.broken(Patience, s.key, e.At,
			"it ended as completed, but no poll found it complete, or it was reported as running since")
	case reason == cases.ReasonStartUnknown:
		from, grace = s.unknown, rules.StartGrace
	case reason == cases.ReasonPipelineLost:
		from, grace = s.unknown, rules.UnreachableAfter
	case reason == cases.ReasonPipelineUnreachable:
		from, grace = max(s.looked, s.reached), rules.UnreachableAfter
	case reason == cases.ReasonCompleted && !s.ownWord && n.Outcome.EndedAt.Before(n.DeadlineAt):
		from, grace = s.counted, rules.CompletionGrace
	}
	if e.At < from+grace-skewGrace {
		c.broken(Patience, s.key, e.At, "%s, %v after its first sign", reason, e.At-from)
	}
}

// unwaited checks that an event without a result does not end a run before the request in flight
// had time to return a result.
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
