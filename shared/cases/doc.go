// Package cases says what a case is, and what each thing that happens to it does. Every decision
// about a run is made here, and nothing else: no I/O, no clock, no randomness. Read this package
// first.
//
// A [Case] is the record of one run. [Rules.Apply] takes a case, an [Input] and the time, and
// returns the next case and the [Verdict] on the input. The caller saves the next case
// (compare-and-swap on its version), and then makes the outside world match it.
//
// Package schedule, which this one imports, says when to poll next; package cases says what a poll
// waits for.
//
// The states of a run and the phases of its dispatch are drawn in shared/README.md.
//
// # Dispatch
//
// Handing a run to the pipeline is a small machine of its own. The request is sent at most once,
// unless it is certain that nothing was started, or the pipeline is idempotent.
//
// Nothing was started if the pipeline could not be reached, or was busy, whatever else its answer
// says. But once the pipeline was seen to work on this run since the request was sent, the request
// is not sent again: then busy is uncertain, and a busy answer that says failed is a terminal
// report.
//
// While a request is in flight, only its answer, an event with a result, a failed event, a cancel
// or the deadline ends the run. After a succeeded event without a result, CompletionGrace does too,
// and the loss of the answer that would have brought the result.
//
// # Jobs with names of their own
//
// A pipeline may name its jobs ([Job.ID]). Where polls need that name, a run whose job is not named
// is not polled: reports of the pipeline and the deadline end it, and StartGrace if it is not known
// whether the start arrived.
//
// A run that ends as cancelled or timed out may leave a job running. Then [Stop] says what becomes
// of it: a request to cancel the job is planned, and repeated while its outcome is not known. The
// end does not wait for it.
//
// # What decides first
//
// Where several things hold at the same time, the first of these decides. The comments of the
// functions say it for each input.
//
//  1. An end is final.
//  2. An input that belongs to a step the run is past, or that was taken in before, changes
//     nothing.
//  3. A terminal report of the pipeline, or a cancel, ends the run.
//  4. A success that an event or a poll reported, whose result did not follow.
//  5. Work that is complete by its counts, where the pipeline gives no status.
//  6. What polls and attempts failed to find for the length of a grace: the pipeline, or the job.
//  7. The deadline. It cuts the graces of 4 and 5 short: the run has then succeeded.
//
// # What always holds
//
//   - An end is final: state, end and progress of an ended run never change. A later report that
//     agrees with the end fills in a missing result. Any other is kept as late: the first one, and
//     the number of all.
//   - Progress of a run never goes backwards.
//   - Checks.Seq and Dispatch.Seq only grow, and an open run always has a next check: NextAt is
//     set, and not after the deadline.
package cases
