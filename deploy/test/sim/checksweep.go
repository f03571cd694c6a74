package sim

import (
	"errors"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
)

func (c *checker) swept(e *Entry, d Swept) {
	// A check may be pending after the end if the instance that had to delete it died or failed.
	// Then the sweep's number is correct.
	if r := d.Report; c.faultless() && len(c.rec.Plan.Skews) == 1 && r.Rescheduled+r.Republished > 0 {
		c.broken(Idle, runKey{}, e.At, "%+v", r)
	}
	if d.Report.Leaked > c.left[d.Name] || d.Report.Leaked > 0 && c.faultless() {
		c.broken(NoLeak, runKey{}, e.At, "%+v", d.Report)
	}
	// Without the queue or the topic, a sweep still ends overdue runs.
	if !d.Done &&
		(c.storeFailed[d.Name] || !c.rec.Plan.punctual() || errors.Is(e.Err, errDied) || errors.Is(e.Err, errTimeout)) {
		return
	}
	for _, s := range c.order {
		if d.Done {
			c.lost(e, s, d)
		}
		if d.Done && s.ended &&
			d.Began > s.endedAt+c.rec.Plan.Rules.FormRetention+c.rec.Plan.CheckTimeout+sweepGrace+skewGrace {
			s.formSweeps++
		}
		if s.ended || d.Began < c.deadline(s)+c.rec.Plan.CheckTimeout+sweepGrace+skewGrace {
			continue
		}
		if s.sweeps++; s.sweeps >= sweepsGranted && !s.overdue {
			s.overdue = true
			c.broken(
				Ends,
				s.key,
				e.At,
				"its deadline was at %s, and %d sweeps went over it",
				clock(c.deadline(s)),
				s.sweeps,
			)
		}
	}
}

// deadline is when a run must end, on the true clock. The times of the record are on the clock of
// the instance that began the run.
func (c *checker) deadline(s *seen) time.Duration {
	return s.begun + s.first.Case.DeadlineAt.Sub(s.first.Case.CreatedAt)
}

// lost checks that no sweep leaves an open run without an overdue task.
func (c *checker) lost(e *Entry, s *seen, d Swept) {
	if c.trouble[d.Name] {
		return
	}
	due := map[queue.Kind]time.Time{queue.Check: s.last.Case.Checks.NextAt, queue.Dispatch: s.last.Case.Dispatch.At}
	for _, kind := range []queue.Kind{queue.Check, queue.Dispatch} {
		k, pends := s.wakes[kind], false
		for _, t := range d.Left {
			pends = pends || t.Kind == kind && t.Case == s.key.id && t.Run == s.key.run
		}
		late := d.Began > due[kind].Sub(c.rec.Began)+c.rec.Plan.CheckTimeout+sweepGrace+skewGrace
		if s.ended || !c.waits(s, kind) || pends || !late {
			k.lost = 0
			continue
		}
		if k.lost++; k.lost == sweepsGranted {
			c.broken(Watched, s.key, e.At, "%d sweeps went over it, and its %s is nowhere", k.lost, kind)
		}
	}
}

// rescheduled checks that a sweep schedules exactly the tasks that the queue no longer has.
func (c *checker) rescheduled(e *Entry, s *seen, n Commit) {
	for kind, k := range s.wakes {
		t, asked := k.told[e.Invocation]
		switch {
		case !asked || n.Case.State.Ended() || kind == queue.Dispatch && n.Case.Dispatch.Phase != cases.PhaseQueued:
		case !t.Exists && t.Seq == k.seq:
			c.broken(
				Watched,
				s.key,
				e.At,
				"%s was told that %s #%d is gone, and leaves the run waiting for it",
				e.Invocation,
				kind,
				t.Seq,
			)
		case t.Exists && t.Seq != k.seq:
			c.broken(
				OneChain,
				s.key,
				e.At,
				"%s was told that %s #%d is only late, and schedules #%d",
				e.Invocation,
				kind,
				t.Seq,
				k.seq,
			)
		}
	}
}
