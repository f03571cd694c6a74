// Package schedule decides when to poll a run next. It is pure: no I/O, no clock, no randomness
// (jitter is a value). It knows nothing of cases, stores or pipelines.
//
// # The question
//
// Casewatch is not told when a run ends, unless the pipeline sends an event. So it polls: a check
// asks the pipeline once, and plans the next check. Each poll costs something (a task, a read, a
// write, a request to the pipeline). Each second between the end of the work and the poll that
// finds it is a second that somebody waits; it is called lag. Many polls make little lag, few polls
// make much. This package chooses the time of the next poll so that the two together cost the least
// for each end that is found.
//
// # What is expected
//
// Two things say when a run may end, and a [Forecast] multiplies them:
//
//   - How long earlier runs took. [DurationStats] has a [Histogram] for each size class of runs: a
//     size class is a power of two of documents. With 200 runs that took 18 to 22 s, an end after
//     20 s is likely and one after 5 s is not.
//   - How far this run is. [EstimateEnd] extrapolates its progress: 10 of 20 documents after 21 s
//     are an end after about 40 s. How far such estimates may be trusted is learned from earlier
//     runs, and from how this run's own estimate has changed.
//
// Both may be wrong. So no time is ever impossible: outlierShare of all runs are taken to be unlike
// any before, and estimateFloor of the weight stays with times that the estimate rules out.
//
// # What a poll costs
//
// A poll has a price in seconds of lag: 0.15 s, for a run that has taken more than 75 s a
// five-hundredth of the time so far, and 0.5 s at most. A higher price makes fewer polls and longer
// lags. The longer a run has taken, the less a second matters to those who wait for it.
//
// # The wait
//
// A poll after a wait finds the ends before it. An end that comes after it is found by a later
// poll, at least the shortest interval later. [Forecast.Wait] is the wait for which
//
//	(price of the polls + expected lag of the ends that they find) / chance that they find the end
//
// is the smallest. Two cases show what that means. Where an end is equally likely at any time, with
// chance h in each second, the wait is about √(2·price/h), the known optimum of checking for
// failures (J. B. Keller, Optimum checking schedules for systems subject to random failure,
// Management Science 21, 1974). Where the end is nearly known, the wait lasts until just after it.
// The formula needs no special case for either.
//
// Of the waits that cost at most 2 % more than the best, jitter chooses one, so that runs that
// began together are not polled together for ever.
//
// The wait is then held to the settings: never shorter than CHECK_MIN_INTERVAL nor longer than
// CHECK_MAX_INTERVAL ([Interval.Clamp]), which bounds the lag of every end whatever was learned,
// and moved to a grid ([Interval.Align]) so that checks of many runs share what a commit costs.
//
// # A worked example
//
// 200 earlier runs with 30 documents took 18 to 22 s. A new one begins. With intervals of 2 to 30 s
// (the example of [Forecast.Wait] computes these figures):
//
//   - At its beginning the first poll is planned after 19.1 s. An earlier one would find hardly any
//     end; a later one would let more of them wait than a poll costs.
//   - If it has not ended at 19.5 s, its end is near: the next poll comes after 2 s, the shortest
//     interval.
//   - If it has not ended after 2 minutes, it is unlike the runs before, and nothing says when it
//     ends. The next poll comes after 18 s.
//   - Another run has 10 of its 30 documents after 60 s. So it should end after 171 s, far from
//     now: the next poll comes after 29.6 s.
//
// # What it saves
//
// The policy lab (deploy/bench/policy) has policies poll the same synthetic, recorded and modelled
// runs. Its results.md has all figures; these are checks per run · mean lag / 99th percentile, in
// seconds, for polling alone:
//
//	runs                                  every 2 s        half of the rest    this package
//	5 minutes, even progress              153.6 · 1.0/2.0  15.8 · 1.0/2.0      11.9 · 1.2/2.8
//	5 minutes, no progress until the end  155.9 · 1.0/2.0  17.6 · 15.4/29.5    15.8 · 7.2/23.6
//	5 to 60 s, uneven progress            11.3 · 1.0/2.0   4.8 · 1.8/15.7      5.2 · 1.0/3.1
//	the sample pipeline, recorded         14.7 · 0.9/1.9   4.9 · 1.0/1.9       3.2 · 0.8/1.9
//
// # Imports
//
// Package cases imports this one, and this one imports nothing of ours. A record keeps the
// statistics and the estimate that its next check is planned by, and the rules plan the next check:
// they need these types and functions. The other direction would need an interface in cases for no
// gain.
package schedule
