// Package sim runs the real code, package watch with its rules and task names, in a world that fails as the real one may: a simulation on
// a virtual clock, repeatable from a seed, with a checker that knows nothing of the rules.
//
// # The world
//
// A [Plan] says what happens: the cases, what their callers ask for and when, how the pipeline works on them, what breaks. [Generate] makes one
// from a seed. [Plan.Run] plays it in a bubble of testing/synctest: a few instances, each a [reconcile.Reconciler] with a clock of its own, with a
// store, a queue, a topic and a pipeline in memory. Each invocation is a goroutine; whatever it asks of the world is a call, which it
// submits and waits for. One scheduler decides when a call takes effect and when its answer comes back, and executes the effect itself, so that calls
// of many invocations interleave as the plan's seed says, and a run repeats exactly. A call may fail before, after or long before it takes
// effect, and the instance may die there. Now, jitter and nonces are functions of the virtual time and the instance: between two calls nothing
// else of the world can happen.
//
// # The record
//
// What the fakes saw is a [Record]: writes, requests to the pipeline, publications, what callers were answered and readers were shown. [Check]
// looks at nothing else, and says which promises were broken:
//
//   - every run that was recorded ends once, in time; a start that was answered is there; a key means one run
//   - an end is final, for everybody who reads; results are filled in, not swapped; later words are kept
//   - one check pends, none that begins after the end asks the pipeline, none is left over
//   - the pipeline is started at most once, unless it is idempotent
//   - the pipeline is not asked to start what it was seen to work on, nor polled before the time that it named
//   - progress never goes backwards, and is 100 % of a success only
//   - every end is published, under one id, with one content
//   - the sweep's own count of broken promises is 0
//
// A plan whose record breaks one is cut down by [Shrink] to what is needed, and told by [Record.Story].
package sim
