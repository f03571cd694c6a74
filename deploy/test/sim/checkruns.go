package sim

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
)

func (c *checker) commit(e *Entry, n Commit) {
	key := runKey{n.Case.CaseID, n.Case.Run}
	s := c.runs[key]
	if s == nil {
		s = &seen{
			key:      key,
			begun:    e.At,
			first:    n,
			versions: map[int64]Commit{},
			at:       map[int64]time.Duration{},
			wrote:    map[string]time.Duration{},
			read:     map[string]time.Duration{},
			passed:   map[int64]string{},
			wakes:    map[queue.Kind]*wake{},
			polls:    map[string]poll{},
		}
		if prior := c.runs[runKey{key.id, key.run - 1}]; prior != nil && !n.Case.Adopted &&
			!c.rec.Plan.Rules.PollsOwnRun {
			s.before = prior.last.Case.Job.Reading
		}
		s.finals = c.early[key]
		c.runs[key] = s
		c.order = append(c.order, s)
	} else {
		if strings.HasPrefix(e.Invocation, followName) && n.Case.Checks.Seq > s.last.Case.Checks.Seq {
			s.passed[s.last.Case.Checks.Seq] = e.Invocation
		}
		c.step(e, s, n)
		s.learns(e, s.last.Case, n.Case)
	}
	c.whole(e, s, n)
	s.isAble(e, n, c.rec.Plan.Rules)
	s.versions[n.Case.Version], s.at[n.Case.Version], s.wrote[e.Invocation] = n, e.At, e.At
	s.hasWakes(e, n)
	c.rescheduled(e, s, n)
	if strings.HasPrefix(e.Invocation, "dispatch") && n.Case.Dispatch.Phase == cases.PhaseInFlight {
		s.marks++
		s.handed, s.marked, s.looked = true, e.At, max(s.looked, e.Began)
	}
	if !n.Case.State.Ended() && n.Case.Checks.NextAt.After(n.Case.DeadlineAt) {
		c.broken(Ends, key, e.At, "its next check is after its deadline")
	}
	if n.Case.Dispatch.Phase == cases.PhaseQueued && !n.Case.State.Ended() &&
		n.Case.Dispatch.At.After(n.Case.DeadlineAt) {
		c.broken(Ends, key, e.At, "its next dispatch is after its deadline")
	}
	if n.Case.Outcome.Late != nil && n.Case.Outcome.Late.HasResult && n.Late == "" {
		c.broken(LateKept, key, e.At, "its late result is nowhere")
	}
	if n.Case.State.Ended() && !n.Case.Checks.NextAt.IsZero() {
		c.broken(NothingLeft, key, e.At, "it has ended, and a next check at %s", n.Case.Checks.NextAt)
	}
	if n.Case.State.Ended() && !s.ended {
		s.ended, s.endedAt, s.endedBy, s.end = true, e.At, e.Invocation, n
		c.ending(e, s, n.Case)
	}
	s.last = n
	if n.Begun {
		for _, other := range c.order {
			if other.key.id == key.id && other != s && !other.ended {
				c.broken(OneOpen, key, e.At, "run %d is open", other.key.run)
			}
		}
	}
}

// whole checks that only a success shows 100 %, and of all its documents.
func (c *checker) whole(e *Entry, s *seen, n Commit) {
	p, succeeded := n.Case.Job.Progress, n.Case.State == cases.Succeeded
	switch {
	case succeeded != (p.Percent == 100), !succeeded && p.Percent > 99.9, succeeded && p.Completed != p.Total:
		c.broken(Whole, s.key, e.At, "it is %s at %d of %d, %v %%", n.Case.State, p.Completed, p.Total, p.Percent)
	case succeeded && !s.ended && strings.Contains(n.Result, `"total_sets":5`) && p.Total < 5:
		c.broken(Whole, s.key, e.At, "it succeeded with %d of %d, and has 5 documents", p.Completed, p.Total)
	}
}

