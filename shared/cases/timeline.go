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
	// maxDetail bounds the text of a line, in characters.
	maxDetail = 200
)

// What says what a line of a run's timeline is about.
type What string

// What a timeline tells.
const (
	NoteBegan       What = "began"           // the run was recorded
	NoteSent        What = "sent"            // its request is about to be sent to the pipeline
	NoteNotStarted  What = "not_started"     // nothing was started; it is queued again
	NoteUncertain   What = "uncertain"       // it is not known whether the request arrived
	NoteRepeated    What = "repeated"        // and the pipeline does not know it: queued again, under the same key
	NoteAnswered    What = "answered"        // the pipeline took it
	NoteRunning     What = "running"         // the pipeline works on it
	NoteStalled     What = "stalled"         // progress has not moved for long
	NoteMoved       What = "moved"           // it moves again
	NoteUnreachable What = "unreachable"     // a poll got no usable answer
	NoteReachable   What = "reachable"       // a poll got one again
	NoteBusy        What = "busy"            // the pipeline asked to be polled later
	NoteUnknown     What = "unknown"         // the pipeline does not know the case
	NoteKnown       What = "known"           // it knows it again
	NoteComplete    What = "complete"        // completed == total was read; the result is still to come
	NoteIncomplete  What = "incomplete"      // the pipeline still works on it after all
	NoteAnnounced   What = "announced"       // an event reported success; the answer with the result is still to come
	NoteRescheduled What = "rearmed"         // the sweep scheduled a lost task again
	NoteEnded       What = "ended"           // the one end
	NoteFilled      What = "filled"          // the result came after the end, and agrees with it
	NoteLate        What = "late"            // a report that came too late to be the end
	NoteLeaked      What = "asked_after_end" // a check that had read the end polled the pipeline all the same
	NoteStopped     What = "stopped"         // a request is to cancel the job at the pipeline
	NoteStopAgain   What = "stop_again"      // it is not known whether the job is cancelled: the request is repeated
	NoteStopDone    What = "stop_confirmed"  // the pipeline confirmed it, or there is no such job
	NoteStopFailed  What = "stop_failed"     // the pipeline did not cancel the job
	NoteNoResult    What = "no_result"       // the job succeeded; its result could not be fetched yet
	NoteUnmapped    What = "unmapped"        // a status that the description does not list
	NotePublished   What = "published"       // the end is published, and no check is pending
	NoteFormDropped What = "form_dropped"    // the form was past its retention
)

// Note is a line of a run's timeline: a change, and what caused it.
type Note struct {
	At     time.Time `json:"at"`
	What   What      `json:"what"`
	Source Source    `json:"source,omitempty"` // where the cause came from; "" for a start and for our own bookkeeping
	Detail string    `json:"detail,omitempty"` // for people; at most maxDetail characters
}

// notes are the lines that one input adds.
type notes struct {
	at     time.Time
	source Source
	lines  []Note
}

// add adds a line if that is the case.
func (ns *notes) add(is bool, what What, detail string) {
	if is {
		ns.lines = append(ns.lines, Note{At: ns.at, What: what, Source: ns.source, Detail: clipDetail(detail)})
	}
}

// record notes down in c what an input changed since before.
func (c *Case) record(before Case, in Input, v Verdict, now time.Time) {
	ns := notes{at: now, source: sourceOf(in)}
	_, polled := in.(CheckOutcome)
	tick, _ := in.(Tick)

	ns.add(before.Version == 0, NoteBegan, beganDetail(*c))
	queuedAgain := c.noteDispatch(&ns, before, in, polled)
	ns.add(before.State == Pending && c.State == Running, NoteRunning, "")
	if !c.State.Ended() {
		c.noteOpen(&ns, before, in, polled, queuedAgain)
		ns.add(tick.CheckLost || tick.DispatchLost, NoteRescheduled, "")
	}
	if c.State.Ended() && !before.State.Ended() {
		ns.lines = append(ns.lines, Note{
			At:     now,
			What:   NoteEnded,
			Source: c.Outcome.End.Source,
			Detail: clipDetail(endDetail(*c)),
		})
	}
	ns.add(v.Kind == Filled, NoteFilled, "")
	ns.add(v.Kind == Late, NoteLate, lateDetail(in))
	ns.add(c.Bookkeeping.PolledAfterEnd > before.Bookkeeping.PolledAfterEnd, NoteLeaked, "")
	c.noteStop(&ns, before, in)
	ns.add(c.Bookkeeping.Finalized && !before.Bookkeeping.Finalized, NotePublished, "")
	ns.add(tick.FormDropped && v.DropForm, NoteFormDropped, "")
	if len(ns.lines) > 0 {
		c.Timeline = bounded(append(slices.Clone(before.Timeline), ns.lines...))
	}
}

