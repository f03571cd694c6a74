package cases

import "time"

// Rules are the settings by which runs are judged. All are above 0.
type Rules struct {
	PipelineTimeout  time.Duration // how long a dispatch may be open
	CheckMinInterval time.Duration // between two looks, at least
	CheckMaxInterval time.Duration // and at most
	StartGrace       time.Duration // how long an uncertain dispatch may stay unknown to the pipeline
	CompletionGrace  time.Duration // how long a result may follow completed == total
	StallAfter       time.Duration // progress that has not moved for so long is stalled
	UnreachableAfter time.Duration // unbroken failure to reach the pipeline that ends a run
	Retention        time.Duration // how long an ended run is kept
	FormRetention    time.Duration // how long the form of a run that did not succeed is kept after its end
	Idempotent       bool          // the pipeline honours Idempotency-Key: an uncertain dispatch may be repeated
}

// VerdictKind is what the rules made of an input.
type VerdictKind string

// The verdicts. Only after Applied, Filled and LateWord is the case another one than before.
const (
	Applied   VerdictKind = "applied"   // it counted
	Filled    VerdictKind = "filled"    // a word that agrees with the end brought the result that was missing
	Late      VerdictKind = "late"      // a word after the end, kept beside it
	Ignored   VerdictKind = "ignored"   // it is no news
	Duplicate VerdictKind = "duplicate" // this very input was taken in before
	Stale     VerdictKind = "stale"     // the run is past the step it belongs to
	Rejected  VerdictKind = "rejected"  // a cancel of a run that ended otherwise
)

// Keep says where the result that came with an input belongs.
type Keep string

// The places of a result.
const (
	KeepNothing Keep = ""
	KeepResult  Keep = "result"
	KeepLate    Keep = "late"
)

// Verdict is what the rules made of an input, and what is to be done with the bytes beside the record.
type Verdict struct {
	Kind     VerdictKind
	Keep     Keep // where Result.Raw of the input goes
	DropForm bool // the form is to be deleted with this change
}

// Changed reports whether the case is another one than before, to be saved.
func (v Verdict) Changed() bool {
	return v.Kind == Applied || v.Kind == Filled || v.Kind == Late
}

// Apply returns the case that follows from c when in happens at now, and what was made of the input. It is pure: the
// same arguments give the same answer, and c is not changed. Jitter, from 0 up to 1, spreads what is scheduled.
//
// A changed case is at c's version + 1. An ended case never changes its state, end or progress. Time does not run
// backwards within a run: a now before c.UpdatedAt counts as that.
func (r Rules) Apply(c Case, in Input, now time.Time, jitter float64) (Case, Verdict) {
	if now.Before(c.UpdatedAt) {
		now = c.UpdatedAt
	}
	n := c
	var v Verdict
	if _, starts := in.(Started); starts != (c.Version == 0) {
		return c, Verdict{Kind: Stale}
	}
	switch in := in.(type) {
	case Started:
		v = r.started(&n, in, now, jitter)
	case DispatchBegun:
		v = r.dispatchBegun(&n, in, now)
	case DispatchOutcome:
		v = r.dispatchOutcome(&n, in, now, jitter)
	case CheckOutcome:
		v = r.checkOutcome(&n, in, now, jitter)
	case Event:
		v = r.event(&n, in, now)
	case Cancel:
		v = r.cancel(&n, in, now)
	case Tick:
		v = r.tick(&n, in, now)
	case Finalized:
		v = r.finalized(&n)
	case Viewed:
		v = r.viewed(&n, in, now)
	}
	if !v.Changed() {
		return c, v
	}
	n.Version = c.Version + 1
	_, watched := in.(Viewed)
	if !watched && (!c.State.Ended() || v.Kind != Applied) { // who watches, and what is only noted down after the end, is no news to readers
		n.UpdatedAt = now
	}
	n.Checks.NextAt = n.Checks.NextAt.Truncate(time.Microsecond) // as precise as every store keeps it
	n.Dispatch.At = n.Dispatch.At.Truncate(time.Microsecond)
	if n.State.Ended() && !c.State.Ended() {
		n.Outcome.EndVersion = n.Version
		if n.State == Succeeded {
			n.Job.Progress = n.wholeProgress()
			n.Bookkeeping.FormKept, v.DropForm = false, n.Bookkeeping.FormKept
		}
	}
	n.show(c, now)
	n.record(c, in, v, now)
	n.Bookkeeping.OverdueAt = r.overdueAt(n)
	return n, v
}

