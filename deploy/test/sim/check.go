package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
)

// Violation is a broken promise.
type Violation struct {
	Promise Promise
	Case    string
	Run     int
	At      time.Duration
	Why     string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s %s/%d: BROKEN: %s: %s", clock(v.At), v.Case, v.Run, v.Promise, v.Why)
}

// The tolerances of the checker. The sweep finds a run that is past its deadline when its check is
// overdue by more than the longest poll plus 20 s. The clocks differ by at most 5 s. If another
// invocation changes the record at that moment, the next sweep finds the run.
const (
	sweepGrace     = 20 * time.Second
	skewGrace      = 5 * time.Second
	sweepsGranted  = 2
	leftOverBefore = 5 * time.Minute // how long an ended run may have a pending task while nothing fails
)

// checker reads a record once, from beginning to end.
type checker struct {
	rec         *Record
	runs        map[runKey]*seen
	order       []*seen
	keys        map[string]int // of a case and key, the run it was answered with
	said        map[int]Said
	early       map[runKey]int           // words on how a run ended that were said before it was recorded
	left        map[string]int           // of a sweep, the pending checks of ended runs that it was told of
	made        map[string]time.Duration // when a task of a name was first created
	trouble     map[string]bool          // invocations of which a call failed
	storeFailed map[string]bool          // of which a call to the store did
	over        map[string]bool          // invocations that ended
	well        map[string]bool          // that ended without an error
	follows     map[string]*following    // of a case, those who wait for its news
	reran       map[string]int           // of a case and a run that was to be run anew, the answer
	found       []Violation
}

// Check returns the promises that the record breaks.
func Check(rec *Record) []Violation {
	c := &checker{
		rec:         rec,
		runs:        map[runKey]*seen{},
		keys:        map[string]int{},
		said:        map[int]Said{},
		early:       map[runKey]int{},
		left:        map[string]int{},
		made:        map[string]time.Duration{},
		trouble:     map[string]bool{},
		storeFailed: map[string]bool{},
		over:        map[string]bool{},
		well:        map[string]bool{},
		follows:     map[string]*following{},
		reran:       map[string]int{},
	}
	for i := range rec.Entries {
		c.entry(&rec.Entries[i])
	}
	c.atTheEnd()
	return c.found
}

func (c *checker) broken(p Promise, key runKey, at time.Duration, format string, args ...any) {
	c.found = append(c.found, Violation{p, key.id, key.run, at, fmt.Sprintf(format, args...)})
}

func (c *checker) entry(e *Entry) {
	key := runKey{e.Case, e.Run}
	if s := c.runs[key]; s != nil {
		switch dispatch := strings.HasPrefix(e.Invocation, "dispatch"); {
		case e.What == "begins" && strings.HasPrefix(e.Invocation, "check") && s.looked == 0:
			s.looked = e.At
		case !dispatch:
		case e.What == "begins": // perhaps it gives up the one before
			s.tried, s.open, s.delivered = true, 0, e.At
		case e.What == "ends": // it is answered, lost, or another has given it up
			s.open = 0
		}
	}
	if e.What == "ends" && e.Err != nil && !errors.Is(e.Err, errDied) && !errors.Is(e.Err, errTimeout) &&
		fault.KindOf(e.Err) == fault.Internal {
		c.broken(Classified, key, e.At, "%s: %v", e.Invocation, e.Err)
	}
	if e.Call > 0 && (e.Fault != "" || e.Err != nil) {
		c.trouble[e.Invocation] = true
		c.storeFailed[e.Invocation] = c.storeFailed[e.Invocation] || strings.HasPrefix(e.What, "store: ")
	}
	if e.What == "ends" {
		c.over[e.Invocation], c.well[e.Invocation] = true, e.Err == nil
	}
	if (e.What == "begins" || e.What == "ends") && strings.HasPrefix(e.Invocation, followName) {
		c.followed(e)
	}
	if e.What == "ends" && e.Err == nil {
		c.done(e)
	}
	switch d := e.Data.(type) {
	case Commits:
		for _, one := range d {
			c.commit(e, one)
		}
	case Purged:
		if s := c.runs[key]; s != nil {
			s.purged = true
			if !s.ended {
				c.broken(Ends, key, e.At, "it was deleted while it was open")
			} else if e.At < s.endedAt+c.rec.Plan.Rules.Retention-skewGrace {
				c.broken(Forgotten, key, e.At, "it was deleted before its time")
			}
		}
	case Sent:
		c.sent(e, d)
	case Answered:
		if s := c.runs[key]; s != nil && s.opener == e.Invocation {
			s.open = 0
			gaveUp := d.Outcome == cases.DispatchBusy && d.SaysFailed && (s.polled || s.confirmed)
			terminal := d.Outcome == cases.DispatchSucceeded || d.Outcome == cases.DispatchFailed || gaveUp
			if terminal && e.At < s.marked+c.rec.Plan.Rules.PipelineTimeout {
				s.answer = e.Invocation
			}
		}
	case Looked:
		c.looked(e, d)
	case Polled:
		if s := c.runs[key]; s != nil {
			s.polls[e.Invocation] = poll{d, s.polls[e.Invocation].at}
		}
	case Told:
		c.told(e, d)
	case Said:
		c.said[d.Word] = d
		s := c.runs[key]
		if s == nil && !d.Lost && d.Status != "running" {
			c.early[key]++
		}
		if s != nil && !d.Lost {
			if d.Status != "running" {
				s.finals++
			}
		}
	case Taken:
		if s := c.runs[key]; s != nil && s.ended && c.said[d.Word].Named {
			s.words = append(s.words, c.said[d.Word])
		}
	case Asked:
		c.asked(e, d)
	case Broken:
		c.broken(Classified, key, e.At, "%s: %s", e.What, d.Why)
	case Shown:
		c.shown(e, d)
	case TaskChange:
		c.scheduled(e, d)
	case Got:
		if f := c.follows[e.Case]; f != nil && strings.HasPrefix(e.Invocation, followName) {
			f.reads = append(f.reads, e)
		}
		if s := c.runs[key]; s != nil {
			s.read[e.Invocation] = e.At
		}
	case Existence:
		c.existence(e, d)
	case Swept:
		c.swept(e, d)
	case Sample:
		c.sample(e, d)
	}
}
