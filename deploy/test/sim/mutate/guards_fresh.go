package main

// freshGuards are those of what is done while somebody watches.
var freshGuards = []guard{
	{name: "who follows says that the run is watched", pkg: "shared/watch", in: "Watcher.lead", is: "version := w.freshen(ctx, shown)", not: "version := shown.View.Version"},
	{name: "a look is brought forward in place of one that pends", pkg: "shared/watch", in: "Watcher.pendingCheck", is: "return exists, err", not: "return true, err", test: "shared/watch TestBringingForwardWaitsForTheTask", why: "somebody has to come between the save of a check and the creation of its task, which takes thousands of seeds"},
	{name: "the look that is brought forward has a new number", pkg: "shared/cases", in: "Rules.watched", is: "n.Checks.Seq++", not: ""},
	{name: "the look that is brought forward is scheduled", pkg: "shared/watch", in: "Watcher.freshen", is: "if err := w.arm(ctx, ch.after, true, false); err != nil {", not: "if err := error(nil); err != nil {"},
	{name: "the look that it takes the place of is deleted", pkg: "shared/watch", in: "Watcher.freshen", is: "return w.Queue.Delete(ctx, checkTask(ch.before))", not: "return nil"},
	{name: "looks follow each other closely while the lease holds", pkg: "shared/cases", in: "Rules.nextLook", is: "n.Watched.Until.After(from) &&", not: "false &&", test: "shared/cases TestWatchedIsLookedAtClosely", why: "who follows then brings each look forward, which is as fresh, and dearer"},
	{name: "a lease is said again before it ends", pkg: "shared/cases", in: "Case.leaseEnds", is: "!c.Watched.Until.After(now.Add(leaseRest))", not: "c.Watched.Until.IsZero()"},
	{name: "a look is brought forward only if it is far", pkg: "shared/cases", in: "Rules.IsFar", is: "later(now, c.Checks.LastAt).Add(r.CheckMinInterval)", not: "now", test: "shared/cases TestWatchedLeavesWhatIsDue", why: "a look that is brought forward too often is still one"},
	{name: "a clock that is behind brings nothing forward again and again", pkg: "shared/cases", in: "Rules.IsFar", is: "later(now, c.Checks.LastAt)", not: "now", test: "shared/cases TestWatchedByAClockThatIsBehind", why: "each chain that it makes is one, and looks too often"},
	{name: "a pipeline that fails is left its back-off", pkg: "shared/cases", in: "Case.canBeFresh", is: "&& c.Checks.Unbroken == 0", not: "", test: "shared/cases TestWatchedInVain", why: "it only looks more often than need be"},
	{name: "a busy pipeline is polled by no viewer before its time", pkg: "shared/cases", in: "Case.canBeFresh", is: "&& !c.isHeldBack()", not: ""},
	{name: "that a run is watched is no news", pkg: "shared/cases", in: "Case.News", is: "if c.Version == c.Watched.Version {", not: "if false {", test: "shared/cases TestLeasesAreNoNews", why: "readers may be shown the same again"},
	{name: "a poll that finds what was known makes no event", pkg: "shared/cases", in: "Case.show", is: "if n.State != c.State ||", not: "if true ||", test: "shared/cases TestShown", why: "viewers are shown the same again, which is no lie"},
	{name: "no lease after the end", pkg: "shared/cases", in: "Case.canBeFresh", is: "!c.State.Ended() &&", not: "", test: "shared/cases TestWatchedInVain", why: "nobody follows an end"},
	{name: "best effort gives way", pkg: "shared/watch", in: "Watcher.bestEffort", is: "if !ok {", not: "if !ok && false {", test: "shared/watch TestBestEffortGivesWay", why: "its store is down or answers, and is never slow under many"},
	{name: "a save that meets another's is not best effort that failed", pkg: "shared/watch", in: "Watcher.bestEffort", is: "errors.Is(err, store.ErrConflict),", not: "", test: "shared/watch TestBestEffortMeetsAnotherChange", why: "viewers are shown progress later, which is no promise"},
	{name: "a round that fails lasts a while", pkg: "shared/watch", in: "round.fail", is: "<-rest.Done()", not: "", test: "shared/watch TestDownStoreIsLeftAlone", why: "it does not count what a store that is down is asked"},
}