// noteDispatch notes how far the dispatch is. It reports whether the run is queued again.
func (c *Case) noteDispatch(ns *notes, before Case, in Input, polled bool) (queuedAgain bool) {
	was, is := before.Dispatch, c.Dispatch
	entered := func(p Phase) bool { return is.Phase == p && was.Phase != p }
	queuedAgain = before.Version > 0 && entered(PhaseQueued) && !c.State.Ended()
	message := messageOf(in) // that of a check is about its poll

	ns.add(entered(PhaseInFlight), NoteSent, fmt.Sprintf("attempt %d", is.Seq))
	ns.add(queuedAgain && !polled, NoteNotStarted, message)
	ns.add(queuedAgain && polled, NoteRepeated, "")
	ns.add(entered(PhaseUncertain) && !polled, NoteUncertain, message)
	ns.add(entered(PhaseUncertain) && polled, NoteUncertain, "no answer to the request in time")
	ns.add(entered(PhaseAnswered), NoteAnswered, "")
	return queuedAgain
}

// noteOpen notes how the work on an open run goes, and what polls show of it. Where the run is
// queued again all of that begins again, which tells nothing of the pipeline.
func (c *Case) noteOpen(ns *notes, before Case, in Input, polled, queuedAgain bool) {
	job, wasJob := c.Job, before.Job
	failing, failed := c.Checks.ConsecutiveFailures > 0, before.Checks.ConsecutiveFailures > 0
	busy, wasBusy := c.Checks.isBusy(), before.Checks.isBusy()
	unknown, wasUnknown := !c.Checks.UnknownSince.IsZero(), !before.Checks.UnknownSince.IsZero()
	complete, wasComplete := !job.CompleteSince.IsZero(), !wasJob.CompleteSince.IsZero()

	ns.add(job.Stalled && !wasJob.Stalled, NoteStalled, "")
	ns.add(!job.Stalled && wasJob.Stalled, NoteMoved, "")
	ns.add(failing && !failed, NoteUnreachable, messageOf(in))
	ns.add(!failing && (failed && !queuedAgain || wasBusy && !busy && polled), NoteReachable, "")
	ns.add(busy && !wasBusy, NoteBusy, messageOf(in))
	ns.add(unknown && !wasUnknown, NoteUnknown, "")
	ns.add(!unknown && wasUnknown && !queuedAgain, NoteKnown, "")
	ns.add(complete && !wasComplete, NoteComplete, "")
	ns.add(!complete && wasComplete && !queuedAgain, NoteIncomplete, "")
	ns.add(!job.ResultMissingSince.IsZero() && wasJob.ResultMissingSince.IsZero(), NoteNoResult, messageOf(in))
	if len(job.Unmapped) > len(wasJob.Unmapped) {
		ns.add(true, NoteUnmapped, job.Unmapped[len(job.Unmapped)-1])
	}
	ns.add(!job.SucceededSince.IsZero() && wasJob.SucceededSince.IsZero(), NoteAnnounced, "")
}

// isBusy reports whether the pipeline answered the last poll that it is busy.
func (ch Checks) isBusy() bool { return !ch.BusyUntil.IsZero() && !ch.Paced }

// noteStop notes what becomes of the job of an ended run.
func (c *Case) noteStop(ns *notes, before Case, in Input) {
	was, is := before.Stop, c.Stop
	again := is.State == StopRequested && was.State == StopRequested && is.Seq != was.Seq
	ns.add(is.State == StopRequested && was.State != StopRequested, NoteStopped, "")
	ns.add(again, NoteStopAgain, messageOf(in))
	ns.add(is.State == StopConfirmed && was.State != StopConfirmed, NoteStopDone, "")
	ns.add(is.State == StopFailed && was.State != StopFailed, NoteStopFailed, is.Problem)
}

// bounded returns at most maxNotes lines: the oldest after the first ones are left out, but not the
// end.
func bounded(timeline []Note) []Note {
	for len(timeline) > maxNotes {
		oldest := keptFirst
		if timeline[oldest].What == NoteEnded {
			oldest++
		}
		timeline = slices.Delete(timeline, oldest, oldest+1)
	}
	return timeline
}

// sourceOf returns where an input came from.
func sourceOf(in Input) Source {
	switch in := in.(type) {
	case DispatchBegun, DispatchOutcome:
		return SourceDispatch
	case CheckOutcome:
		return SourceCheck
	case Event:
		return in.source()
	case Cancel, StopOutcome:
		return SourceCancel
	case Tick:
		return SourceSweep
	}
	return ""
}

// messageOf returns what an input says to people.
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
	case StopOutcome:
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

// lateDetail says what a late report says.
func lateDetail(in Input) string {
	says := func(status Status, res *Result) string {
		if res != nil {
			return fmt.Sprintf("it says %s, with a result", status)
		}
		return "it says " + string(status)
	}
	switch in := in.(type) {
	case DispatchOutcome:
		if in.Kind == DispatchBusy {
			return says(StatusFailed, in.Result)
		}
		return says(Status(in.Kind), in.Result)
	case CheckOutcome:
		return says(in.Reading.Status, in.Result)
	case Event:
		return says(in.Status, in.Result)
	}
	return ""
}

// clipDetail returns a text as a line of a timeline shows it.
func clipDetail(s string) string { return printable.Line(s, maxDetail) }
