package sim

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
)

// told checks a published end.
func (c *checker) told(e *Entry, d Told) {
	key := runKey{e.Case, e.Run}
	s := c.runs[key]
	if s == nil || !s.ended {
		c.broken(Published, key, e.At, "before it ended")
		return
	}
	var v struct {
		CaseID   string `json:"case_id"`
		Run      int
		State    cases.State
		End      *cases.End
		EndedAt  time.Time `json:"ended_at"`
		Progress cases.Progress
	}
	if err := json.Unmarshal(d.Data, &v); err != nil || v.End == nil {
		c.broken(Published, key, e.At, "no end: %v", err)
		return
	}
	content := fmt.Sprintf(
		"%s %s/%d %s %s %s %v %v",
		d.ID,
		v.CaseID,
		v.Run,
		v.State,
		v.End.Reason,
		v.End.Source,
		v.EndedAt.UnixNano(),
		v.Progress,
	)
	end := s.end.Case
	want := fmt.Sprintf(
		"%s:%d:ended %s/%d %s %s %s %v %v",
		key.id,
		key.run,
		key.id,
		key.run,
		end.State,
		end.Outcome.End.Reason,
		end.Outcome.End.Source,
		end.Outcome.EndedAt.UnixNano(),
		end.Job.Progress,
	)
	if content != want {
		c.broken(Published, key, e.At, "as %s, and it is %s", content, want)
	}
	s.told = append(s.told, content)
	s.toldAt = e.At
}

// asked checks the answer to a caller.
func (c *checker) asked(e *Entry, d Asked) {
	if d.Run == 0 {
		return
	}
	key := runKey{e.Case, d.Run}
	s := c.runs[key]
	if s == nil {
		c.broken(StartKept, key, e.At, "%s was answered with a run that is not recorded", d.Action.Do)
		return
	}
	if d.Action.Do == "cancel" {
		if d.State != cases.Cancelled || !s.ended || s.end.Case.State != cases.Cancelled {
			c.broken(Final, key, e.At, "a cancel was answered as done, and the run is %s", s.last.Case.State)
		}
		return
	}
	if !d.DeadlineAt.Equal(s.first.Case.DeadlineAt) || !d.Created.Equal(s.first.Case.CreatedAt) {
		c.broken(StartKept, key, e.At, "it was answered with other times than are recorded")
	}
	c.ledTo(e, s, d)
	if d.Begun && d.Form != "" && d.Form != s.first.Form {
		c.broken(StartKept, key, e.At, "it was begun with another form")
	}
	if d.Action.Do != "start" || d.Action.Key == "" {
		return
	}
	k := e.Case + " " + d.Action.Key
	if run, ok := c.keys[k]; ok && run != d.Run && !c.runs[runKey{e.Case, run}].purged {
		// A key that was never used to begin a run, but answered with one that was open, is still
		// free: the run of the key may have begun while this request was under way.
		of := c.runs[runKey{e.Case, run}]
		if meanwhile := d.Run < run && of.begun >= e.Began && !d.Begun; of.first.Form == d.Form && !meanwhile {
			c.broken(OneKey, key, e.At, "%s was run %d before", d.Action.Key, run)
		}
	}
	if run, ok := c.keys[k]; ok && run == d.Run && s.first.Form != d.Form {
		c.broken(OneKey, key, e.At, "%s was run %d with another form", d.Action.Key, run)
	}
	if s.first.Form == d.Form {
		c.keys[k] = d.Run
	}
}

// ledTo checks that a start or rerun led to a run that it may lead to.
func (c *checker) ledTo(e *Entry, s *seen, d Asked) {
	before := c.runs[runKey{s.key.id, s.key.run - 1}]
	switch {
	case d.Begun && !d.Action.Supersede && before != nil &&
		before.end.Case.Outcome.End != nil && before.endedAt == s.begun:
		c.broken(StartKept, s.key, e.At, "run %d was superseded, and nobody asked for that", before.key.run)
	case d.Begun && d.Of > 0 && d.Of != d.Run-1:
		c.broken(StartKept, s.key, e.At, "it is run %d anew", d.Of)
	case d.Action.Do == "start" && d.Action.Key == "" && !d.Begun && s.ended && s.endedAt < e.Began:
		c.broken(StartKept, s.key, e.At, "it had ended before it was asked for")
	}
	if k := s.wakes[queue.Check]; !s.ended && k.seq == 1 && !k.isAsked() {
		c.broken(Watched, s.key, e.At, "it was answered as accepted, and is not queued")
	}
	if k := s.wakes[queue.Dispatch]; !s.ended && k.seq == 1 && !k.isAsked() && c.waits(s, queue.Dispatch) {
		c.broken(Watched, s.key, e.At, "it was answered as accepted, and is not queued")
	}
	if d.Of > 0 {
		of := fmt.Sprint(e.Case, " ", d.Of)
		if run, ok := c.reran[of]; ok && run != d.Run && !c.runs[runKey{e.Case, run}].purged {
			c.broken(OneKey, s.key, e.At, "run %d was run anew as %d before", d.Of, run)
		}
		c.reran[of] = d.Run
	}
}

// shown checks what a reader was shown.
func (c *checker) shown(e *Entry, d Shown) {
	v := d.View
	key := runKey{v.CaseID, v.Run}
	s := c.runs[key]
	if s == nil {
		c.broken(ReadersSee, key, e.At, "%s was shown a run that is not recorded", d.Reader)
		return
	}
	n, ok := s.versions[v.Version]
	switch {
	case !ok:
		c.broken(ReadersSee, key, e.At, "%s was shown version %d, which is not recorded", d.Reader, v.Version)
		return
	case v.State != n.Case.State,
		v.Progress != n.Case.Job.Progress,
		(v.End == nil) != (n.Case.Outcome.End == nil),
		v.End != nil && *v.End != *n.Case.Outcome.End,
		string(v.Result) != n.Result && n.Case.Outcome.HasResult:
		c.broken(
			ReadersSee,
			key,
			e.At,
			"%s was shown version %d as %s %v, and it is %s %v",
			d.Reader,
			v.Version,
			v.State,
			v.Progress,
			n.Case.State,
			n.Case.Job.Progress,
		)
	}
	asked := e.Began
	if f := c.follows[v.CaseID]; d.Followed && f != nil {
		asked = f.joined(e, v.Version)
	}
	for _, other := range c.order {
		if other.key.id != v.CaseID || other.begun >= asked {
			continue
		}
		if other.key.run > v.Run {
			c.broken(
				ReadersSee,
				key,
				e.At,
				"%s was shown run %d, and run %d had begun at %s",
				d.Reader,
				v.Run,
				other.key.run,
				clock(other.begun),
			)
		}
	}
	if next, ok := s.at[v.Version+1]; ok && next < asked {
		c.broken(
			ReadersSee,
			key,
			e.At,
			"%s was shown version %d, which was outdated since %s",
			d.Reader,
			v.Version,
			clock(next),
		)
	}
}

// clock is a time as stories tell it.
func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d:%06.3f", int(d.Hours()), int(d.Minutes())%60, (d % time.Minute).Seconds())
}
