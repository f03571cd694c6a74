// Package cases says what a case is and what each thing that happens to it does. Everything that decides anything is
// here, and nothing else: no I/O, no clock, no randomness. Read this package first.
//
// A [Case] is the record of one run. [Rules.Apply] takes a case, an [Input] and the time, and returns the next case and
// the [Verdict] on the input. The caller saves the next case (compare-and-swap on its version), and then makes the
// outside world match it.
//
// # The states of a run
//
//	stateDiagram-v2
//	    [*] --> pending: started
//	    pending --> running: accepted (202), a reading, a running event
//	    pending --> succeeded: the pipeline's own word
//	    running --> succeeded: the pipeline's own word, or complete by its counts, without a status, and nothing more for CompletionGrace
//	    pending --> failed: own word, refused, no documents, unreachable, lost, start unknown
//	    running --> failed: own word, no documents, unreachable, lost
//	    pending --> timed_out: deadline
//	    running --> timed_out: deadline
//	    pending --> cancelled: cancel, superseded
//	    running --> cancelled: cancel, superseded
//	    succeeded --> [*]
//	    failed --> [*]
//	    timed_out --> [*]
//	    cancelled --> [*]
//
// # The phases of a dispatch
//
// Handing a run to the pipeline is a small machine of its own. The request is sent at most once, unless nothing was
// started for certain, or the pipeline is idempotent.
//
//	stateDiagram-v2
//	    [*] --> queued: started
//	    [*] --> none: adopted
//	    queued --> open: the mark is saved, then the request is sent
//	    open --> queued: nothing was started (unreachable; busy, and not seen at work), after a back-off
//	    open --> answered: accepted
//	    open --> uncertain: no answer that tells, busy though it was seen at work, a redelivery, PipelineTimeout
//	    uncertain --> answered: its answer comes after all
//	    uncertain --> queued: nothing was started, says its late answer; or unknown for StartGrace and the pipeline is idempotent
//	    queued --> answered: an event says that it runs
//
// Busy (429, or 503 with Retry-After) means that nothing was started, whatever the answer's body says. Once the pipeline was
// seen to work on this run since the request was sent, it is not sent again: then a body that says failed is a terminal report.
//
// While it is open, only its answer, an event with a result, a failed event, a cancel or the deadline ends the run; after a succeeded event
// without a result, also CompletionGrace, or the loss of the answer that would have brought it.
//
// # What always holds
//
//   - An end is final: state, end and progress of an ended run never change. A later word of the pipeline that agrees with the end
//     fills in a missing result; any other is kept in Late: the first one, and the number of all.
//   - Progress of a run never goes backwards.
//   - Checks.Seq and Dispatch.Seq only grow, and an open run always has a check to come: NextAt is set, and not after the deadline.
//   - An input that belongs to a step the run is past changes nothing.
package cases
