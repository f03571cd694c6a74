package cases

import (
	"math"
	"time"
)

// Rules are the settings by which the runs of one pipeline are judged. All durations are above 0.
// What is false is as the document pipeline has it.
type Rules struct {
	PipelineTimeout  time.Duration // how long a dispatch may be in flight
	CheckMinInterval time.Duration // the shortest time between two checks
	CheckMaxInterval time.Duration // the longest
	StartGrace       time.Duration // how long an uncertain dispatch may stay unknown to the pipeline
	CompletionGrace  time.Duration // how long a result may follow completed == total
	StallAfter       time.Duration // progress that has not moved for so long is stalled
	UnreachableAfter time.Duration // failure without a break to reach the pipeline that ends a run
	Retention        time.Duration // how long an ended run is kept
	FormRetention    time.Duration // how long the form of a run that did not succeed is kept after its end
	Idempotent       bool          // the pipeline honours Idempotency-Key: an uncertain dispatch may be repeated

	PollNeedsJob   bool // the pipeline can be polled only by the job's own name
	PollsOwnRun    bool // what a poll shows is of this run, and never of an earlier one of the case
	CanCancel      bool // the pipeline can be asked to cancel a job
	CancelNeedsJob bool // but only by the job's own name
	NoProgress     bool // its answers have no progress: a run cannot stall
	// Gone says that there is no such pipeline any more: it is not polled, and the deadline ends the
	// run.
	Gone bool
}

// VerdictKind is what the rules made of an input.
type VerdictKind string

// The verdicts. Only after Applied, Filled and Late is the case another one than before.
const (
	Applied   VerdictKind = "applied"   // it counted
	Filled    VerdictKind = "filled"    // a report that agrees with the end brought the result that was missing
	Late      VerdictKind = "late"      // a report after the end, kept beside it
	Ignored   VerdictKind = "ignored"   // it tells nothing new
	Duplicate VerdictKind = "duplicate" // this very input was taken in before
	Stale     VerdictKind = "stale"     // the run is past the step it belongs to
	Rejected  VerdictKind = "rejected"  // a cancel of a run that ended otherwise, or a callback about another job
)

// Keep says where the result that came with an input belongs.
type Keep string

// The places of a result.
const (
	KeepNothing Keep = ""
	KeepResult  Keep = "result"
	KeepLate    Keep = "late"
)

// Verdict is what the rules made of an input, and what is to be done with the bytes beside the
// record.
type Verdict struct {
	Kind     VerdictKind
	Keep     Keep // where Result.Raw of the input goes
	DropForm bool // the form is to be deleted with this change
}

// Changed reports whether the case is another one than before, to be saved.
func (v Verdict) Changed() bool {
	return v.Kind == Applied || v.Kind == Filled || v.Kind == Late
}

