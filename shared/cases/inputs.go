package cases

import (
	"time"

	"github.com/casewatch/casewatch/shared/schedule"
)

// MaxResult is the largest result that is kept, in bytes. Of a larger one only the counts and the
// address are read.
const MaxResult = 512 << 10

// Input is something that happened to a run.
type Input interface{ input() }

// Started begins a run. It is the only input of the zero Case.
type Started struct {
	CaseID      string
	Run         int
	Deadline    time.Duration // how long the run may take; above 0
	Pipeline    string        // the name of its pipeline
	Adopt       bool          // the pipeline works on it already: there is nothing to send
	JobID       string        // with Adopt: the job's own name, if the case id does not name it
	TraceParent string
	FormHash    string
	Prior       *Case                   // the run before, ended; nil for the first
	Earlier     *schedule.DurationStats // of the deployment's earlier runs; nil if nothing is known
}

// DispatchBegun is the mark of a request in flight: the delivery of dispatch task Seq is about to
// send it.
type DispatchBegun struct {
	Seq        int64
	Nonce      string // names this attempt
	RetryCount int    // of the delivery, as the queue counts
}

// DispatchKind is how an attempt to hand a run to the pipeline went.
type DispatchKind string

// The outcomes of an attempt.
const (
	// DispatchUnreachable: no byte of the request was written. Nothing was started.
	DispatchUnreachable DispatchKind = "unreachable"
	// DispatchBusy: the pipeline asks to be asked later. Nothing was started, whatever else its
	// answer says, unless it was seen to work on the run since.
	DispatchBusy DispatchKind = "busy"
	// DispatchRefused: the pipeline does not take this form.
	DispatchRefused DispatchKind = "refused"
	// DispatchAccepted: the pipeline works on it.
	DispatchAccepted DispatchKind = "accepted"
	// DispatchSucceeded and DispatchFailed: the answer is the terminal report.
	DispatchSucceeded DispatchKind = "succeeded"
	DispatchFailed    DispatchKind = "failed"
	// DispatchCancelled: the answer says that the pipeline cancelled the job.
	DispatchCancelled DispatchKind = "cancelled"
	// DispatchUncertain: anything else. The request may have arrived.
	DispatchUncertain DispatchKind = "uncertain"
)

// DispatchOutcome is how the attempt with that Nonce went.
type DispatchOutcome struct {
	Nonce      string
	Kind       DispatchKind
	RetryAfter time.Duration // with busy: as the pipeline asked; 0 if it did not
	SaysFailed bool          // with busy: the answer also says that the run failed
	Message    string        // for people: what the pipeline said or what went wrong
	Cause      string        // for the log only: what went wrong, with the host; "" if nothing did
	Result     *Result       // with succeeded, and perhaps where the run failed
	// JobID is the job's own name at the pipeline; "" if the answer does not name one.
	JobID string
	// Reading is what an accepting answer shows of the job; nil if nothing.
	Reading *Reading
}

// CheckKind is what a check found.
type CheckKind string

// The outcomes of a check.
const (
	// CheckSkipped: it did not poll the pipeline, as [Rules.ShouldPoll] said.
	CheckSkipped CheckKind = "skipped"
	// CheckReading: the pipeline answered with progress.
	CheckReading CheckKind = "reading"
	// CheckUnknown: the pipeline does not know the case.
	CheckUnknown CheckKind = "unknown"
	// CheckBusy: the pipeline asks to be polled later. It is reachable, and tells nothing of the
	// run.
	CheckBusy CheckKind = "busy"
	// CheckFailed: the poll failed: no answer, or none that can be read.
	CheckFailed CheckKind = "unable"
)

// CheckOutcome is what check Seq found.
type CheckOutcome struct {
	Seq         int64
	BeganAt     time.Time // when the check began, before it read the record
	ReadVersion int64     // the version of the record that it read before it polled
	Kind        CheckKind
	Reading     Reading       // with CheckReading
	RetryAfter  time.Duration // with CheckBusy or a running reading: as the pipeline asked; 0 if it did not
	Message     string        // of CheckFailed or CheckBusy what went wrong; of a terminal reading the pipeline's
	Cause       string        // for the log only: what went wrong, with the host; "" if nothing did
	Result      *Result       // if the answer had one
	Dropped     Dropped       // with a terminal reading
	// JobID is the job's own name, if the answer has one.
	JobID string
	// ResultMissing says that the reading is succeeded and that the result, which is elsewhere,
	// could not be fetched. Message says why.
	ResultMissing bool
}

// CancelKind is how a request to cancel the pipeline's job went.
type CancelKind string

// The outcomes of a cancel request.
const (
	CancelConfirmed CancelKind = "confirmed" // the job is cancelled, or there is none to cancel
	CancelFailed    CancelKind = "failed"    // the pipeline does not cancel it
	CancelAgain     CancelKind = "again"     // it is not known; the request may be repeated
)

// CancelOutcome is how a request to cancel the pipeline's job went.
type CancelOutcome struct {
	Kind       CancelKind
	RetryAfter time.Duration // with again: as the pipeline asked; 0 if it did not
	Message    string        // for people: what the pipeline said or what went wrong; "" if confirmed
	Cause      string        // for the log only, with the host; "" if confirmed
}

// Event is a message of the pipeline, addressed to this run.
type Event struct {
	ID           string // the message's, the same for each delivery
	Unattributed bool   // it named no run and may be about another one: it can only be kept as late
	Status       Status // running, succeeded or failed
	Progress     *Reading
	Message      string  // with a terminal status: the pipeline's
	Result       *Result // if it had one
	Dropped      Dropped // with a terminal status
	// Callback says that it came to the run's own address, and not on the topic.
	Callback bool
	JobID    string // the job that it names; "" if it names none
	// Fetch says that it reports a success, and that only a poll can fetch the result. PendingCheck is
	// then the number of the next check if its task was seen to be pending, else 0. Only then can the check be
	// brought forward, as by [Viewed].
	Fetch        bool
	PendingCheck int64
}

// Result is what the pipeline made: its bytes, and what is read from them.
type Result struct {
	// Raw is the JSON object as it came; nil if it is larger than MaxResult.
	Raw []byte
	// Size is the number of bytes that came.
	Size      int
	Documents *Documents // nil if it does not count them
	OutputURL string
}

// Dropped says which parts of a terminal report could not be read. The report counts all the same.
type Dropped struct {
	Result   bool `json:"result,omitempty"`
	Progress bool `json:"progress,omitempty"`
}

// Cancel ends a run on request.
type Cancel struct {
	Superseded bool // by a newer run
}

// Tick is the sweep's visit to an overdue run.
type Tick struct {
	// CheckLost and DispatchLost say that the queue no longer has the pending task.
	CheckLost, DispatchLost bool
	// StopLost says the same of the task that is to cancel the job of an ended run.
	StopLost bool
	// FormDropped says that the form is past its retention and is deleted with this change.
	FormDropped bool
}

// StopOutcome is how the request number Seq went that is to cancel the job of an ended run.
type StopOutcome struct {
	Seq int64
	CancelOutcome
}

// Finalized says that the ended event is published and no check is pending.
type Finalized struct{}

func (Started) input()         {}
func (DispatchBegun) input()   {}
func (DispatchOutcome) input() {}
func (CheckOutcome) input()    {}
func (Event) input()           {}
func (Cancel) input()          {}
func (Tick) input()            {}
func (StopOutcome) input()     {}
func (Finalized) input()       {}