// ending checks the end of a run.
func (c *checker) ending(e *Entry, s *seen, n cases.Case) {
	c.patience(e, s, n)
	if n.Outcome.End.Source == cases.SourceEvent && n.Outcome.End.Reason == cases.ReasonCompleted &&
		s.end.Result == "" &&
		s.open > 0 {
		c.unwaited(e, s)
	}
	if n.Outcome.End.Source == cases.SourceDispatch && n.Outcome.End.Reason == cases.ReasonPipelineFailed &&
		s.lastSent == cases.DispatchBusy &&
		!s.polled &&
		!s.confirmed &&
		s.key.run == 1 {
		c.broken(Patience, s.key, e.At, "it was given up, and the pipeline was busy")
	}
	byCheck := n.Outcome.End.Source == cases.SourceCheck
	if byCheck && s.open > 0 && e.At < s.open+c.rec.Plan.Rules.PipelineTimeout-skewGrace {
		c.broken(
			OpenRequest,
			s.key,
			e.At,
			"%s, by a check; its request is open since %s",
			n.Outcome.End.Reason,
			clock(s.open),
		)
	}
	told := n.Outcome.End.Reason == cases.ReasonCompleted || n.Outcome.End.Reason == cases.ReasonPipelineFailed ||
		n.Outcome.End.Reason == cases.ReasonNoDocuments ||
		n.Outcome.End.Reason == cases.ReasonPipelineRefused
	if told && !s.tried && !n.Adopted {
		c.broken(SentFirst, s.key, e.At, "it ended as %s by %s", n.Outcome.End.Reason, n.Outcome.End.Source)
	}
}

// step compares a record with the one before.
func (c *checker) step(e *Entry, s *seen, n Commit) {
	o := s.last
	p, q := o.Case.Job.Progress, n.Case.Job.Progress
	if q.Completed < p.Completed || q.Percent < p.Percent {
		c.broken(
			Forwards,
			s.key,
			e.At,
			"%d (%.1f %%) after %d (%.1f %%)",
			q.Completed,
			q.Percent,
			p.Completed,
			p.Percent,
		)
	}
	if !n.Case.DeadlineAt.Equal(s.first.Case.DeadlineAt) {
		c.broken(Ends, s.key, e.At, "its deadline moved")
	}
	if !s.ended {
		if o.Case.Dispatch.Phase == cases.PhaseQueued && n.Case.Dispatch.Phase == cases.PhaseInFlight &&
			s.read[e.Invocation] > c.deadline(s)+skewGrace {
			c.broken(Ends, s.key, e.At, "%s begins, and its deadline was at %s", e.Invocation, clock(c.deadline(s)))
		}
		if o.Case.Dispatch.Phase == cases.PhaseInFlight && n.Case.Dispatch.Phase == cases.PhaseQueued {
			s.nothing++
			s.polled = s.polled && s.lastSent != cases.DispatchUnreachable // what was seen cannot have been this
		}
		moved := q.Completed > p.Completed || n.Case.State == cases.Running && o.Case.State == cases.Pending
		switch byCheck := strings.HasPrefix(e.Invocation, "check"); {
		case moved && byCheck && o.Case.Dispatch.Phase == cases.PhaseQueued && s.nothing == s.marks && !n.Case.Adopted:
			c.broken(SentFirst, s.key, e.At, "%s believes %v, and nothing was started", e.Invocation, q)
		case n.Case.State == cases.Succeeded && (n.Case.Outcome.End.Source == cases.SourceEvent ||
			n.Case.Outcome.End.Source == cases.SourceCallback):
			// The event reported success, so the check completes the progress.
		case moved && byCheck && s.before != nil:
			c.broken(OwnResult, s.key, e.At, "%s believes %v, which is what the run before left", e.Invocation, q)
		}
		if strings.HasPrefix(e.Invocation, "check") && o.Case.Checks.Seq != e.Seq {
			c.broken(StaleDrops, s.key, e.At, "%s wrote, and check #%d was waited for", e.Invocation, o.Case.Checks.Seq)
		}
		if n.Case.State.Ended() && n.Result != "" && !agrees(n.Result, n.Case.State) {
			c.broken(Fills, s.key, e.At, "it is %s with the result %s", n.Case.State, n.Result)
		}
		c.ownResult(e, n, "")
		return
	}
	was, is := s.end.Case, n.Case
	switch {
	case is.State != was.State,
		is.Outcome.End == nil,
		is.Outcome.End.Reason != was.Outcome.End.Reason,
		is.Outcome.End.Source != was.Outcome.End.Source,
		!is.Outcome.EndedAt.Equal(was.Outcome.EndedAt):
		c.broken(Final, s.key, e.At, "it was %s (%s), and is %s", was.State, was.Outcome.End.Reason, is.State)
		return
	case is.Job.Progress != was.Job.Progress:
		c.broken(Final, s.key, e.At, "its progress changed from %v to %v", was.Job.Progress, is.Job.Progress)
	}
	if n.Result != o.Result && (o.Result != "" || !agrees(n.Result, is.State)) {
		c.broken(Fills, s.key, e.At, "the result %q of a run that %s became %q", o.Result, is.State, n.Result)
	}
	if n.Result == o.Result &&
		(is.Outcome.OutputURL != o.Case.Outcome.OutputURL ||
			(o.Case.Outcome.Documents != nil) != (is.Outcome.Documents != nil)) {
		c.broken(Final, s.key, e.At, "its documents changed without a result")
	}
	c.ownResult(e, n, o.Result)
	if l := o.Case.Outcome.Late; l != nil &&
		(is.Outcome.Late == nil || is.Outcome.Late.State != l.State ||
			is.Outcome.Late.Message != l.Message || is.Outcome.Late.Count < l.Count) {
		c.broken(LateKept, s.key, e.At, "%+v became %+v", l, is.Outcome.Late)
	}
	if o.Late != "" && n.Late != o.Late {
		c.broken(LateKept, s.key, e.At, "its result changed")
	}
}

