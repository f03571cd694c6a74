package sim

import (
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// chooser draws what a plan says.
type chooser struct{ *rand.Rand }

// between draws a duration, each order of magnitude as likely as the next, and no two alike.
func (c chooser) between(least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	f := float64(least+time.Millisecond) * math.Pow(float64(most)/float64(least+time.Millisecond), c.Float64())
	return min(max(time.Duration(f), least), most) + time.Duration(c.IntN(1000))
}

// evenly draws a duration, all as likely.
func (c chooser) evenly(least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return least + time.Duration(c.Int64N(int64(most-least)))
}

// stream returns the random numbers of one thing in a run: the same whatever else happens there.
func stream(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

func (c chooser) chance(p float64) bool { return c.Float64() < p }

func one[T any](c chooser, of ...T) T { return of[c.IntN(len(of))] }

// Generate makes the plan of a seed. The same seed makes the same plan.
func Generate(seed uint64) Plan {
	c := chooser{rand.New(rand.NewPCG(seed, 0x5eed))}
	p := Plan{
		Seed:         seed,
		Rules:        defaultRules,
		Deadline:     time.Hour,
		CheckTimeout: 10 * time.Second,
		SweepEvery:   2 * time.Minute,
	}
	if c.chance(0.7) {
		c.shorten(&p)
	}
	p.Rules.Idempotent = c.chance(0.25)
	p.Encoded = c.chance(0.1)
	p.Later = c.chance(0.1)
	p.Tombstone = one(c, 24*time.Hour, 24*time.Hour, time.Hour, time.Minute, 0)
	for range 1 + c.IntN(4) {
		p.Skews = append(p.Skews, c.evenly(-2400*time.Millisecond, 2400*time.Millisecond))
	}
	p.Until = p.Deadline + c.between(time.Minute, 2*p.Deadline)
	if c.chance(0.85) {
		p.Rate = one(c, 0, 0.002, 0.01, 0.01, 0.05, 0.15)
		p.Slow = one(c, 0, 0.01, 0.05)
		p.Again = one(c, 0, 0.02, 0.2)
		p.Lost = one(c, 0, 0.3, 1)
		c.windows(&p)
	}
	for i := range 1 + c.IntN(4) {
		p.Cases = append(p.Cases, c.casePlan(fmt.Sprintf("c%d", i+1), &p))
	}
	c.described(&p)
	return p
}

// described makes some plans those of other pipelines than the document pipeline: of one that is asked
// by the run, or that names its jobs. Both can cancel a job. The documents of others are followed as
// they were.
func (c chooser) described(p *Plan) {
	r := &p.Rules
	switch c.IntN(4) {
	case 0:
		r.PollsOwnRun, r.CanCancel = true, true
	case 1:
		r.PollsOwnRun, r.CanCancel, r.PollNeedsJob, r.CancelNeedsJob = true, true, true, true
	default:
		return
	}
	p.Callbacks = c.chance(0.7)
	for i := range p.Cases {
		for n := range p.Cases[i].Actions {
			p.Cases[i].Actions[n].Adopt = false
		}
	}
}

var defaultRules = cases.Rules{
	PipelineTimeout:  29*time.Minute + 30*time.Second,
	CheckMinInterval: 2 * time.Second,
	CheckMaxInterval: 30 * time.Second,
	StartGrace:       2 * time.Minute,
	CompletionGrace:  30 * time.Second,
	StallAfter:       5 * time.Minute,
	UnreachableAfter: 10 * time.Minute,
	Retention:        720 * time.Hour,
	FormRetention:    24 * time.Hour,
}

// shorten makes settings of its own: everything is decided within minutes, and in other orders than
// by default.
func (c chooser) shorten(p *Plan) {
	r := &p.Rules
	p.Deadline = c.between(time.Minute, 20*time.Minute)
	r.PipelineTimeout = c.between(20*time.Second, 10*time.Minute)
	r.CheckMinInterval = one(c, time.Second, 2*time.Second, 5*time.Second)
	r.CheckMaxInterval = max(r.CheckMinInterval, one(c, 10*time.Second, 30*time.Second))
	r.StartGrace = c.between(5*time.Second, 3*time.Minute)
	r.CompletionGrace = c.between(5*time.Second, 2*time.Minute)
	r.StallAfter = c.between(20*time.Second, 5*time.Minute)
	r.UnreachableAfter = c.between(20*time.Second, 10*time.Minute)
	if c.chance(0.2) {
		r.FormRetention = c.between(time.Minute, 20*time.Minute)
	}
	p.CheckTimeout = one(c, 3*time.Second, 10*time.Second)
}

func (c chooser) windows(p *Plan) {
	kinds := []string{
		StoreDown,
		QueueDown,
		TopicDown,
		TasksPaused,
		ChecksPaused,
		TasksPurged,
		TasksPurged,
		SweepsLost,
		EventsHeld,
		Conflicts,
		Crash,
		Crash,
		Refuses,
		Errs,
		Hangs,
		Busy,
		PutsOff,
		PipelineStops,
	}
	for range c.IntN(6) {
		w := Window{Kind: kinds[c.IntN(len(kinds))], From: c.evenly(0, p.Until)}
		longest := 3 * time.Minute
		if w.Kind == TasksPaused || w.Kind == SweepsLost || w.Kind == ChecksPaused || w.Kind == Refuses ||
			w.Kind == Hangs ||
			w.Kind == Busy {
			longest = time.Hour
		}
		w.To = min(w.From+c.between(time.Second, longest), p.Until)
		w.Instance = c.IntN(len(p.Skews))
		p.Windows = append(p.Windows, w)
	}
}

func (c chooser) casePlan(id string, p *Plan) CasePlan {
	cp := CasePlan{ID: id}
	first := Action{
		At:    c.between(time.Second, p.Until/4),
		Do:    "start",
		Tries: 1 + c.IntN(8),
		Adopt: c.chance(0.05),
		Again: one(c, 0, 0, 0, 1, 3),
	}
	if c.chance(0.4) {
		first.Key = "k0"
	}
	if c.chance(0.3) {
		first.Deadline = c.between(20*time.Second, 2*p.Deadline)
	}
	cp.Actions = append(cp.Actions, first)
	for i := range one(c, 0, 0, 0, 1, 2, 4) {
		a := Action{
			At:    first.At + c.between(time.Second, p.Until-first.At),
			Do:    one(c, "start", "start", "cancel", "cancel", "rerun"),
			Tries: 1 + c.IntN(8),
			Again: one(c, 0, 0, 1, 2),
		}
		if a.Do == "start" {
			a.Supersede = c.chance(0.6)
			if c.chance(0.5) {
				a.Key = one(c, "k0", fmt.Sprintf("k%d", i+1))
				a.Other = c.chance(0.1)
			}
			if c.chance(0.2) {
				a.Deadline = c.between(20*time.Second, 2*p.Deadline)
			}
		}
		if a.Do != "start" && c.chance(0.2) {
			a.Run = 1 + c.IntN(2)
		}
		cp.Actions = append(cp.Actions, a)
	}
	for range 1 + c.IntN(3) {
		cp.Work = append(cp.Work, c.work(p))
	}
	if c.chance(0.4) {
		cp.Readers = append(
			cp.Readers,
			Reader{
				From:  first.At,
				To:    first.At + p.Deadline + time.Minute,
				Every: c.between(2*time.Second, time.Minute),
			},
		)
	}
	if c.chance(0.15) {
		cp.Readers = append(cp.Readers, Reader{From: first.At, To: first.At + p.Deadline/2, Follow: true})
	}
	for range one(c, 0, 0, 1, 3) { // who comes, and goes again
		from := first.At + c.between(time.Second, p.Deadline)
		cp.Readers = append(
			cp.Readers,
			Reader{From: from, To: from + c.between(time.Second, 3*time.Minute), Follow: true},
		)
	}
	slices.SortStableFunc(cp.Actions, func(a, b Action) int { return int(a.At - b.At) })
	return cp
}

func (c chooser) work(p *Plan) Work {
	w := Work{
		Answer: one(
			c,
			AnswerResult,
			AnswerResult,
			AnswerResult,
			AnswerAccepted,
			AnswerAccepted,
			AnswerAccepted,
			AnswerCut,
			AnswerCut,
			AnswerBroken,
			AnswerRefused,
			AnswerFailed,
			AnswerHang,
			AnswerGarbled,
			AnswerLie,
			AnswerGivesUp,
		),
		Works:   c.chance(0.7),
		Cut:     c.between(10*time.Millisecond, 2*time.Minute),
		Total:   1 + c.IntN(30),
		Outcome: one(c, OutcomeSuccess, OutcomeSuccess, OutcomeSuccess, OutcomeFailure, OutcomeNothing, OutcomeNowhere),
		Says:    c.chance(0.3),
	}
	longest := p.Deadline * 2 / 3
	if c.chance(0.15) {
		longest = 2 * p.Deadline // it ends after the deadline
	}
	took := c.between(time.Second, longest)
	w.Each = took / time.Duration(w.Total)
	if c.chance(0.3) {
		for range 1 + c.IntN(5) {
			w.Before = append(w.Before, one(c, NotStartedBusy, NotStartedFails, NotStartedLater, NotStartedAway))
		}
	}
	if c.chance(0.2) {
		w.Stop = max(1, w.Total-1-c.IntN(3))
	}
	w.Grows = c.chance(0.15)
	w.Counts = one(c, "", "", "", "", "", CountsNone, CountsAll)
	if c.chance(0.1) {
		w.Back = c.evenly(0, took)
	}
	if c.chance(0.1) {
		w.Forgets = c.evenly(0, took)
	}
	if c.chance(0.3) {
		w.Events = append(
			w.Events,
			Word{
				Status:   "running",
				After:    -c.evenly(0, took),
				Progress: c.chance(0.7),
				NoRun:    c.chance(0.3),
				Delay:    c.between(5*time.Millisecond, 3*time.Minute),
				Copies:   one(c, 0, 0, 1, 20),
			},
		)
	}
	if w.Outcome != OutcomeNowhere && c.chance(0.65) {
		status := "succeeded"
		if w.Outcome == OutcomeFailure {
			status = "failed"
		}
		e := Word{
			Status:   status,
			After:    c.between(0, 20*time.Second),
			NoRun:    c.chance(0.3),
			Result:   c.chance(0.6),
			Progress: c.chance(0.3),
			Delay:    c.between(5*time.Millisecond, time.Minute),
		}
		if c.chance(0.15) {
			e.Copies = 1 + c.IntN(2)
		}
		e.Lost = c.chance(p.Lost)
		w.Events = append(w.Events, e)
		if c.chance(0.1) { // and then says otherwise
			e.Status = one(c, "succeeded", "failed", "running")
			e.After += c.between(time.Second, p.Deadline)
			w.Events = append(w.Events, e)
		}
	}
	return w
}
