package main

// repairGuards are those of the sweep.
var repairGuards = []guard{
	{name: "a late check that exists is left alone", pkg: "shared/watch", in: "Watcher.lost", is: "tick.CheckGone = !exists", not: "tick.CheckGone = exists || !exists"},
	{name: "a late dispatch that exists is left alone", pkg: "shared/watch", in: "Watcher.lost", is: "tick.DispatchGone = !exists", not: "tick.DispatchGone = exists || !exists"},
	{name: "a lost check is scheduled anew", pkg: "shared/watch", in: "Watcher.lost", is: "tick.CheckGone = !exists", not: "tick.CheckGone = exists && !exists"},
	{name: "a lost dispatch is scheduled anew", pkg: "shared/watch", in: "Watcher.lost", is: "tick.DispatchGone = !exists", not: "tick.DispatchGone = exists && !exists"},
	{name: "what the sweep saved it also schedules", pkg: "shared/watch", in: "sweep.rearm", is: "return found, s.w.settle(ctx, ch, \"\")", not: "return found, nil"},
	{name: "the sweep ends runs past their deadline", pkg: "shared/watch", in: "Watcher.find", is: "!c.State.Ended() && !w.now().Before(c.DeadlineAt):", not: "false:"},
	{name: "the sweep tells what it ends", pkg: "shared/watch", in: "sweep.end", is: "return found, s.w.tellEnd(ctx, ch.after, \"\")", not: "_ = ch; return found, nil"},
	{name: "the sweep tells ends", pkg: "shared/watch", in: "sweep.repair", is: "return s.tell(ctx, c)", not: "return found, nil"},
	{name: "a sweep that meets a conflict tries again", pkg: "shared/watch", in: "sweep.handle", is: "errors.Is(err, store.ErrConflict) &&", not: "false &&", test: "shared/watch TestSweepTriesAgainOnAConflict", why: "two sweeps of one run have to meet one each, which takes tens of thousands of seeds"},
	{name: "only what has ended and is old is purged", pkg: "shared/watch", in: "Watcher.find", is: "!w.cfg.Rules.ExpiresAt(c).After(before):", not: "true:"},
	{name: "the sweep purges", pkg: "shared/watch", in: "Watcher.find", is: "!w.cfg.Rules.ExpiresAt(c).After(before):", not: "false:"},
}

// nameGuards are the parts of a task's name, and the swap on version itself: in the simulation's store, without which nothing holds, and in SQLite's.
// The same suite asks it of the others.
var nameGuards = []guard{
	{name: "the name of a task has its kind", pkg: "shared/queue", in: "Task.Name", is: "t.Kind, t.CaseID,", not: "\"\", t.CaseID,"},
	{name: "the name of a task has its case", pkg: "shared/queue", in: "Task.Name", is: "t.Kind, t.CaseID,", not: "t.Kind, \"\","},
	{name: "the name of a task has its run", pkg: "shared/queue", in: "Task.Name", is: "t.Run, t.CreatedAt.UnixMicro(),", not: "0, t.CreatedAt.UnixMicro(),", test: "shared/queue TestNameDependsOnEveryPartOfTheIdentity", why: "two runs of a case are created at two times"},
	{name: "the name of a task has its run's creation", pkg: "shared/queue", in: "Task.Name", is: "t.Run, t.CreatedAt.UnixMicro(),", not: "t.Run, 0,", test: "shared/queue TestNameDependsOnEveryPartOfTheIdentity", why: "runs are kept for longer than names are taken"},
	{name: "the name of a task has its run, somehow", pkg: "shared/queue", in: "Task.Name", is: "t.Run, t.CreatedAt.UnixMicro(),", not: "0, 0,"},
	{name: "the name of a task has its number", pkg: "shared/queue", in: "Task.Name", is: "t.Seq)", not: "0)"},
	{name: "the swap on version, in a store's update", pkg: "deploy/test/sim", in: "fakeStore.Update", is: "k.rec.Version != wr.Case.Version-1:", not: "false:"},
	{name: "the swap on version, in a store's beginning", pkg: "deploy/test/sim", in: "fakeStore.Begin", is: "if ok != (b.Head.Version > 1) || ok && h.Version != b.Head.Version-1 || s.runs[key] != nil {", not: "if ok && false {"},
	{name: "the swap on version of the run before", pkg: "deploy/test/sim", in: "fakeStore.Begin", is: "old == nil || old.rec.Version != b.End.Case.Version-1", not: "old == nil"},
	{name: "the swap on version, in SQLite's update", pkg: "shared/store/sqlite", in: "newWriter", is: "WHERE case_id = ?1 AND run = ?2 AND version = ?3 - 1", not: "WHERE case_id = ?1 AND run = ?2", test: "shared/store/sqlite TestStore", why: "the simulation has a store of its own"},
	{name: "the swap on version, in SQLite's beginning", pkg: "shared/store/sqlite", in: "newWriter", is: "WHERE case_id = ?1 AND version = ?3 - 1", not: "WHERE case_id = ?1", test: "shared/store/sqlite TestStore", why: "the simulation has a store of its own"},
	{name: "the swap on version, in what SQLite keeps of earlier runs", pkg: "shared/store/sqlite", in: "newWriter", is: "data = ?2 WHERE version = ?1 - 1", not: "data = ?2 WHERE version < ?1", test: "shared/store/sqlite TestStore", why: "the simulation has a store of its own"},
	{name: "the swap on version, in SQLite's purge", pkg: "shared/store/sqlite", in: "writer.purge", is: "at != version:", not: "false:", test: "shared/store/sqlite TestStore", why: "the simulation has a store of its own"},
}