// Apply returns the case that follows from c when in happens at now, and what was made of the
// input. It is pure: the same arguments give the same answer, and c is not changed. Jitter, from 0
// up to 1, spreads what is scheduled.
//
// A changed case is at c's version + 1. An ended case never changes its state, end or progress.
// Time does not run backwards within a run: a now before c.UpdatedAt counts as that.
func (r Rules) Apply(c Case, in Input, now time.Time, jitter float64) (Case, Verdict) {
	now = later(now, c.UpdatedAt)
	n := c
	v := r.take(&n, in, now, jitter)
	if !v.Changed() {
		return c, v
	}
	n.Version = c.Version + 1
	// A viewer's lease, and what is only noted down after the end, tell readers nothing.
	_, viewed := in.(Viewed)
	if !viewed && (!c.State.Ended() || v.Kind != Applied || n.Stop.State != c.Stop.State) {
		n.UpdatedAt = now
	}
	n.Checks.NextAt = n.Checks.NextAt.Truncate(time.Microsecond) // as precise as every store keeps it
	n.Dispatch.At = n.Dispatch.At.Truncate(time.Microsecond)
	if n.State.Ended() && !c.State.Ended() {
		n.Outcome.EndVersion = n.Version
		r.stopJob(&n, now)
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

// take changes n by an input. What it leaves when the verdict is none of a change is not used.
func (r Rules) take(n *Case, in Input, now time.Time, jitter float64) Verdict {
	if _, starts := in.(Started); starts != (n.Version == 0) {
		return Verdict{Kind: Stale}
	}
	switch in := in.(type) {
	case Started:
		return r.started(n, in, now, jitter)
	case DispatchBegun:
		return r.dispatchBegun(n, in, now)
	case DispatchOutcome:
		return r.dispatchOutcome(n, in, now, jitter)
	case CheckOutcome:
		return r.checkOutcome(n, in, now, jitter)
	case Event:
		return r.event(n, in, now)
	case Cancel:
		return n.cancel(in, now)
	case StopOutcome:
		return r.stopOutcome(n, in, now, jitter)
	case Tick:
		return r.tick(n, in, now)
	case Finalized:
		return n.finalized()
	case Viewed:
		return r.viewed(n, in, now)
	}
	return Verdict{Kind: Ignored}
}

func (r Rules) started(n *Case, in Started, now time.Time, jitter float64) Verdict {
	*n = Case{
		Origin: Origin{
			CaseID: in.CaseID, Run: in.Run, Pipeline: in.Pipeline,
			CreatedAt: now, DeadlineAt: now.Add(in.Deadline).Truncate(time.Microsecond),
			Adopted: in.Adopt, TraceParent: in.TraceParent, FormHash: in.FormHash,
		},
		State:       Pending,
		Job:         Job{ID: in.JobID, Seen: in.Adopt, MovedAt: now},
		Checks:      Checks{Seq: 1},
		Durations:   Durations{Earlier: in.Earlier},
		Bookkeeping: Bookkeeping{FormKept: true},
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
	if in.Prior != nil && in.Prior.Pipeline == in.Pipeline && !r.PollsOwnRun {
		n.Job.Baseline = in.Prior.lastShown()
	}
	return Verdict{Kind: Applied}
}

// lastShown is what the pipeline shows of a run that is over: the last reading, or what its result
// counts.
func (c Case) lastShown() *Reading {
	total := c.Outcome.Documents.total()
	switch {
	case c.Job.Reading != nil:
		return c.Job.Reading
	case total > 0:
		return &Reading{Completed: total, Total: total, Percent: -1}
	default:
		return c.Job.Baseline
	}
}

func (c *Case) cancel(in Cancel, now time.Time) Verdict {
	switch {
	case c.State == Cancelled:
		return Verdict{Kind: Duplicate}
	case c.State.Ended():
		return Verdict{Kind: Rejected}
	case in.Superseded:
		c.finish(ReasonSuperseded, "a newer run took its place", SourceCancel, now)
	default:
		c.finish(ReasonCancelled, "cancelled on request", SourceCancel, now)
	}
	return Verdict{Kind: Applied}
}

// tick takes in what the sweep found. Past its deadline a run ends, whatever was lost.
func (r Rules) tick(n *Case, in Tick, now time.Time) Verdict {
	dispatchLost := in.DispatchLost && n.Dispatch.Phase == PhaseQueued
	switch {
	case n.State.Ended():
		return n.tidy(in, now)
	case !now.Before(n.DeadlineAt):
		r.endAtDeadline(n, SourceSweep, now)
		return Verdict{Kind: Applied}
	case !in.CheckLost && !dispatchLost:
		return Verdict{Kind: Ignored}
	}
	if in.CheckLost {
		n.Checks.Seq++
		n.Checks.NextAt = now
	}
	if dispatchLost {
		n.Dispatch.Seq++
		n.Dispatch.At = now
	}
	return Verdict{Kind: Applied}
}

// tidy notes that the sweep reported the checks that polled after the end, and that the form is
// deleted. A lost request to cancel the job is made again.
func (c *Case) tidy(in Tick, now time.Time) Verdict {
	b := &c.Bookkeeping
	drop := in.FormDropped && b.FormKept
	stop := in.StopLost && c.Stop.State == StopRequested
	if b.PolledAfterEnd == 0 && !drop && !stop {
		return Verdict{Kind: Ignored}
	}
	if stop {
		c.Stop.request(now)
	}
	b.Leaked += b.PolledAfterEnd
	b.PolledAfterEnd = 0
	b.FormKept = b.FormKept && !drop
	return Verdict{Kind: Applied, DropForm: drop}
}

func (c *Case) finalized() Verdict {
	if !c.State.Ended() || c.Bookkeeping.Finalized {
		return Verdict{Kind: Ignored}
	}
	c.Bookkeeping.Finalized = true
	return Verdict{Kind: Applied}
}

func oneDecimal(f float64) float64 { return math.Round(f*10) / 10 }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
