package main

// repairGuards are those of the sweep.
var repairGuards = []guard{
	{name: "a late check that exists is left alone", pkg: "shared/watch", in: "Watcher.lost", is: "tick.CheckGone = !exists", not: "tick.CheckGone = exists || !exists"},
	{name: "a late dispatch that exists is left alone", pkg: "shared/watch", in: "Watcher.lost", is: "tick.DispatchGone = !exists", not: "tick.DispatchGone = exists || !exists"},
	{name: "a lost check is scheduled anew", pkg: "shared/watch", in: "Watcher.lost", is: "tick.CheckGone = !exists", not: "tick.CheckGone = exists && !exists"},
	{name: "a lost dispatch is scheduled anew", pkg: "shared/watch", in: "Watcher.lost", is: "tick.DispatchGone = !exists", not: "tick.DispatchGone = exists && !exists"},
	{name: "what the sweep saved it also schedules", pkg: "shared/watch", in: "sweep.rearm", is: "return s.w.settle(ctx, ch, \"\")", not: "return nil"},
	{name: "the sweep ends runs past their deadline", pkg: "shared/watch", in: "Watcher.find", is: "!c.State.Ended() && !w.now().Before(c.DeadlineAt):", not: "false:"},
	{name: "the sweep tells what it ends", pkg: "shared/watch", in: "sweep.end", is: "return s.w.tellEnd(ctx, ch.after, \"\")", not: "_ = ch; return nil"},
	{name: "the sweep tells ends", pkg: "shared/watch", in: "sweep.repair", is: "return s.tell(ctx, c)", not: "return nil"},
	{name: "only what has ended and is old is purged", pkg: "shared/watch", in: "Watcher.find", is: "!w.cfg.Rules.ExpiresAt(c).After(before):", not: "true:"},
	{name: "the sweep purges", pkg: "shared/watch", in: "Watcher.find", is: "!w.cfg.Rules.ExpiresAt(c).After(before):", not: "false:"},
}

// nameGuards are the parts of a task's name, and the swap itself in the store of the simulation: what holds because every store does that.
var nameGuards = []guard{
	{name: "the name of a task has its kind", pkg: "shared/queue", in: "Task.Name", is: "t.Kind, t.CaseID,", not: "\"\", t.CaseID,"},
	{name: "the name of a task has its case", pkg: "shared/queue", in: "Task.Name", is: "t.Kind, t.CaseID,", not: "t.Kind, \"\","},
	{name: "the name of a task has its run", pkg: "shared/queue", in: "Task.Name", is: "t.Run, t.CreatedAt.UnixMicro(),", not: "0, t.CreatedAt.UnixMicro(),", test: "shared/queue TestNameDependsOnEveryPartOfTheIdentity", why: "two runs of a case are created at two times"},
	{name: "the name of a task has its run's creation", pkg: "shared/queue", in: "Task.Name", is: "t.Run, t.CreatedAt.UnixMicro(),", not: "t.Run, 0,", test: "shared/queue TestNameDependsOnEveryPartOfTheIdentity", why: "runs are kept for longer than names are taken"},
	{name: "the name of a task has its run, somehow", pkg: "shared/queue", in: "Task.Name", is: "t.Run, t.CreatedAt.UnixMicro(),", not: "0, 0,"},
	{name: "the name of a task has its number", pkg: "shared/queue", in: "Task.Name", is: "t.Seq)", not: "0)"},
	{name: "the swap on version, in a store's update", pkg: "deploy/sim", in: "fakeStore.Update", is: "k.rec.Version != wr.Case.Version-1:", not: "false:"},
	{name: "the swap on version, in a store's beginning", pkg: "deploy/sim", in: "fakeStore.Begin", is: "ok && h.Version != b.Head.Version-1 ||", not: ""},
	{name: "the swap on version of the run before", pkg: "deploy/sim", in: "fakeStore.Begin", is: "old == nil || old.rec.Version != b.End.Case.Version-1", not: "old == nil"},
	{name: "the swap on version, in a store's purge", pkg: "deploy/sim", in: "fakeStore.Purge", is: "k.rec.Version != version ||", not: ""},
}
