package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/events"
	"github.com/casewatch/casewatch/shared/reconcile"
)

const (
	callSend = "pipeline: send"
	callPoll = "pipeline: look"
	callStop = "pipeline: cancel"
	callTell = "topic: ended"
)

// fakePipeline is the document pipeline together with its client. It does not know runs.
type fakePipeline struct {
	w     *world
	plans map[string][]Work
	taken map[string]int // how many requests of a case it took
	asked map[string]int // how many it did not, of the next
	jobs  map[string]*job
	keys  map[runKey]*job // by Idempotency-Key
	words int
	// toCome counts events that are still to be published or taken.
	toCome int
}

func newPipeline(w *world) *fakePipeline {
	p := &fakePipeline{
		w:     w,
		plans: map[string][]Work{},
		taken: map[string]int{},
		asked: map[string]int{},
		jobs:  map[string]*job{},
		keys:  map[runKey]*job{},
	}
	for _, c := range w.plan.Cases {
		p.plans[c.ID] = c.Work
	}
	return p
}

// Dispatch implements reconcile.Pipeline.
func (p *fakePipeline) Dispatch(ctx context.Context, j reconcile.Job) cases.DispatchOutcome {
	w := p.w
	key := runKey{j.CaseID, j.Run}
	inv := invocationOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, w.plan.Rules.PipelineTimeout)
	defer cancel()
	var out cases.DispatchOutcome
	var takes time.Duration
	c := &call{inv: inv, what: callSend, about: key}
	c.effect = func() (any, error) {
		before := p.keys[key]
		out, takes = p.take(key, inv.rnd)
		if p.keys[key] != nil && w.plan.Rules.PollNeedsJob && out.Kind != cases.DispatchUncertain {
			out.JobID = jobID(key)
		}
		lied := out.Kind == cases.DispatchBusy && p.keys[key] != before
		started := out.Kind != cases.DispatchUnreachable && out.Kind != cases.DispatchBusy
		return Sent{
			Started:    started,
			Lied:       lied,
			SaysFailed: out.SaysFailed,
			Form:       string(j.Form),
			Outcome:    out.Kind,
			Idempotent: w.plan.Rules.Idempotent,
		}, nil
	}
	c.wait = func(c *call, _ error) {
		if takes >= 0 {
			takes += inv.rnd.latency(0)
			w.after(takes, func() { w.note(inv, "answered by the pipeline", nil, Answered{out.Kind, out.SaysFailed}) })
			w.reply(c, nil, takes)
		}
	}
	if err := c.do(ctx, w); err != nil {
		return cases.DispatchOutcome{Kind: cases.DispatchUncertain, Message: "no answer to the request"}
	}
	return out
}

