package cases

import (
	"time"

	"github.com/casewatch/casewatch/shared/schedule"
)

// Input is something that happened to a run.
type Input interface{ input() }

// Started begins a run. It is the only input of the zero Case.
type Started struct {
	CaseID      string
	Run         int
	Deadline    time.Duration // how long the run may take; above 0
	Adopt       bool          // the pipeline works on it already: there is nothing to send
	TraceParent string
	FormHash    string
	Prior       *Case                   // the run before, ended; nil for the first
	Earlier     *schedule.DurationStats // of the deployment's earlier runs; nil if nothing is known
}

// DispatchBegun is the open mark: the delivery of dispatch task Seq is about to send the request.
type DispatchBegun struct {
	Seq        int64
	Nonce      string // names this attempt
	RetryCount int    // of the delivery, as Cloud Tasks counts
}

// DispatchKind is how an attempt to hand a run to the pipeline went.
type DispatchKind string

// The outcomes of an attempt.
const (
	// DispatchUnreachable: no byte of the request was written. Nothing was started.
	DispatchUnreachable DispatchKind = "unreachable"
	// DispatchBusy: the pipeline said 429, or 503 with Retry-After. Nothing was started, unless it was seen at work since.
	DispatchBusy DispatchKind = "busy"
	// DispatchRefused: the pipeline does not take this form (3xx, 4xx).
	DispatchRefused DispatchKind = "refused"
	// DispatchAccepted: the pipeline works on it (202).
	DispatchAccepted DispatchKind = "accepted"
	// DispatchSucceeded and DispatchFailed: the pipeline's own word on how it ended.
	DispatchSucceeded DispatchKind = "succeeded"
	DispatchFailed    DispatchKind = "failed"
	// DispatchUncertain: anything else. The request may have arrived.
	DispatchUncertain DispatchKind = "uncertain"
)

// DispatchOutcome is how the attempt with that Nonce went.
type DispatchOutcome struct {
	Nonce      string
	Kind       DispatchKind
	RetryAfter time.Duration // as the pipeline asked with a busy answer; 0 if it did not
	SaysFailed bool          // with busy: the answer's body also says that the run failed
	Message    string        // for people: what the pipeline said or what went wrong
	Cause      string        // for the log only: what went wrong, with the host; "" if nothing did
	Result     *Result       // with succeeded, and perhaps with failed
}

// CheckKind is what a check found.
type CheckKind string

// The outcomes of a check.
const (
	// CheckSkipped: it did not ask the pipeline, as [Rules.Asks] said.
	CheckSkipped CheckKind = "skipped"
	// CheckReading: the pipeline answered with progress.
	CheckReading CheckKind = "reading"
	// CheckUnknown: the pipeline does not know the case.
	CheckUnknown CheckKind = "unknown"
	// CheckBusy: the pipeline said 429, or 503 with Retry-After. It is reachable, and tells nothing of the run.
	CheckBusy CheckKind = "busy"
	// CheckUnable: it could not look: no answer, or none that can be read.
	CheckFailed CheckKind = "unable"
)

// CheckOutcome is what check Seq found.
type CheckOutcome struct {
	Seq         int64
	BeganAt     time.Time // when the check began, before it read the record
	ReadVersion int64     // the version of the record that it read before it asked the pipeline
	Kind        CheckKind
	Reading     Reading       // with CheckReading
	RetryAfter  time.Duration // with CheckBusy: as the pipeline asked; 0 if it did not
	Message     string        // with CheckUnable or CheckBusy what went wrong; with a terminal reading the pipeline's message
	Cause       string        // for the log only: what went wrong, with the host; "" if nothing did
	Result      *Result       // if the answer had one
}

// Event is a message of the pipeline, addressed to this run.
type Event struct {
	ID           string   // the message's, the same for each delivery
	Unattributed bool     // it named no run and may be another run's word: it can only be kept as late
	Status       Status   // running, succeeded or failed
	Progress     *Reading // if it had one
	Message      string   // of a failed event
	Result       *Result  // if it had one
}

// Cancel ends a run at somebody's word.
type Cancel struct {
	Superseded bool // by a newer run
}

// Tick is the sweep's look at an overdue run.
type Tick struct {
	// CheckGone and DispatchGone say that the queue no longer has the pending task.
	CheckLost, DispatchLost bool
	// FormDropped says that the form has outlived its retention and is deleted with this change.
	FormDropped bool
}

// Settled is what the reconciler made the outside world match: the ended event is published, no check pends.
type Finalized struct{}

func (Started) input()         {}
func (DispatchBegun) input()   {}
func (DispatchOutcome) input() {}
func (CheckOutcome) input()    {}
func (Event) input()           {}
func (Cancel) input()          {}
func (Tick) input()            {}
func (Finalized) input()       {}