// ownResult checks that the result of a run is its own.
func (c *checker) ownResult(e *Entry, n Commit, before string) {
	if n.Result == "" || n.Result == before || n.Case.Adopted {
		return
	}
	var result struct {
		OfRun int `json:"of_run"`
		Word  int
	}
	if err := json.Unmarshal([]byte(n.Result), &result); err != nil || result.OfRun == n.Case.Run {
		return
	}
	key := runKey{n.Case.CaseID, n.Case.Run}
	if w, ok := c.said[result.Word]; ok && !w.Named && c.mayBeOf(key, w) {
		return // who publishes it twice, and names no run, cannot be told from who works on the next
	}
	c.broken(OwnResult, key, e.At, "%s", n.Result)
}

// mayBeOf reports whether a report that names no run counts for a run: it came after the run began,
// and no earlier run still expects a report.
func (c *checker) mayBeOf(key runKey, w Said) bool {
	if s := c.runs[key]; s == nil || w.At+skewGrace < s.begun {
		return false
	}
	for _, s := range c.order {
		if s.key.id != key.id || s.key.run >= key.run || s.started == 0 {
			continue
		}
		end := s.end.Case.Outcome.End
		own := s.ended && (end.Reason == cases.ReasonCompleted || end.Reason == cases.ReasonPipelineFailed ||
			end.Reason == cases.ReasonNoDocuments || end.Reason == cases.ReasonPipelineRefused)
		if guessed := own && end.Source == cases.SourceCheck && end.Message == "completed without a result"; !own ||
			guessed {
			return false
		}
	}
	return true
}

// agrees reports whether a result agrees with the end of the run.
func agrees(result string, s cases.State) bool {
	good := strings.Contains(result, `"success":true`) && !strings.Contains(result, `"succeeded":0`)
	return good == (s == cases.Succeeded) && (good || s == cases.Failed)
}
