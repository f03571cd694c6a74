package reconciletest

import (
	"context"
	"slices"
	"sync"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// Pipeline answers as it is told, and keeps what it was asked. The zero Pipeline accepts every run and
// shows progress of 1 of 4. It is safe for concurrent use.
type Pipeline struct {
	mu         sync.Mutex
	onDispatch func(context.Context, reconcile.Job) cases.DispatchOutcome
	onPoll     func(caseID string) cases.CheckOutcome
	onCancel   func(reconcile.Job) cases.CancelOutcome
	onCallback func(pipeline string, header map[string][]string, body []byte) (reconcile.Callback, error)
	jobs       []reconcile.Job
	stopped    []reconcile.Job
	polls      int
}

// OnCancel sets how a request to cancel a job is answered; nil for confirmed.
func (p *Pipeline) OnCancel(answer func(reconcile.Job) cases.CancelOutcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onCancel = answer
}

// OnCallback sets how a callback is read; nil for an event.
func (p *Pipeline) OnCallback(
	read func(pipeline string, header map[string][]string, body []byte) (reconcile.Callback, error),
) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onCallback = read
}

// Stopped returns the runs whose jobs were to be cancelled, in order.
func (p *Pipeline) Stopped() []reconcile.Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.stopped)
}

// Cancel implements [reconcile.Pipeline].
func (p *Pipeline) Cancel(_ context.Context, job reconcile.Job) cases.CancelOutcome {
	p.mu.Lock()
	p.stopped = append(p.stopped, job)
	answer := p.onCancel
	p.mu.Unlock()
	if answer == nil {
		return cases.CancelOutcome{Kind: cases.CancelConfirmed}
	}
	return answer(job)
}

// ReadCallback implements [reconcile.Pipeline].
func (p *Pipeline) ReadCallback(
	pipeline string, header map[string][]string, body []byte,
) (reconcile.Callback, error) {
	p.mu.Lock()
	read := p.onCallback
	p.mu.Unlock()
	if read == nil {
		return reconcile.Callback{Event: true}, nil
	}
	return read(pipeline, header, body)
}

// OnDispatch sets how a dispatch is answered; nil for accepted.
func (p *Pipeline) OnDispatch(answer func(context.Context, reconcile.Job) cases.DispatchOutcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onDispatch = answer
}

// OnPoll sets how a poll is answered; nil for 1 of 4.
func (p *Pipeline) OnPoll(answer func(caseID string) cases.CheckOutcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onPoll = answer
}

// AnswerDispatch makes every dispatch have an outcome.
func (p *Pipeline) AnswerDispatch(outcome cases.DispatchOutcome) {
	p.OnDispatch(func(context.Context, reconcile.Job) cases.DispatchOutcome { return outcome })
}

// AnswerPoll makes every poll have an outcome.
func (p *Pipeline) AnswerPoll(outcome cases.CheckOutcome) {
	p.OnPoll(func(string) cases.CheckOutcome { return outcome })
}

// Jobs returns the runs that were handed over, in order.
func (p *Pipeline) Jobs() []reconcile.Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.jobs)
}

// Polls returns how many times progress was asked for.
func (p *Pipeline) Polls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.polls
}

// Dispatch implements [reconcile.Pipeline].
func (p *Pipeline) Dispatch(ctx context.Context, job reconcile.Job) cases.DispatchOutcome {
	p.mu.Lock()
	p.jobs = append(p.jobs, job)
	answer := p.onDispatch
	p.mu.Unlock()
	if answer == nil {
		return cases.DispatchOutcome{Kind: cases.DispatchAccepted}
	}
	return answer(ctx, job)
}

// Poll implements [reconcile.Pipeline].
func (p *Pipeline) Poll(_ context.Context, job reconcile.Job) cases.CheckOutcome {
	p.mu.Lock()
	p.polls++
	answer := p.onPoll
	p.mu.Unlock()
	if answer == nil {
		return Progress(1, 4, cases.StatusNotGiven)
	}
	return answer(job.CaseID)
}

// Progress is the outcome of a poll that read progress.
func Progress(completed, total int, status cases.Status) cases.CheckOutcome {
	return cases.CheckOutcome{
		Kind:    cases.CheckReading,
		Reading: cases.Reading{Completed: completed, Total: total, Percent: -1, Status: status},
	}
}
