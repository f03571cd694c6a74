package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	left  map[string]int // of a sweep, the pending checks of ended runs that it was told of
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
	c := &checker{rec: rec, runs: map[runKey]*seen{}, keys: map[string]int{}, said: map[int]Said{}, left: map[string]int{}}
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
		if d.Waiting > 1 && c.rec.Plan.punctual() {
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

func (c *checker) commit(e *Entry, n Commit) {
	key := runKey{n.Case.CaseID, n.Case.Run}
	s := c.runs[key]
	if s == nil {
		s = &seen{key: key, begun: e.At, first: n, versions: map[int64]Commit{}, at: map[int64]time.Duration{}}
		c.runs[key] = s
		c.order = append(c.order, s)
	} else {
		c.step(e, s, n)
	}
	s.versions[n.Case.Version], s.at[n.Case.Version] = n, e.At
	if n.Case.State.Ended() && !n.Case.Checks.NextAt.IsZero() {
		c.broken(NothingLeft, key, e.At, "it has ended, and a next check at %s", n.Case.Checks.NextAt)
	}
	if n.Case.State.Ended() && !s.ended {
		s.ended, s.endedAt, s.end = true, e.At, n
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

// ending looks at how a run ended.
func (c *checker) ending(e *Entry, s *seen, n cases.Case) {
	byCheck := n.End.Source == cases.SourceCheck
	if byCheck && s.open > 0 && e.At < s.open+c.rec.Plan.Rules.PipelineTimeout-skewGrace {
		c.broken(OpenRequest, s.key, e.At, "%s, by a check; its request is open since %s", n.End.Reason, clock(s.open))
	}
	told := n.End.Reason == cases.ReasonCompleted || n.End.Reason == cases.ReasonPipelineFailed || n.End.Reason == cases.ReasonNoDocuments || n.End.Reason == cases.ReasonPipelineRefused
	if told && !s.tried && !n.Adopted {
		c.broken(SentFirst, s.key, e.At, "it ended as %s by %s", n.End.Reason, n.End.Source)
	}
}

// step compares a record with the one before.
func (c *checker) step(e *Entry, s *seen, n Commit) {
	o := s.last
	p, q := o.Case.Progress, n.Case.Progress
	if q.Completed < p.Completed || q.Percent < p.Percent {
		c.broken(Forwards, s.key, e.At, "%d (%.1f %%) after %d (%.1f %%)", q.Completed, q.Percent, p.Completed, p.Percent)
	}
	if !n.Case.DeadlineAt.Equal(s.first.Case.DeadlineAt) {
		c.broken(Ends, s.key, e.At, "its deadline moved")
	}
	if !s.ended {
		if n.Case.State.Ended() && n.Result != "" && !agrees(n.Result, n.Case.State) {
			c.broken(Fills, s.key, e.At, "it is %s with the result %s", n.Case.State, n.Result)
		}
		c.ownResult(e, n, "")
		return
	}
	was, is := s.end.Case, n.Case
	switch {
	case is.State != was.State, is.End == nil, is.End.Reason != was.End.Reason, is.End.Source != was.End.Source, !is.EndedAt.Equal(was.EndedAt):
		c.broken(Final, s.key, e.At, "it was %s (%s), and is %s", was.State, was.End.Reason, is.State)
		return
	case is.Progress != was.Progress:
		c.broken(Final, s.key, e.At, "its progress changed from %v to %v", was.Progress, is.Progress)
	}
	if n.Result != o.Result && (o.Result != "" || !agrees(n.Result, is.State)) {
		c.broken(Fills, s.key, e.At, "the result %q of a run that %s became %q", o.Result, is.State, n.Result)
	}
	if n.Result == o.Result && (is.OutputURL != o.Case.OutputURL || (o.Case.Documents != nil) != (is.Documents != nil)) {
		c.broken(Final, s.key, e.At, "its documents changed without a result")
	}
	c.ownResult(e, n, o.Result)
	if l := o.Case.Late; l != nil && (is.Late == nil || is.Late.State != l.State || is.Late.Message != l.Message || is.Late.Count < l.Count) {
		c.broken(LateKept, s.key, e.At, "%+v became %+v", l, is.Late)
	}
	if o.Late != "" && n.Late != o.Late {
		c.broken(LateKept, s.key, e.At, "its result changed")
	}
}

// ownResult looks whose result a run was given.
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

// mayBeOf reports whether a word that names no run counts for a run: it came after its beginning, and no run before has a word to come.
func (c *checker) mayBeOf(key runKey, w Said) bool {
	if s := c.runs[key]; s == nil || w.At+skewGrace < s.begun {
		return false
	}
	for _, s := range c.order {
		if s.key.id != key.id || s.key.run >= key.run || s.started == 0 {
			continue
		}
		end := s.end.Case.End
		own := s.ended && (end.Reason == cases.ReasonCompleted || end.Reason == cases.ReasonPipelineFailed || end.Reason == cases.ReasonNoDocuments || end.Reason == cases.ReasonPipelineRefused)
		if guessed := own && end.Source == cases.SourceCheck && end.Message == "completed without a result"; !own || guessed {
			return false
		}
	}
	return true
}

// agrees reports whether a result says that a run ended so.
func agrees(result string, s cases.State) bool {
	good := strings.Contains(result, `"success":true`) && !strings.Contains(result, `"succeeded":0`)
	return good == (s == cases.Succeeded) && (good || s == cases.Failed)
}

func (c *checker) sent(e *Entry, d Sent) {
	key := runKey{e.Case, e.Run}
	s := c.runs[key]
	if s == nil {
		c.broken(StartedOnce, key, e.At, "it was sent before it was recorded")
		return
	}
	s.sent++
	s.open, s.opener = e.At, e.Invocation
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

func (c *checker) sample(e *Entry, d Sample) {
	checks, dispatches := map[runKey]bool{}, map[runKey]bool{}
	for _, t := range d.Tasks {
		if t.Kind == "check" {
			checks[runKey{t.Case, t.Run}] = true
		} else {
			dispatches[runKey{t.Case, t.Run}] = true
		}
	}
	for _, s := range c.order {
		if s.ended || checks[s.key] && (dispatches[s.key] || s.sent > 0 || s.first.Case.Adopted) {
			s.alone = 0
			continue
		}
		if s.alone++; s.alone == 4 && d.Quiet { // longer than it takes to schedule one
			c.broken(Watched, s.key, e.At, "check %v, dispatch %v", checks[s.key], dispatches[s.key])
		}
	}
	pending := map[runKey]int{}
	for _, t := range d.Tasks {
		key := runKey{t.Case, t.Run}
		if t.Kind == "check" && !t.Running {
			pending[key]++
		}
		if t.Kind == "check" && !t.Running && pending[key] == 2 {
			c.broken(OneChain, key, e.At, "two checks are pending")
		}
		if s := c.runs[key]; !t.Running && (s == nil || s.ended && e.At > s.endedAt+c.leftOver()) {
			c.broken(NothingLeft, key, e.At, "a %s of a run that ended long ago", t.Kind)
		}
	}
}

func (c *checker) faultless() bool { return c.rec.Plan.calm() && len(c.rec.Plan.Windows) == 0 }

// leftOver is for how long something may pend after the end, by which nothing waits for it any more.
func (c *checker) leftOver() time.Duration {
	if c.faultless() {
		return 3 * time.Second
	}
	return leftOverBefore
}

func (c *checker) runsOf(id string) (n int) {
	for _, s := range c.order {
		if s.key.id == id {
			n++
		}
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
		if l := s.last.Case.Late; l != nil && l.Count > s.finals && c.runsOf(s.key.id) == 1 {
			c.broken(LateKept, s.key, at, "%d words are counted, and there were %d", l.Count, s.finals)
		}
		c.wordsKept(s, at)
	}
	for _, key := range c.rec.Forms {
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

// wordsKept looks for what was said after the end, and is nowhere.
func (c *checker) wordsKept(s *seen, at time.Duration) {
	for _, w := range s.words {
		if w.Status == "running" || s.purged {
			continue
		}
		good := w.Status == "succeeded" && !w.Nothing
		other := good != (s.end.Case.State == cases.Succeeded) || !good && s.end.Case.State != cases.Failed
		switch {
		case other && (s.last.Case.Late == nil || s.last.Case.Late.Count == 0) && !c.heardBefore(s, w):
			c.broken(LateKept, s.key, at, "word %d said %s, and is not kept", w.Word, w.Status)
		case !other && w.Result && s.last.Result == "" && !c.heardBefore(s, w):
			c.broken(Fills, s.key, at, "word %d brought a result, and it has none", w.Word)
		}
	}
}

// heardBefore reports whether a word was taken in before the end, by a delivery whose answer came after.
func (c *checker) heardBefore(s *seen, w Said) bool {
	for _, id := range s.end.Case.Words {
		if id == "event:"+w.ID {
			return true
		}
	}
	return false
}
