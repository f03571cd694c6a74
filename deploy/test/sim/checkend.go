package sim

import (
	"slices"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

func (c *checker) runsOf(id string) (n int) {
	for _, s := range c.order {
		if s.key.id == id {
			n++
		}
	}
	return n
}

// otherReports counts the terminal reports of a run that can only be late: they are neither its end
// nor the result that followed.
func (s *seen) otherReports() int {
	n := s.finals
	if end := s.end.Case.Outcome.End; (end.Source == cases.SourceDispatch || end.Source == cases.SourceEvent ||
		end.Source == cases.SourceCallback) &&
		end.Reason != cases.ReasonPipelineRefused &&
		end.Reason != cases.ReasonPipelineUnreachable {
		n--
	}
	if s.end.Result == "" && s.last.Result != "" {
		n--
	}
	return n
}

func (c *checker) atTheEnd() {
	at := time.Duration(0)
	if n := len(c.rec.Entries); n > 0 {
		at = c.rec.Entries[n-1].At
	}
	for _, s := range c.order {
		if !s.ended {
			c.broken(Ends, s.key, at, "it is %s", s.last.Case.State)
			continue
		}
		if len(s.told) == 0 {
			c.broken(Published, s.key, at, "it was not")
		}
		if c.faultless() {
			if len(s.told) > 1 && len(c.rec.Plan.Skews) == 1 { // by clocks that differ, an end may seem old
				c.broken(Published, s.key, at, "%d times, and nothing was wrong", len(s.told))
			}
			if by := c.deadline(s) + c.rec.Plan.CheckTimeout + 2*skewGrace; s.endedAt > by {
				c.broken(Ends, s.key, s.endedAt, "by %s it had to, and nothing was wrong", clock(by))
			}
		}
		if l := s.last.Case.Outcome.Late; l != nil && l.Count > s.otherReports() && c.runsOf(s.key.id) == 1 {
			c.broken(LateKept, s.key, at, "%d words are counted, and there were %d", l.Count, s.otherReports())
		}
		c.reportsKept(s, at)
		c.stopped(s, at)
	}
	for _, key := range c.rec.Forms {
		if s := c.runs[key]; s != nil && s.formSweeps >= sweepsGranted {
			c.broken(Forgotten, key, at, "its form is kept after its time")
		}
		if s := c.runs[key]; s != nil && s.ended && s.last.Case.State == cases.Succeeded {
			c.broken(Forgotten, key, at, "it succeeded, and its form is kept")
		}
	}
	if c.rec.Plan.Later && c.rec.Runs > 0 {
		c.broken(Forgotten, runKey{}, at, "%d runs are kept", c.rec.Runs)
	}
	for _, t := range c.rec.Left {
		c.broken(NothingLeft, runKey{t.Case, t.Run}, at, "%s #%d", t.Kind, t.Seq)
	}
	slices.SortStableFunc(c.found, func(a, b Violation) int { return int(a.At - b.At) })
}

// stopped checks what became of the job of a run that a cancel or its deadline ended.
func (c *checker) stopped(s *seen, at time.Duration) {
	n, rules := s.last.Case, c.rec.Plan.Rules
	early := n.State == cases.Cancelled || n.State == cases.TimedOut
	known := n.Job.ID != "" || !rules.CancelNeedsJob
	switch {
	case s.purged:
	case n.Stop.State == cases.StopRequested:
		c.broken(Stopped, s.key, at, "it is still to be cancelled")
	case n.Stop.State != cases.StopNone && !early:
		c.broken(Stopped, s.key, at, "it was cancelled, and the run is %s", n.State)
	case n.Stop.State == cases.StopNone && rules.CanCancel && early && known && s.started > 0 && !n.Outcome.Reported:
		c.broken(Stopped, s.key, at, "nobody cancelled it")
	}
}

// reportsKept checks that every report after the end is in the record.
func (c *checker) reportsKept(s *seen, at time.Duration) {
	for _, w := range s.words {
		if w.Status == "running" || s.purged {
			continue
		}
		good := w.Status == "succeeded" && !w.Nothing
		other := good != (s.end.Case.State == cases.Succeeded) || !good && s.end.Case.State != cases.Failed
		switch {
		case other && (s.last.Case.Outcome.Late == nil || s.last.Case.Outcome.Late.Count == 0) &&
			!c.reportedBefore(s, w):
			c.broken(LateKept, s.key, at, "word %d said %s, and is not kept", w.Word, w.Status)
		case !other && w.Result && s.last.Result == "" && !c.reportedBefore(s, w):
			c.broken(Fills, s.key, at, "word %d brought a result, and it has none", w.Word)
		}
	}
}

// reportedBefore reports whether a report was taken before the end, by a delivery whose answer came
// after it.
func (c *checker) reportedBefore(s *seen, w Said) bool {
	for _, id := range s.end.Case.Outcome.ReportIDs {
		if id == "event:"+w.ID || id == "callback:"+w.ID {
			return true
		}
	}
	return false
}
