// Package cost counts what a case takes and says what that costs: `make cost`.
//
// The counts come from the code. [Play] runs one case from its start to the end of its retention in
// a bubble of testing/synctest, on a virtual clock: package watch for each function, and the
// handler of status for its viewers, over a store, a queue, a topic and a pipeline in memory that
// count what they are asked for. [Prices] are Google's, in prices.csv, with the source of each, the
// day of the look-up, and whether the figure itself was read. [Bill] multiplies.
//
// Counted: invocations by function and how long each was held, tasks created, delivered and
// deleted, documents read, written and deleted (each call of the store at what the documentation of
// shared/store/firestore says that it costs, which that package's tests hold to the calls it
// makes), messages and their bytes, our log lines and their bytes, what viewers were sent, what is
// stored. Taken for granted: a request log of 1.3 KB for each invocation, 0.15 s of a tenth of an
// instance for a short one, and that a held one shares its instance with as many as the concurrency
// of deploy/gcp/functions.txt admits. Not counted: the pipeline, conflicts and repeated deliveries,
// what is free each month.
package cost
