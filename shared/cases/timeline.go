package cases

import (
	"fmt"
	"slices"
	"time"

	"github.com/casewatch/casewatch/shared/printable"
)

const (
	// maxNotes bounds a timeline: its first keptFirst lines, its end and its last ones are kept.
	maxNotes  = 50
	keptFirst = 10
	// maxDetail bounds the words of a line, in characters.
	maxDetail = 200
)

// What says what a line of a run's timeline is about.
type What string

// What a timeline tells.
const (
	NoteBegan       What = "began"           // the run was recorded
	NoteSent        What = "sent"            // its request is about to be sent to the pipeline
	NoteNotStarted  What = "not_started"     // nothing was started; it is queued again
	NoteUncertain   What = "uncertain"       // nobody knows whether the request arrived
	NoteRepeated    What = "repeated"        // nor does the pipeline know the case: it is queued again, under the same key
	NoteAnswered    What = "answered"        // the pipeline took it
	NoteRunning     What = "running"         // the pipeline works on it
	NoteStalled     What = "stalled"         // progress has not moved for long
	NoteMoved       What = "moved"           // it moves again
	NoteUnreachable What = "unreachable"     // a look got no usable answer
	NoteReachable   What = "reachable"       // a look got one again
	NoteBusy        What = "busy"            // the pipeline asked to be polled later
	NoteUnknown     What = "unknown"         // the pipeline does not know the case
	NoteKnown       What = "known"           // it knows it again
	NoteComplete    What = "complete"        // completed == total was read; the result is still to come
	NoteIncomplete  What = "incomplete"      // it is still at work after all
	NoteAnnounced   What = "announced"       // an event told of success; the answer with the result is still to come
	NoteRearmed     What = "rearmed"         // the sweep scheduled a lost wake-up anew
	NoteEnded       What = "ended"           // the one end
	NoteFilled      What = "filled"          // the result came after the end, and agrees with it
	NoteLate        What = "late"            // a word that came too late to be the end
	NoteLeaked      What = "asked_after_end" // a check that began after the end asked the pipeline all the same
	NotePublished   What = "published"       // the end is published, and no check pends
	NoteFormDropped What = "form_dropped"    // the form has outlived its retention
)

// Note is a line of a run's timeline: a change, and what caused it.
type Note struct {
	At     time.Time `json:"at"`
	What   What      `json:"what"`
	Source Source    `json:"source,omitempty"` // through which door the cause came; "" for a start and for our own bookkeeping
	Detail string    `json:"detail,omitempty"` // in words; clipped
}

