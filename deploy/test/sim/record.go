package sim

import (
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// Record is what the fakes saw during a run of a plan.
type Record struct {
	Plan    Plan
	Began   time.Time // on the true clock
	Entries []Entry
	Faults  []Fault // the random faults
	Left    []Task  // what is pending at the end
	Runs    int     // how many runs are kept at the end, and of which the form is
	Forms   []runKey
	QuietAt time.Duration
	Over    bool
}

// Entry is one event of the record.
type Entry struct {
	At         time.Duration // since the beginning, on no instance's clock
	Invocation string        // the invocation that did it; "" for the world
	Began      time.Duration // when that invocation began
	Instance   int
	Seq        int64 // of the task whose delivery it is; 0: of none
	Call       int
	What       string
	Case       string
	Run        int
	Fault      string
	Err        error
	Detail     string
	Data       any // what it was, for the checker
}

func (r *Record) add(e Entry) { r.Entries = append(r.Entries, e) }

// Commits are the records that one call wrote.
type Commits []Commit

// Commit is a record as it was written, with the results beside it.
type Commit struct {
	Case         cases.Case
	Begun        bool
	Form         string // of one begun
	Result, Late string
}

// Got is a record that was read.
type Got struct{ Version int64 }

// Purged is a run that was deleted.
type Purged struct{}

// TaskChange is a request to the queue.
type TaskChange struct {
	Kind             queue.Kind
	Seq              int64
	Name             string
	Created, Deleted bool
	Gone             bool    // not created, since one of that name was there before
	Waiting          []int64 // with Created, the numbers of those of this kind, for this run, that nobody was given yet
}

// Existence is the queue's answer to a lookup of a task.
type Existence struct {
	Kind   queue.Kind
	Seq    int64
	Exists bool
}

// Task is a pending task.
type Task struct {
	Kind    queue.Kind
	Case    string
	Run     int
	Seq     int64
	Running bool
	Tried   bool          // it was delivered, and is to be again
	Since   time.Duration // it was created, or its last delivery ended
}

// Sent is a dispatch to the pipeline.
type Sent struct {
	Started    bool // it may have begun to work on it
	Lied       bool // it began to work on it, and says that it did not
	SaysFailed bool // and that it failed
	Idempotent bool
	Form       string
	Outcome    cases.DispatchKind
}

// Answered is the answer to it.
type Answered struct {
	Outcome    cases.DispatchKind
	SaysFailed bool
}

// Looked is a poll.
type Looked struct {
	Outcome cases.CheckOutcome
	Of      runKey // the run that a reading is of
}

// Polled is the answer to a poll, if it came in time.
type Polled Looked

// Said is an event that the pipeline published.
type Said struct {
	At      time.Duration
	Case    string
	Run     int
	Named   bool
	Status  string
	Result  bool
	Nothing bool // every document failed
	Lost    bool
	Word    int
	ID      string
}

// Taken is an event that Casewatch said it is done with.
type Taken struct{ Word int }

// Told is a published end.
type Told struct {
	ID, Time string
	Data     []byte
}

// DeadLetter is an event that was forwarded as not valid.
type DeadLetter struct{ Data, Why string }

// Asked is what a caller was answered.
type Asked struct {
	Action              Action
	Of                  int // the run that was to be run anew
	Run                 int
	Begun               bool
	State               cases.State
	Form                string
	Created, DeadlineAt time.Time
	Version             int64
}

// Broken is an answer that no caller should get.
type Broken struct{ Why string }

// Shown is what a reader was shown.
type Shown struct {
	Reader   string
	Followed bool // it waited for news, maybe with others
	View     cases.View
}

// Swept is a sweep that was answered.
type Swept struct {
	Name   string // of the invocation
	Report reconcile.Report
	Began  time.Duration
	Done   bool
	Left   []Task // what is pending when it is answered
}

// Sample is what is pending while nothing breaks.
type Sample struct {
	Tasks []Task
	Quiet bool // nothing was broken for long
}
