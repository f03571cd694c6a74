package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
)

// Promise is something that has to hold, whatever happens.
type Promise string

// The promises.
const (
	Ends         Promise = "every run ends, in time"
	OneOpen      Promise = "at most one run of a case is open"
	Final        Promise = "an end is final"
	Fills        Promise = "a result that comes after the end fills in a missing one that agrees, and swaps none in"
	LateKept     Promise = "words after the end are kept"
	OwnResult    Promise = "a result is of its own run"
	OneChain     Promise = "at most one check of a run is pending"
	NoneAfterEnd Promise = "no check that begins after the end asks the pipeline"
	StartedOnce  Promise = "the pipeline is started at most once per run"
	Forwards     Promise = "progress never goes backwards"
	Published    Promise = "every end is published, with one id and one content"
	NothingLeft  Promise = "when all is quiet nothing pends"
	StartKept    Promise = "a start that was answered is not lost"
	OneKey       Promise = "one key is one run"
	ReadersSee   Promise = "readers see what is recorded, and nothing older than was recorded before they asked"
	Watched      Promise = "an open run is waited for: by its next check, and by its dispatch until that is sent"
	OpenRequest  Promise = "while the pipeline is about to answer, no check ends the run"
	SentFirst    Promise = "nothing is asked, or believed, of a run that was not sent"
	Forgotten    Promise = "forms and runs are deleted when their time is over"
	NoLeak       Promise = "the sweep counts no broken promise"
	Classified   Promise = "no error is left unclassified"
)

// Violation is a promise that was broken.
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

// What the checker grants. A run that is past its deadline is found by the sweep once its wake-up is later than the longest look and 20 s more, by
// clocks that are at most 5 s apart; and by the next one, if something else changed the record just then.
const (
	sweepGrace     = 20 * time.Second
	skewGrace      = 5 * time.Second
	sweepsGranted  = 2
	leftOverBefore = 5 * time.Minute // an ended run with something pending for so long, while nothing breaks
)

// checker reads a record once, from its beginning to its end.
type checker struct {
	rec   *Record
	runs  map[runKey]*seen
	order []*seen
	keys  map[string]int // of a case and key, the run it was answered with
	said  map[int]Said
	left  map[string]int  // of a sweep, the pending checks of ended runs that it was told of
	gone  map[string]bool // invocations that are over
	found []Violation
}

// seen is what is known of a run.
type seen struct {
	key      runKey
	begun    time.Duration
	first    Commit
	last     Commit
	versions map[int64]Commit
	at       map[int64]time.Duration
	ended    bool
	endedAt  time.Duration
	end      Commit // as it ended
	purged   bool
	crossed  bool // a check that had saved before the end scheduled the next after it: that is delivered, and dropped
	tried    bool // a dispatch has begun; perhaps it was sent
	started  int  // requests that may have started the pipeline
	told     []string
	toldAt   time.Duration
	sweeps   int // that were done and began long enough after its deadline
	overdue  bool
	sent     int           // requests
	open     time.Duration // when the request was sent that is neither answered nor lost; 0 if there is none
	opener   string        // the invocation that sent it
	finals   int           // how often the pipeline said, or may have said, how it ended
	alone    int           // samples in a row in which nothing waits for it
	words    []Said        // taken after the end, with its run named
}

