package reconcile

import (
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// Operations counts what a run took, as far as its record tells: nothing is written just to count it.
// Each invocation makes a fixed number of calls, and the record tells how many there were. Each check has
// a number, and was delivered unless the next one was brought forward. Each dispatch has a number too,
// and each write a version.
//
// What leaves no trace in the record is not counted: repeated deliveries, conflicts, events that changed
// nothing, readers, and the sweep.
type Operations struct {
	Start, Dispatch, Check, Complete, Cancel int // invocations, by function

	TasksCreated, TasksDeleted int // the deliveries are those of Dispatch and Check
	TasksFound                 int // lookups, to bring a check forward

	// Reads, Writes and Deletes are documents, as Firestore bills them; shared/store/firestore says how
	// many each call takes. On PostgreSQL they are rows.
	Reads, Writes, Deletes int

	// Held is how long a dispatch that was answered with the result held its request. How long others
	// waited for "accepted" is not known.
	Held time.Duration
	// Published counts ended events, Received the events of the pipeline that ended the run.
	Published, Received int
	LogLines            int // without the request log of each invocation
}

// Invocations returns the number of invocations of all functions.
func (o Operations) Invocations() int { return o.Start + o.Dispatch + o.Check + o.Complete + o.Cancel }

// TaskOperations returns what Cloud Tasks bills: creations, deliveries, deletions and lookups.
func (o Operations) TaskOperations() int {
	return o.TasksCreated + o.TasksFound + o.TasksDeleted + o.Dispatch + o.Check
}

// OperationsOf returns what a run took so far.
func OperationsOf(c cases.Case) Operations {
	// Each number is one task, and so is each check that was brought forward.
	checks, dispatches, expedited := int(c.Checks.Seq), int(c.Dispatch.Seq), c.Viewers.Lease.Expedited
	o := Operations{
		Start: 1, Dispatch: dispatches, Check: checks - expedited,
		TasksCreated: checks + dispatches, TasksFound: expedited, TasksDeleted: expedited,
	}
	if c.Dispatch.Phase == cases.PhaseQueued { // its last task was not delivered
		o.Dispatch--
		o.TasksDeleted += one(c.State.Ended())
	}
	if c.State.Ended() {
		o.addEnd(c)
	} else {
		o.Check-- // the last one is still to come
	}
	// A start reads the head and the record. A delivery reads the record, that of a dispatch the form too.
	o.Reads += 2 + 2*o.Dispatch + o.Check + o.Complete + 2*o.Cancel
	// Written are the record at each version, the results, and at the beginning the head and the form.
	// What an earlier run of that number may have left is deleted at the beginning.
	o.Writes += int(c.Version) + 2 + results(c)
	o.Deletes += 2 + one(c.State.Ended() && !c.Bookkeeping.FormKept)
	o.LogLines += 1 + 2*o.Dispatch + o.Check + o.Complete
	return o
}

// addEnd adds what the end of a run took.
func (o *Operations) addEnd(c cases.Case) {
	switch c.Outcome.End.Source {
	case cases.SourceEvent:
		o.Complete, o.Received = 1, 1
	case cases.SourceCancel:
		o.Cancel = one(c.Outcome.End.Reason != cases.ReasonSuperseded) // else in the start of the next run
	case cases.SourceDispatch:
		o.Held = c.Outcome.EndedAt.Sub(c.Dispatch.SentAt)
		if c.Checks.Seq > 1 {
			o.Reads += 2 // checks changed the record meanwhile: the commit conflicts, and the record is read again
		}
	}
	if c.Outcome.End.Source != cases.SourceCheck && c.Outcome.End.Source != cases.SourceDeadline {
		o.Check-- // the pending check was deleted
		o.TasksDeleted++
	}
	o.LogLines++
	o.Published = 1
	o.Reads += results(c) // the ended event shows them
}

// results is the number of results beside the record.
func results(c cases.Case) int {
	return one(c.Outcome.HasResult) + one(c.Outcome.Late != nil && c.Outcome.Late.HasResult)
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}
