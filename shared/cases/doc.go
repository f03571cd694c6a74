// Package cases says what a case is and what each input does to it. Every decision is here, and
// nothing else: no I/O, no clock, no randomness. Read this package first.
//
// A [Case] is the record of one run. [Rules.Apply] takes a case, an [Input] and the time, and
// returns the next case and the [Verdict] on the input. The caller saves the next case
// (compare-and-swap on its version), and then makes the outside world match it.
//
// The states of a run and the phases of its dispatch are drawn in shared/README.md.
//
// # The request to the pipeline
//
// It is sent at most once, unless nothing was started for certain, or the pipeline is idempotent.
// Busy (429, or 503 with Retry-After) means that nothing was started, whatever the body of the
// answer says. Once the pipeline was seen to work on this run since the request was sent, it is not
// sent again: a busy answer whose body says failed is then a terminal report.
//
// While the request is in flight, only its answer, an event with a result, a failed event, a cancel
// or the deadline ends the run. After a succeeded event without a result, so does CompletionGrace, or
// the loss of the answer that would have brought the result.
//
// # What always holds
//
//   - An end is final: state, end and progress of an ended run never change. A later report that
//     agrees with the end fills in a missing result. Every other one is counted in Late, which keeps
//     the first.
//   - Progress of a run never goes backwards.
//   - Checks.Seq and Dispatch.Seq only grow. An open run always has a next check: NextAt is set, and
//     not after the deadline.
//   - An input that belongs to a step that the run is past changes nothing.
package cases