// Check says which promises the record breaks.
func Check(rec *Record) []Violation {
	c := &checker{rec: rec, runs: map[runKey]*seen{}, keys: map[string]int{}, said: map[int]Said{}, left: map[string]int{}, gone: map[string]bool{}}
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
	if s := c.runs[key]; s != nil && e.What == "begins" && strings.HasPrefix(e.Invocation, "dispatch") {
		s.tried = true
	}
	if e.What == "ends" {
		c.gone[e.Invocation] = true
	}
	if s := c.runs[key]; s != nil && (e.What == "ends" && s.opener == e.Invocation || e.What == "begins" && strings.HasPrefix(e.Invocation, "dispatch")) {
		s.open = 0 // it is answered, lost, or by another delivery perhaps given up
	}
	if e.What == "ends" && e.Err != nil && !errors.Is(e.Err, errDied) && !errors.Is(e.Err, errTimeout) && fault.KindOf(e.Err) == fault.Internal {
		c.broken(Classified, key, e.At, "%s: %v", e.Invocation, e.Err)
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
			}
		}
	case Sent:
		c.sent(e, d)
	case Answered:
		if s := c.runs[key]; s != nil && s.opener == e.Invocation {
			s.open = 0
		}
	case Looked:
		if s := c.runs[key]; s != nil {
			if !s.tried && !s.first.Case.Adopted {
				c.broken(SentFirst, key, e.At, "%s asks", e.Invocation)
			}
			if st := d.Outcome.Reading.Status; st == "succeeded" || st == "failed" {
				s.finals++
			}
		}
		if s := c.runs[key]; s != nil && s.ended && e.Began > s.endedAt {
			c.broken(NoneAfterEnd, key, e.At, "%s began at %s, the run ended at %s", e.Invocation, clock(e.Began), clock(s.endedAt))
		}
	case Told:
		c.told(e, d)
	case Said:
		c.said[d.Word] = d
		if s := c.runs[key]; s != nil && d.Status != "running" && !d.Lost {
			s.finals++
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
		if d.Gone && strings.HasPrefix(e.Invocation, "sweep") {
			c.broken(Watched, key, e.At, "the sweep schedules %s #%d, which was there before", d.Kind, d.Seq)
		}
		if s := c.runs[key]; s != nil && s.ended && d.Created && e.Began <= s.endedAt {
			s.crossed = true
		}
		if d.Waiting > 1 && c.rec.Plan.punctual() && c.rec.Plan.Tombstone >= time.Hour { // else a repeated start may schedule a stale one, which is dropped
			c.broken(OneChain, key, e.At, "%d %ss wait", d.Waiting, d.Kind)
		}
	case Existence:
		if s := c.runs[key]; s != nil && s.ended && d.Exists && d.Kind == "check" && strings.HasPrefix(e.Invocation, "sweep") {
			c.left[e.Invocation]++
		}
	case Swept:
		c.swept(e, d)
	case Sample:
		c.sample(e, d)
	}
}

func (c *checker) sent(e *Entry, d Sent) {
	key := runKey{e.Case, e.Run}
	s := c.runs[key]
	if s == nil {
		c.broken(StartedOnce, key, e.At, "it was sent before it was recorded")
		return
	}
	s.sent++
	if !c.gone[e.Invocation] { // else it was on its way for longer than somebody waited for its answer
		s.open, s.opener = e.At, e.Invocation
	}
	if d.Started {
		s.started++
		if d.Outcome == cases.DispatchSucceeded || d.Outcome == cases.DispatchFailed {
			s.finals++
		}
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

func (c *checker) swept(e *Entry, d Swept) {
	// A check may pend after the end if who was to delete it died, or could not; then the number is true.
	if d.Report.Leaked > c.left[d.Name] || d.Report.Leaked > 0 && c.faultless() {
		c.broken(NoLeak, runKey{}, e.At, "%+v", d.Report)
	}
	if !d.Done {
		return
	}
	for _, s := range c.order {
		if s.ended || d.Began < c.deadline(s)+c.rec.Plan.CheckTimeout+sweepGrace+skewGrace {
			continue
		}
		if s.sweeps++; s.sweeps >= sweepsGranted && !s.overdue {
			s.overdue = true
			c.broken(Ends, s.key, e.At, "its deadline was at %s, and %d sweeps went over it", clock(c.deadline(s)), s.sweeps)
		}
	}
}

// deadline is when a run has to end, on nobody's clock: the record's times are of the instance that began it.
func (c *checker) deadline(s *seen) time.Duration {
	return s.begun + s.first.Case.DeadlineAt.Sub(s.first.Case.CreatedAt)
}
