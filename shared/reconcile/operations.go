package reconcile

import (
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// Operations are what a run took, as far as its record tells: nothing is written for the sake of counting. Each invocation costs a fixed number of
// calls, and the record tells how many there were: each check has a number, and was delivered unless the next was brought forward; each dispatch has
// one too, and each write a version. What leaves no trace in the record is not in it: deliveries that were repeated, conflicts, events that ended
// nothing, readers, the sweep.
type Operations struct {
	Start, Dispatch, Check, Complete, Cancel int // invocations, by function

	TasksCreated, TasksDeleted int // the deliveries are those of Dispatch and Check
	TasksFound                 int // that were asked for, to bring a check forward

	// Documents, as Firestore bills them (shared/store/firestore says how many each call takes). On PostgreSQL they are rows.
	Reads, Writes, Deletes int

	// Held is how long a dispatch that answered with the result held its request; what it took to hear "accepted" is not known.
	Held time.Duration
	// Published are ended events, Received the pipeline's events that ended the run.
	Published, Received int
	LogLines            int // of ours; each invocation has a request log too
}

// Invocations returns how many there were, of all functions.
func (o Operations) Invocations() int { return o.Start + o.Dispatch + o.Check + o.Complete + o.Cancel }

// TaskOperations returns what Cloud Tasks bills: creations, deliveries, deletions and questions.
func (o Operations) TaskOperations() int {
	return o.TasksCreated + o.TasksFound + o.TasksDeleted + o.Dispatch + o.Check
}

// OperationsOf returns what a run took so far.
func OperationsOf(c cases.Case) Operations {
	checks, dispatches, forward := int(c.Checks.Seq), int(c.Dispatch.Seq), c.Viewers.Lease.Expedited // one task each, and one more for what was brought forward
	o := Operations{Start: 1, TasksCreated: checks + dispatches, TasksFound: forward, TasksDeleted: forward, Dispatch: dispatches, Check: checks - forward}
	if c.Dispatch.Phase == cases.PhaseQueued { // its last task was not delivered
		o.Dispatch--
		o.TasksDeleted += one(c.State.Ended())
	}
	if !c.State.Ended() {
		o.Check-- // the last one is still to come
	} else {
		o.ended(c)
	}
	// A start reads the head and the record; a delivery the record, and a dispatch the form too.
	o.Reads += 2 + 2*o.Dispatch + o.Check + o.Complete + 2*o.Cancel
	// The record at each version, the head and the form; what may be left of a run of that number is deleted with the beginning.
	o.Writes += int(c.Version) + 2 + one(c.Outcome.HasResult) + one(c.Outcome.Late != nil && c.Outcome.Late.HasResult)
	o.Deletes += 2 + one(c.State.Ended() && !c.Bookkeeping.FormKept)
	o.LogLines += 1 + 2*o.Dispatch + o.Check + o.Complete
	return o
}

// ended adds what the end of a run took.
func (o *Operations) ended(c cases.Case) {
	switch c.Outcome.End.Source {
	case cases.SourceCheck, cases.SourceDeadline: // in the delivery of its last check
	case cases.SourceEvent:
		o.Complete, o.Received = 1, 1
	case cases.SourceCancel:
		o.Cancel = one(c.Outcome.End.Reason != cases.ReasonSuperseded) // else in the start of the next run
	case cases.SourceDispatch:
		o.Held = c.Outcome.EndedAt.Sub(c.Dispatch.SentAt)
		if c.Checks.Seq > 1 {
			o.Reads += 2 // checks have changed the record meanwhile: a commit is refused, and the record read again
		}
	}
	if c.Outcome.End.Source != cases.SourceCheck && c.Outcome.End.Source != cases.SourceDeadline {
		o.Check--
		o.TasksDeleted++
	}
	o.LogLines++
	o.Published = 1
	o.Reads += one(c.Outcome.HasResult) + one(c.Outcome.Late != nil && c.Outcome.Late.HasResult) // the event shows them
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}