// take accepts a request. It returns the answer and its delay; a delay below 0 means no answer.
func (p *fakePipeline) take(key runKey, rnd chooser) (cases.DispatchOutcome, time.Duration) {
	w := p.w
	soon := 20 * time.Millisecond
	switch {
	case w.broken(Refuses):
		return cases.DispatchOutcome{Kind: cases.DispatchUnreachable, Message: "connection refused"}, soon
	case w.broken(Busy):
		return p.tooBusy(key, rnd.chance(0.3)), soon
	case w.broken(PutsOff):
		out := p.tooBusy(key, rnd.chance(0.3))
		out.RetryAfter = rnd.between(time.Second, 2*time.Minute)
		return out, soon
	case w.broken(Errs):
		return cases.DispatchOutcome{Kind: cases.DispatchUncertain, Message: "500"}, soon
	case w.broken(Hangs):
		return cases.DispatchOutcome{Kind: cases.DispatchUncertain}, -1
	}
	if j := p.keys[key]; j != nil && w.plan.Rules.Idempotent {
		return cases.DispatchOutcome{Kind: cases.DispatchAccepted}, soon
	}
	works := p.plans[key.id]
	work := works[min(p.taken[key.id], len(works)-1)]
	if n := p.asked[key.id]; n < len(work.Before) {
		p.asked[key.id]++
		switch work.Before[n] {
		case NotStartedAway:
			return cases.DispatchOutcome{Kind: cases.DispatchUnreachable, Message: "connection refused"}, soon
		case NotStartedLater:
			return cases.DispatchOutcome{Kind: cases.DispatchBusy, RetryAfter: 7 * time.Second, Message: "503"}, soon
		}
		return p.tooBusy(key, work.Before[n] == NotStartedFails), soon
	}
	p.taken[key.id]++
	p.asked[key.id] = 0
	j := &job{key: key, work: work, started: w.now()}
	switch work.Answer {
	case AnswerRefused:
		return cases.DispatchOutcome{Kind: cases.DispatchRefused, Message: "422"}, soon
	case AnswerFailed:
		r := p.word(key, "failed")
		return cases.DispatchOutcome{Kind: cases.DispatchFailed, Message: "no", Result: r}, soon
	}
	if work.Works || work.Answer == AnswerResult || work.Answer == AnswerAccepted || work.Answer == AnswerGarbled ||
		work.Answer == AnswerLie ||
		work.Answer == AnswerGivesUp {
		p.begin(j)
	}
	switch work.Answer {
	case AnswerAccepted:
		return cases.DispatchOutcome{Kind: cases.DispatchAccepted}, soon
	case AnswerResult:
		return p.answer(j)
	case AnswerGarbled:
		return cases.DispatchOutcome{Kind: cases.DispatchUncertain, Message: "200, and no JSON"}, work.Duration()
	case AnswerLie:
		return p.tooBusy(key, false), work.Cut
	case AnswerGivesUp:
		w.after(work.Cut, func() { j.dead, j.lost = true, true })
		return p.tooBusy(key, true), work.Cut
	case AnswerHang:
		return cases.DispatchOutcome{Kind: cases.DispatchUncertain}, -1
	}
	return cases.DispatchOutcome{Kind: cases.DispatchUncertain, Message: work.Answer}, work.Cut
}

// tooBusy returns an answer of 429. Its body may say that the run failed.
func (p *fakePipeline) tooBusy(key runKey, saysFailed bool) cases.DispatchOutcome {
	out := cases.DispatchOutcome{Kind: cases.DispatchBusy, SaysFailed: saysFailed, Message: "429"}
	if saysFailed {
		out.Result = p.word(key, "failed")
	}
	return out
}

// answer returns the result when the work is done. If the process dies before, the connection
// breaks.
func (p *fakePipeline) answer(j *job) (cases.DispatchOutcome, time.Duration) {
	took := j.work.Duration()
	for _, x := range p.w.plan.Windows {
		if x.Kind == PipelineStops && x.From > j.started && x.From < j.end() {
			return cases.DispatchOutcome{Kind: cases.DispatchUncertain, Message: "connection reset"}, x.From - j.started
		}
	}
	switch j.work.Outcome {
	case OutcomeNowhere:
		return cases.DispatchOutcome{Kind: cases.DispatchUncertain}, -1
	case OutcomeFailure:
		r := p.word(j.key, "failed")
		return cases.DispatchOutcome{Kind: cases.DispatchFailed, Message: "no", Result: r}, took
	}
	r := p.word(j.key, j.work.Outcome)
	return cases.DispatchOutcome{Kind: cases.DispatchSucceeded, Result: r}, took
}

// Poll implements reconcile.Pipeline.
func (p *fakePipeline) Poll(ctx context.Context, asked reconcile.Job) cases.CheckOutcome {
	w := p.w
	inv := invocationOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, w.plan.CheckTimeout)
	defer cancel()
	var out cases.CheckOutcome
	var of runKey
	by, _ := ctx.Deadline()
	c := &call{inv: inv, what: callPoll, about: inv.about}
	c.effect = func() (any, error) {
		out, of = p.poll(asked, inv.rnd)
		return Looked{Outcome: out, Of: of}, nil
	}
	c.wait = func(c *call, _ error) {
		if w.broken(Hangs) {
			return
		}
		back := inv.rnd.latency(w.plan.Slow)
		if time.Now().Add(back).Before(by) {
			w.after(back, func() { w.note(inv, "polled", nil, Polled{Outcome: out, Of: of}) })
		}
		w.reply(c, nil, back)
	}
	if err := c.do(ctx, w); err != nil {
		return cases.CheckOutcome{Kind: cases.CheckFailed, Message: "no answer"}
	}
	return out
}

