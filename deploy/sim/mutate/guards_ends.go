package main

// checkGuards are those of the rules for what a look finds.
var checkGuards = []guard{
	{name: "the sequence number of a check", pkg: "shared/cases", in: "Rules.checkOutcome", is: "in.Seq != n.Checks.Seq", not: "false"},
	{name: "a check after the end changes nothing", pkg: "shared/cases", in: "Rules.checkOutcome", is: "if n.State.Ended() {", not: "if false {"},
	{name: "the next check has a new number", pkg: "shared/cases", in: "Rules.checkOutcome", is: "n.Checks.Seq++", not: ""},
	{name: "the deadline, in a check", pkg: "shared/cases", in: "Rules.checkOutcome", is: "!now.Before(n.DeadlineAt):", not: "false:"},
	{name: "nothing is believed before it was sent", pkg: "shared/cases", in: "Rules.checkOutcome", is: "case n.Dispatch.Phase == PhaseQueued && n.Dispatch.Attempts == 0:", not: "case false:"},
	{name: "nothing is asked before it was sent", pkg: "shared/cases", in: "Rules.Asks", is: "c.Dispatch.Phase == PhaseQueued && c.Dispatch.Attempts == 0:", not: "false:"},
	{name: "an open dispatch is not ended as unknown", pkg: "shared/cases", in: "Rules.unknown", is: "d.Phase == PhaseOpen ||", not: ""},
	{name: "an open dispatch is not ended as unreachable", pkg: "shared/cases", in: "Rules.unable", is: "n.Dispatch.Phase == PhaseOpen ||", not: ""},
	{name: "an open dispatch is not ended as complete", pkg: "shared/cases", in: "Rules.observe", is: "n.Dispatch.Phase == PhaseOpen:", not: "false:"},
	{name: "an open dispatch is not ended by a reading", pkg: "shared/cases", in: "Rules.reading", is: "final && n.Dispatch.Phase != PhaseOpen", not: "final"},
	{name: "an uncertain start is given its grace", pkg: "shared/cases", in: "Rules.unknown", is: "|| since < r.StartGrace:", not: ":"},
	{name: "a job that is unknown is given its grace", pkg: "shared/cases", in: "Rules.unknown", is: "n.Known && since >= r.UnreachableAfter:", not: "n.Known:"},
	{name: "a pipeline that cannot be asked is given its grace", pkg: "shared/cases", in: "Rules.unable", is: "now.Sub(later(ch.Since, n.Dispatch.ClosedAt)) >= r.UnreachableAfter", not: "ch.Unbroken > 1"},
	{name: "a result is waited for when all is counted", pkg: "shared/cases", in: "Rules.checkOutcome", is: "r.graceOver(n.CompleteSince, now):", not: "!n.CompleteSince.IsZero():"},
	{name: "completed does not go backwards", pkg: "shared/cases", in: "Rules.observe", is: "in.Completed < old.Completed", not: "false"},
	{name: "percent does not go backwards", pkg: "shared/cases", in: "Rules.observe", is: "max(old.Percent, min(oneDecimal(min(p.Percent, 100)), mostPercent))", not: "min(oneDecimal(min(p.Percent, 100)), mostPercent)"},
	{name: "what the run before left is no news", pkg: "shared/cases", in: "Case.isNews", is: "if b == nil {", not: "if true {"},
}

// endGuards are those of the rules for how a run ends, and what may follow.
var endGuards = []guard{
	{name: "an end is final for the pipeline's word", pkg: "shared/cases", in: "Rules.word", is: "!n.State.Ended():", not: "n.Version > 0:"},
	{name: "a result is not swapped", pkg: "shared/cases", in: "Rules.word", is: "!n.HasResult &&", not: ""},
	{name: "only a result that agrees fills in", pkg: "shared/cases", in: "Rules.word", is: "case state == n.State &&", not: "case"},
	{name: "an unsure word fills nothing in", pkg: "shared/cases", in: "Rules.word", is: "!w.unsure &&", not: ""},
	{name: "an unsure word ends nothing", pkg: "shared/cases", in: "Rules.event", is: "in.Unsure && !n.State.Ended()", not: "false", test: "shared/cases TestUnsureWordEndsNothing", why: "a word is unsure only of a run that has ended"},
	{name: "a word is taken in once", pkg: "shared/cases", in: "Rules.word", is: "slices.Contains(n.Words, w.id)", not: "false"},
	{name: "a late word is kept", pkg: "shared/cases", in: "Rules.word", is: "n.Late = &late", not: ""},
	{name: "the first late word is kept", pkg: "shared/cases", in: "Rules.word", is: "late = *n.Late", not: "late.Count = n.Late.Count"},
	{name: "the first late result is kept", pkg: "shared/cases", in: "Rules.word", is: "!late.HasResult && late.State == state", not: "late.State == state"},
	{name: "an end is final for a late running event", pkg: "shared/cases", in: "Rules.event", is: "default: if n.State.Ended() {", not: "default: if false {"},
	{name: "an event without a result waits for the answer", pkg: "shared/cases", in: "Rules.event", is: "in.Result == nil && n.Dispatch.Phase == PhaseOpen", not: "false"},
	{name: "a run that works is not sent", pkg: "shared/cases", in: "Rules.runningEvent", is: "if d.Phase == PhaseQueued {", not: "if false {"},
	{name: "an end has no next check", pkg: "shared/cases", in: "Case.finish", is: "c.Checks.NextAt = time.Time{}", not: ""},
}