func (r Rules) started(n *Case, in Started, now time.Time, jitter float64) Verdict {
	*n = Case{
		Origin:      Origin{CaseID: in.CaseID, Run: in.Run, CreatedAt: now, DeadlineAt: now.Add(in.Deadline).Truncate(time.Microsecond), Adopted: in.Adopt, TraceParent: in.TraceParent, FormHash: in.FormHash},
		State:       Pending,
		Job:         Job{MovedAt: now, Seen: in.Adopt},
		Bookkeeping: Bookkeeping{FormKept: true},
		Checks:      Checks{Seq: 1},
		Durations:   Durations{Earlier: in.Earlier},
	}
	first := r.CheckMinInterval // when nothing is known
	if in.Earlier != nil {
		first = r.forecast(*n, now).Wait(r.interval(), jitter)
	}
	n.Checks.NextAt = earlier(now.Add(first), n.DeadlineAt)
	if in.Prior != nil {
		n.PriorUnreported = in.Prior.PriorUnreported || !in.Prior.Outcome.Reported
	}
	if in.Adopt {
		return Verdict{Kind: Applied} // what the pipeline shows is this very work
	}
	n.Dispatch = Dispatch{Phase: PhaseQueued, Seq: 1, At: now}
	if in.Prior != nil {
		n.Job.Baseline = in.Prior.lastShown()
	}
	return Verdict{Kind: Applied}
}

// lastShown is what the pipeline shows of a run that is over: the last reading, or what its result counts.
func (c Case) lastShown() *Reading {
	switch {
	case c.Job.Reading != nil:
		return c.Job.Reading
	case c.Outcome.Documents.total() > 0:
		return &Reading{Completed: c.Outcome.Documents.total(), Total: c.Outcome.Documents.total(), Percent: -1}
	default:
		return c.Job.Baseline
	}
}

func (r Rules) cancel(n *Case, in Cancel, now time.Time) Verdict {
	switch {
	case n.State == Cancelled:
		return Verdict{Kind: Duplicate}
	case n.State.Ended():
		return Verdict{Kind: Rejected}
	case in.Superseded:
		n.finish(Cancelled, ReasonSuperseded, "a newer run took its place", SourceCancel, now)
	default:
		n.finish(Cancelled, ReasonCancelled, "cancelled on request", SourceCancel, now)
	}
	return Verdict{Kind: Applied}
}

func (r Rules) tick(n *Case, in Tick, now time.Time) Verdict {
	if n.State.Ended() {
		drop := in.FormDropped && n.Bookkeeping.FormKept
		if n.Bookkeeping.PolledAfterEnd == 0 && !drop {
			return Verdict{Kind: Ignored}
		}
		n.Bookkeeping.Leaked += n.Bookkeeping.PolledAfterEnd
		n.Bookkeeping.PolledAfterEnd = 0
		n.Bookkeeping.FormKept = n.Bookkeeping.FormKept && !drop
		return Verdict{Kind: Applied, DropForm: drop}
	}
	switch {
	case !now.Before(n.DeadlineAt):
		r.endAtDeadline(n, SourceSweep, now)
		return Verdict{Kind: Applied}
	case !in.CheckLost && (!in.DispatchLost || n.Dispatch.Phase != PhaseQueued):
		return Verdict{Kind: Ignored}
	}
	if in.CheckLost {
		n.Checks.Seq++
		n.Checks.NextAt = now
	}
	if in.DispatchLost && n.Dispatch.Phase == PhaseQueued {
		n.Dispatch.Seq++
		n.Dispatch.At = now
	}
	return Verdict{Kind: Applied}
}

func (r Rules) finalized(n *Case) Verdict {
	if !n.State.Ended() || n.Bookkeeping.Finalized {
		return Verdict{Kind: Ignored}
	}
	n.Bookkeeping.Finalized = true
	return Verdict{Kind: Applied}
}