// record notes down in n what an input changed since before.
func (n *Case) record(before Case, in Input, v Verdict, now time.Time) {
	var notes []Note
	note := func(is bool, what What, detail string) {
		if is {
			notes = append(notes, Note{At: now, What: what, Source: sourceOf(in), Detail: printable.Line(detail, maxDetail)})
		}
	}
	was, is := before.Dispatch, n.Dispatch
	entered := func(p Phase) bool { return is.Phase == p && was.Phase != p }
	message := messageOf(in)
	tick, _ := in.(Tick)

	note(before.Version == 0, NoteBegan, beganDetail(*n))
	note(entered(PhaseInFlight), NoteSent, fmt.Sprintf("attempt %d", is.Seq))
	queued, uncertain := before.Version > 0 && entered(PhaseQueued) && !n.State.Ended(), entered(PhaseUncertain)
	_, looked := in.(CheckOutcome) // its message is about the look
	note(queued && !looked, NoteNotStarted, message)
	note(queued && looked, NoteRepeated, "")
	note(uncertain && !looked, NoteUncertain, message)
	note(uncertain && looked, NoteUncertain, "no answer to the request in time")
	note(entered(PhaseAnswered), NoteAnswered, "")
	note(before.State == Pending && n.State == Running, NoteRunning, "")
	if !n.State.Ended() {
		was, is := before.Checks, n.Checks // queued anew they begin anew, which tells nothing of the pipeline
		wasBusy, isBusy := !was.BusyUntil.IsZero(), !is.BusyUntil.IsZero()
		note(n.Job.Stalled && !before.Job.Stalled, NoteStalled, "")
		note(!n.Job.Stalled && before.Job.Stalled, NoteMoved, "")
		note(is.ConsecutiveFailures > 0 && was.ConsecutiveFailures == 0, NoteUnreachable, message)
		note(is.ConsecutiveFailures == 0 && (was.ConsecutiveFailures > 0 && !queued || wasBusy && !isBusy && looked), NoteReachable, "")
		note(isBusy && !wasBusy, NoteBusy, message)
		note(!is.UnknownSince.IsZero() && was.UnknownSince.IsZero(), NoteUnknown, "")
		note(is.UnknownSince.IsZero() && !was.UnknownSince.IsZero() && !queued, NoteKnown, "")
		note(!n.Job.CompleteSince.IsZero() && before.Job.CompleteSince.IsZero(), NoteComplete, "")
		note(n.Job.CompleteSince.IsZero() && !before.Job.CompleteSince.IsZero() && !queued, NoteIncomplete, "")
		note(!n.Job.SucceededSince.IsZero() && before.Job.SucceededSince.IsZero(), NoteAnnounced, "")
		note(tick.CheckLost || tick.DispatchLost, NoteRearmed, "")
	}
	if n.State.Ended() && !before.State.Ended() {
		notes = append(notes, Note{At: now, What: NoteEnded, Source: n.Outcome.End.Source, Detail: printable.Line(endDetail(*n), maxDetail)})
	}
	note(v.Kind == Filled, NoteFilled, "")
	note(v.Kind == Late, NoteLate, lateDetail(in))
	note(n.Bookkeeping.PolledAfterEnd > before.Bookkeeping.PolledAfterEnd, NoteLeaked, "")
	note(n.Bookkeeping.Finalized && !before.Bookkeeping.Finalized, NotePublished, "")
	note(tick.FormDropped && v.DropForm, NoteFormDropped, "")
	if len(notes) == 0 {
		return
	}
	n.Timeline = append(slices.Clone(before.Timeline), notes...)
	for len(n.Timeline) > maxNotes {
		oldest := keptFirst
		if n.Timeline[oldest].What == NoteEnded {
			oldest++
		}
		n.Timeline = slices.Delete(n.Timeline, oldest, oldest+1)
	}
}

// sourceOf returns the door through which an input came.
func sourceOf(in Input) Source {
	switch in.(type) {
	case DispatchBegun, DispatchOutcome:
		return SourceDispatch
	case CheckOutcome:
		return SourceCheck
	case Event:
		return SourceEvent
	case Cancel:
		return SourceCancel
	case Tick:
		return SourceSweep
	}
	return ""
}

// messageOf returns what an input says in words.
func messageOf(in Input) string {
	switch in := in.(type) {
	case DispatchOutcome:
		if in.Message == "" {
			return string(in.Kind)
		}
		return in.Message
	case DispatchBegun:
		return "the attempt before was lost"
	case CheckOutcome:
		return in.Message
	case Event:
		return in.Message
	}
	return ""
}

func beganDetail(c Case) string {
	if c.Adopted {
		return "the pipeline works on it already"
	}
	return ""
}

func endDetail(c Case) string {
	detail := string(c.State) + ", " + string(c.Outcome.End.Reason)
	if c.Outcome.End.Message != "" {
		detail += ": " + c.Outcome.End.Message
	}
	return detail
}

// lateDetail says what a late word said.
func lateDetail(in Input) string {
	said := func(succeeded bool, res *Result) string {
		if res != nil {
			return fmt.Sprintf("it says %s, with a result", outcome(succeeded))
		}
		return "it says " + outcome(succeeded)
	}
	switch in := in.(type) {
	case DispatchOutcome:
		return said(in.Kind == DispatchSucceeded, in.Result)
	case CheckOutcome:
		return said(in.Reading.Status == StatusSucceeded, in.Result)
	case Event:
		return said(in.Status == StatusSucceeded, in.Result)
	}
	return ""
}

func outcome(succeeded bool) string {
	if succeeded {
		return "succeeded"
	}
	return "failed"
}
