package sim

import (
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// Plan describes everything that happens in a run except the behavior of the code under test. It is
// data, so it can be stored as JSON and shrunk.
type Plan struct {
	Note string `json:",omitempty"` // for people: what it showed

	// Seed decides what the plan leaves open: how long calls take, and with Rate above 0 which of
	// them fail.
	Seed  uint64
	Rules cases.Rules
	// Deadline is of a run whose caller names none; CheckTimeout is the longest that a look takes.
	Deadline, CheckTimeout time.Duration
	// Skews says how far ahead the clock of each instance is. There is one instance for each entry.
	Skews []time.Duration
	// SweepEvery is the time between two sweeps. Tombstone is how long the name of a deleted task
	// stays taken.
	SweepEvery, Tombstone time.Duration
	// Encoded stores records as JSON, like real stores, instead of as values.
	Encoded bool `json:",omitempty"`
	// Flat says that all calls take the same time.
	Flat bool `json:",omitempty"`
	// Later says that at the end the time jumps beyond the retention, and two sweeps follow.
	Later bool `json:",omitempty"`
	// Callbacks says that events come to the run's own address, and not on the topic.
	Callbacks bool `json:",omitempty"`
	// Until is when the last thing breaks and the last caller comes.
	Until time.Duration

	// Rate is the share of calls that fail, Slow the share of calls that are slow. With Rate 0,
	// only Faults fail.
	Rate, Slow float64 `json:",omitempty"`
	Faults     []Fault `json:",omitempty"`
	// Again is the share of deliveries that are made twice, Lost the share of events that never
	// arrive.
	Again, Lost float64  `json:",omitempty"`
	Windows     []Window `json:",omitempty"`
	Cases       []CasePlan
}

// FaultKind is how a call fails.
type FaultKind string

// The kinds of faults.
const (
	FailBefore     FaultKind = "error before"    // it has no effect, and says that it failed
	FailAfter      FaultKind = "error after"     // it has its effect, and says that it failed
	FailLater      FaultKind = "error, then"     // it says that it failed, and has its effect seconds later
	ConflictBefore FaultKind = "conflict before" // the store says that the record has changed; it has no effect
	ConflictAfter  FaultKind = "conflict after"  // it took effect, was tried again behind the scenes, and met itself
	CrashBefore    FaultKind = "crash before"    // its instance dies before it takes effect
	CrashAfter     FaultKind = "crash after"     // its instance dies after it took effect
	CrashLater     FaultKind = "crash, then"     // its instance dies, and it takes effect seconds later
	SlowBefore     FaultKind = "slow before"     // it takes effect late
	SlowAfter      FaultKind = "slow after"      // its answer comes late
	// The last four break nothing in the call: they put something else exactly there.
	RepeatHere    FaultKind = "delivered again" // the task whose delivery this is, is delivered once more at this call
	CancelHere    FaultKind = "cancel"          // somebody cancels the case at this call
	SupersedeHere FaultKind = "supersede"       // somebody begins it anew
	PurgeHere     FaultKind = "purge"           // the queues are purged
)

// Fault makes one call fail: the Nth call of an invocation. The name of an invocation says what it
// does, so it is the same in a shrunk plan.
type Fault struct {
	Invocation string
	Call       int
	Kind       FaultKind
	For        time.Duration `json:",omitempty"` // how much later or slower
}

func (f Fault) String() string {
	return fmt.Sprintf("%s at call %d of %s", f.Kind, f.Call, f.Invocation)
}

// The kinds of windows.
const (
	StoreDown     = "store down"
	QueueDown     = "queue down"
	TopicDown     = "topic down"
	TasksPaused   = "tasks paused"
	ChecksPaused  = "checks paused"
	TasksPurged   = "tasks purged"   // at From
	SweepsLost    = "sweeps lost"    //
	EventsHeld    = "events held"    // those of the pipeline are delivered after it
	Conflicts     = "conflicts"      // most writes to the store meet another
	Crash         = "crash"          // of Instance, at From
	Refuses       = "refuses"        // nothing listens where the pipeline should
	Errs          = "errs"           // it answers 500
	Hangs         = "hangs"          // it does not answer
	Busy          = "busy"           // it answers 429
	PutsOff       = "puts off"       // it answers 503 with Retry-After
	PipelineStops = "pipeline stops" // its process dies at From, with all work and progress
)

// Window is a failure that lasts for a while.
type Window struct {
	Kind     string
	From, To time.Duration
	Instance int `json:",omitempty"`
}

// CasePlan is one case: the requests of its callers, and how the pipeline works on it.
type CasePlan struct {
	ID      string
	Actions []Action
	Work    []Work // of the first request that the pipeline takes, the second, …; the last is for all after
	Readers []Reader
}

// Action is one request of a caller.
type Action struct {
	At        time.Duration
	Do        string // start, cancel or rerun
	Key       string `json:",omitempty"`
	Other     bool   `json:",omitempty"` // with another form than the key was used with
	Supersede bool   `json:",omitempty"`
	Adopt     bool   `json:",omitempty"`
	Deadline  time.Duration
	Run       int // to cancel or rerun; 0 is the one that is current then
	Tries     int // how often it is repeated until it is answered
	Again     int `json:",omitempty"` // how often it is repeated all the same
}

// Reader reads a case again and again.
type Reader struct {
	From, To, Every time.Duration
	Follow          bool `json:",omitempty"` // waits for news instead
}

// How the pipeline answers a request that it takes.
const (
	AnswerResult    = "result"        // with the result, when it is done
	AnswerAccepted  = "accepted"      // 202
	AnswerRefused   = "refused"       // 422; it does not work on it
	AnswerFailed    = "failed"        // its own word, at once
	AnswerBroken    = "broken"        // 500; Works says whether it works on it
	AnswerCut       = "cut"           // the connection breaks; Works says whether it works on it
	AnswerHang      = "hang"          // never
	AnswerGarbled   = "garbled"       // 200, and no JSON, when it is done
	AnswerLie       = "busy, it says" // 429 after Cut, and yet it works on it
	AnswerGivesUp   = "gives up"      // 429 after Cut, and says that it failed, with what it worked on until then
	OutcomeSuccess  = "succeeded"     // every document but one
	OutcomeFailure  = "failed"        //
	OutcomeNothing  = "nothing"       // every document failed
	OutcomeNowhere  = "nowhere"       // it never ends
	NotStartedBusy  = "busy"          // 429
	NotStartedFails = "busy, failed"  // 429, and its body says that it failed
	NotStartedLater = "busy later"    // 503 with Retry-After
	NotStartedAway  = "away"          // nothing listens
	CountsNone      = "none"          // its progress has no total
	CountsAll       = "all"           // its progress says from the beginning that all is done
)

// Work is how the pipeline works on one request.
type Work struct {
	// Before lists the answers before it takes the request: busy, busy later, busy, failed, away.
	Before []string `json:",omitempty"`
	Answer string
	Works  bool          // it works on it, whatever it answers
	Cut    time.Duration `json:",omitempty"` // how long until an answer that does not wait for the work
	Total  int
	Each   time.Duration // per document
	// Stop is where its count stops for ever; 0: nowhere. Back is when it goes back by two. Forgets
	// is when it loses its count, but not the work.
	Stop          int `json:",omitempty"`
	Back, Forgets time.Duration
	Grows         bool   `json:",omitempty"` // half of its documents are found on the way
	Says          bool   `json:",omitempty"` // its progress says the status, too
	Counts        string `json:",omitempty"` // what its progress counts; "": what is done
	Outcome       string
	Events        []Word
}

// Word is an event that the pipeline publishes.
type Word struct {
	Status   string        // running, succeeded or failed
	After    time.Duration // after the end of the work; may be negative
	NoRun    bool          `json:",omitempty"`
	Result   bool          `json:",omitempty"`
	Progress bool          `json:",omitempty"`
	Copies   int           `json:",omitempty"` // further ones, published anew
	Delay    time.Duration // of its delivery
	Lost     bool          `json:",omitempty"`
}

// Duration is how long the work takes.
func (w Work) Duration() time.Duration { return time.Duration(w.Total) * w.Each }
