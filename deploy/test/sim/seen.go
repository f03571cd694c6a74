package sim

import (
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
)

// seen is the checker's knowledge of a run.
type seen struct {
	key      runKey
	begun    time.Duration
	first    Commit
	last     Commit
	versions map[int64]Commit
	at       map[int64]time.Duration
	wrote    map[string]time.Duration // when each invocation last wrote its record
	read     map[string]time.Duration // when each invocation last read it
	wakes    map[queue.Kind]*wake

	ended   bool
	endedAt time.Duration
	endedBy string // the invocation
	end     Commit // as it ended
	told    []string
	toldAt  time.Duration
	words   []Said // reports taken after the end that name this run
	purged  bool
	// crossed: a check saved before the end and scheduled the next check after it. That check is
	// delivered and dropped.
	crossed bool

	tried     bool          // a dispatch has begun and may have been sent
	delivered time.Duration // when the last delivery of a dispatch began
	handed    bool          // a dispatch wrote its record and may have been sent
	marked    time.Duration // when the last dispatch wrote its record
	marks     int           // how many dispatches wrote their record
	nothing   int           // requests that started nothing according to the record
	started   int           // requests that may have started the pipeline
	open      time.Duration // when the dispatch in flight began; 0 if there is none
	opener    string        // the invocation that sent it
	answer    string        // the invocation that received the terminal report
	finals    int           // how many terminal reports the pipeline sent or may have sent

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

	looked  time.Duration // when the first check or, if later, the last dispatch began
	unknown time.Duration // when a poll first did not find it
	// counted is when a poll first found all documents counted without a status; 0 if none did, or
	// if the run was reported as running since.
	counted time.Duration
	ownWord bool // a poll found a terminal report
	// before is the last reading of the previous run; nil if it is unknown, or if a poll found
	// another reading.
	before *cases.Reading

	sweeps     int // that were done and began long enough after its deadline
	overdue    bool
	formSweeps int // that were done and began long enough after its form's time
	alone      int // samples in a row in which nothing waits for it
}

// poll is the answer to a check, and when the check asked.
type poll struct {
	Polled
	at time.Duration
}

// wake is the task that a run waits for, according to its record.
type wake struct {
	seq   int64
	by    string // the invocation that wrote it
	at    time.Duration
	asked map[int64]time.Duration // when the queue was first asked to have the task of a number
	told  map[string]Existence    // what the queue answered to a sweep
	// lost counts consecutive complete sweeps that began when the task was overdue and did not
	// schedule it.
	lost int
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

// isAsked reports whether the queue was asked to create the task.
func (k *wake) isAsked() bool { _, ok := k.asked[k.seq]; return ok }

// isPast reports whether a task later than seq was requested before a time.
func (k *wake) isPast(seq int64, at time.Duration) bool {
	for n, asked := range k.asked {
		if n > seq && asked < at {
			return true
		}
	}
	return false
}