// look returns the progress of a case, and the run that it belongs to.
func (p *fakePipeline) poll(asked reconcile.Job, rnd chooser) (cases.CheckOutcome, runKey) {
	w := p.w
	switch {
	case w.broken(Refuses, Errs):
		return cases.CheckOutcome{Kind: cases.CheckFailed, Message: "refused"}, runKey{}
	case w.broken(Busy):
		return cases.CheckOutcome{Kind: cases.CheckBusy, Message: "429"}, runKey{}
	case w.broken(PutsOff):
		return cases.CheckOutcome{
			Kind:       cases.CheckBusy,
			RetryAfter: rnd.between(time.Second, 4*time.Minute),
			Message:    "503",
		}, runKey{}
	}
	j := p.jobs[asked.CaseID]
	if w.plan.Rules.PollsOwnRun && (j == nil || !j.adopted) {
		j = p.keys[runKey{asked.CaseID, asked.Run}]
	}
	if j == nil || j.lost {
		return cases.CheckOutcome{Kind: cases.CheckUnknown}, runKey{}
	}
	out := cases.CheckOutcome{Kind: cases.CheckReading, Reading: j.reading(w.now())}
	if j.work.Says {
		out.Reading.Status = "running"
		if done := w.now() >= j.end() && j.work.Outcome != OutcomeNowhere; done {
			out.Reading.Status = "succeeded"
			if j.work.Outcome == OutcomeFailure {
				out.Reading.Status, out.Message = "failed", "no"
			}
		}
	}
	if out.Reading.Total == 0 && out.Reading.Status == "" {
		return cases.CheckOutcome{Kind: cases.CheckUnknown}, runKey{}
	}
	return out, j.key
}

// jobID is the pipeline's own name of the job that it works on for a run.
func jobID(key runKey) string { return fmt.Sprintf("job-%s-%d", key.id, key.run) }

// Cancel implements reconcile.Pipeline.
func (p *fakePipeline) Cancel(ctx context.Context, asked reconcile.Job) cases.CancelOutcome {
	w, inv := p.w, invocationOf(ctx)
	key := runKey{asked.CaseID, asked.Run}
	ctx, cancel := context.WithTimeout(ctx, w.plan.CheckTimeout)
	defer cancel()
	out := cases.CancelOutcome{Kind: cases.CancelConfirmed}
	c := &call{inv: inv, what: callStop, about: key}
	c.effect = func() (any, error) {
		switch {
		case w.broken(Refuses, Errs, Busy):
			out = cases.CancelOutcome{Kind: cases.CancelAgain, Message: "500"}
		case w.broken(PutsOff):
			out = cases.CancelOutcome{Kind: cases.CancelAgain, RetryAfter: inv.rnd.between(time.Second, time.Minute)}
		case inv.rnd.chance(0.1):
			out = cases.CancelOutcome{Kind: cases.CancelFailed, Message: "405"}
		case w.plan.Rules.CancelNeedsJob && asked.ID != jobID(key):
			return Broken{"it is asked to cancel " + asked.ID}, nil
		default:
			if j := p.keys[key]; j != nil {
				j.dead, j.lost = true, true
			}
		}
		return nil, nil
	}
	c.wait = func(c *call, _ error) {
		if !w.broken(Hangs) {
			w.reply(c, nil, inv.rnd.latency(w.plan.Slow))
		}
	}
	if err := c.do(ctx, w); err != nil {
		return cases.CancelOutcome{Kind: cases.CancelAgain, Message: "no answer"}
	}
	return out
}

// ReadCallback implements reconcile.Pipeline. The report is an event, which names its job.
func (p *fakePipeline) ReadCallback(_ string, _ map[string][]string, body []byte) (reconcile.Callback, error) {
	in, err := events.Decode(body)
	if err != nil {
		return reconcile.Callback{}, err
	}
	out := reconcile.Callback{
		Reading: cases.Reading{Percent: -1, Status: in.Status}, Message: in.Message,
		Result: in.Result, Dropped: in.Dropped,
	}
	if in.Progress != nil {
		out.Reading = *in.Progress
		out.Reading.Status = in.Status
	}
	if in.Run > 0 {
		out.JobID = jobID(runKey{in.CaseID, in.Run})
	}
	return out, nil
}
