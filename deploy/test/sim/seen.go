package sim

import (
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
)

// seen is what the checker knows of a run.
type seen struct {
	key      runKey
	begun    time.Duration
	first    Commit
	last     Commit
	versions map[int64]Commit
	at       map[int64]time.Duration
	wrote    map[string]time.Duration // when an invocation last wrote its record
	read     map[string]time.Duration // and read it
	wakes    map[queue.Kind]*wake

	ended   bool
	endedAt time.Duration
	endedBy string // the invocation
	end     Commit // as it ended
	told    []string
	toldAt  time.Duration
	words   []Said // taken after the end, with its run named
	purged  bool
	crossed bool // a check that had saved before the end scheduled the next after it: that is delivered, and dropped

	tried     bool          // a dispatch has begun; perhaps it was sent
	delivered time.Duration // when the last delivery of a dispatch began
	handed    bool          // a dispatch wrote its record; perhaps it was sent
	marked    time.Duration // when the last of them did
	marks     int           // how often one wrote so
	nothing   int           // requests of which it is recorded that they started nothing
	started   int           // requests that may have started the pipeline
	open      time.Duration // when it began, the dispatch that sent it and is neither answered nor lost; 0 if there is none
	opener    string        // the invocation that sent it
	answer    string        // the invocation that was answered with the pipeline's own word
	finals    int           // how often the pipeline said, or may have said, how it ended

	passed map[int64]string // by the number of a check that was brought forward, the invocation that wrote so
	seenAt time.Duration    // when the pipeline was last asked for progress
	able   time.Duration    // since when every record of it shows a run whose progress can be had; 0: the last does not

	polls     map[string]poll // what a check was answered that has not written yet
	lastSent  cases.DispatchKind
	polled    bool          // a look showed it at work while the request was open, and that was written
	confirmed bool          // an event said that it works on it, and that was written
	sightedAt time.Duration // when either was first written
	reached   time.Duration // when the pipeline last answered a look of which the outcome was written
	notBefore time.Duration // when the pipeline asked to be polled again; 0: it did not
	wroteAt   time.Duration // when that was written

	looked  time.Duration  // when the first check began, or the last dispatch if that was later
	unknown time.Duration  // when a look first did not find it
	counted time.Duration  // when a look first found everything counted, without a status, and nothing said since that it runs; 0: none
	ownWord bool           // a look found the pipeline's own word
	before  *cases.Reading // what the pipeline last showed of the run before; nil if that is not known, or a look found anything else

	sweeps     int // that were done and began long enough after its deadline
	overdue    bool
	formSweeps int // that were done and began long enough after its form's time
	alone      int // samples in a row in which nothing waits for it
}

// poll is what a check was answered, and when it asked.
type poll struct {
	Polled
	at time.Duration
}

// wake is the task of a kind that a run waits for, as its record says.
type wake struct {
	seq   int64
	by    string // the invocation that wrote so
	at    time.Duration
	asked map[int64]time.Duration // when the queue was first asked to have the task of a number
	told  map[string]Existence    // what a sweep was told of it
	lost  int                     // sweeps in a row that were done and began when it was overdue, and left it without its task
}

// hasWakes notes what the run waits for after a write.
func (s *seen) hasWakes(e *Entry, n Commit) {
	for kind, seq := range map[queue.Kind]int64{queue.Check: n.Case.Checks.Seq, queue.Dispatch: n.Case.Dispatch.Seq} {
		k := s.wakes[kind]
		if k == nil {
			k = &wake{asked: map[int64]time.Duration{}, told: map[string]Existence{}}
			s.wakes[kind] = k
		}
		if k.seq != seq {
			k.seq, k.by, k.at = seq, e.Invocation, e.At
		}
	}
}

// isAsked reports whether the queue was asked to have the task that the run waits for.
func (k *wake) isAsked() bool { _, ok := k.asked[k.seq]; return ok }

// isPast reports whether a later task than seq was asked for before a time.
func (k *wake) isPast(seq int64, at time.Duration) bool {
	for n, asked := range k.asked {
		if n > seq && asked < at {
			return true
		}
	}
	return false
}
