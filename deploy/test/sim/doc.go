// Package sim runs the real code of package reconcile, with its rules and task names, in a
// simulated world that fails like the real one. The simulation has a virtual clock and repeats
// exactly from a seed. Its checker knows nothing of the rules.
//
// # The world
//
// A [Plan] says what happens: the cases, the requests of their callers, how the pipeline works on
// them, and what fails. [Generate] makes a plan from a seed. [Plan.Run] plays it in a bubble of
// testing/synctest. A few instances run, each a [reconcile.Reconciler] with its own clock. Store,
// queue, topic and pipeline are in memory.
//
// Each invocation is a goroutine. It submits each request to the world as a call and waits for the
// answer. One scheduler decides when a call takes effect and when its answer arrives, and it
// executes the effect. So the calls of many invocations interleave as the seed decides, and a run
// repeats exactly. A call may fail before it takes effect, after that, or seconds before it. The
// instance may die at that point. Time, jitter and nonces depend only on the virtual time and the
// instance. Nothing else in the world happens between two calls.
//
// # The record
//
// A [Record] holds what the fakes saw: writes, requests to the pipeline, publications, and the
// answers to callers and readers. [Check] reads nothing else. It reports each broken promise:
//
//   - every recorded run ends once and in time; an acknowledged start is stored; a key means one
//     run
//   - an end is final for every reader; a result is added but never replaced; late reports are kept
//   - one check is pending; no check that begins after the end polls the pipeline; none is left
//     over
//   - the pipeline is started at most once, unless it is idempotent
//   - the pipeline is not asked to start a run on which it was seen to work, nor polled before the
//     time that it named
//   - progress never goes backwards, and only a success has 100 %
//   - every end is published under one id with one content
//   - the sweep's own count of broken promises is 0
//
// [Shrink] reduces a plan whose record breaks a promise to the necessary parts. [Record.Story]
// prints it.
package sim
