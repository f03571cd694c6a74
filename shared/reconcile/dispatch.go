package reconcile

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/store"
)

const (
	// saveTimeout bounds one try to save the pipeline's answer.
	saveTimeout = 10 * time.Second
	// markPatience is for how long the mark of a request in flight is tried to be saved. A store that fails over is back within it.
	markPatience = 30 * time.Second
)

// Dispatch handles the delivery of a dispatch task: it saves the mark of a request in flight, hands the run to the pipeline with one request,
// and saves the answer. retryCount is the delivery's X-CloudTasks-TaskRetryCount.
//
// A nil error means that the delivery is done with, whatever came of it; Unavailable that it is to be repeated.
func (w *Reconciler) Dispatch(ctx context.Context, task queue.Body, retryCount int) error {
	c, err := w.store.Get(ctx, task.CaseID, task.Run)
	if err != nil {
		return w.storeFault(err)
	}
	ctx = gcplog.WithTrace(ctx, c.TraceParent)
	switch d := c.DispatchDelivery(task.Seq); d {
	case cases.DeliveryNewer:
		return fault.New(fault.Unavailable, "the record is older than the task")
	case cases.DeliveryOlder:
		return w.arm(ctx, c, false, true)
	case cases.DeliveryStale:
		return nil
	case cases.DeliveryEnded:
		return w.heal(ctx, c)
	}
	form, err := w.store.Value(ctx, c.CaseID, c.Run, store.Form)
	if err != nil {
		return w.storeFault(err)
	}
	mark := cases.DispatchBegun{Seq: task.Seq, Nonce: w.nonce(), RetryCount: retryCount}
	ch, err := w.saveMark(ctx, c, mark)
	if err != nil {
		return err
	}
	if ch.after.Dispatch.Nonce != mark.Nonce || ch.after.Dispatch.Phase != cases.PhaseInFlight {
		if ch.after.Dispatch.Phase == cases.PhaseUncertain && ch.verdict.Changed() {
			w.log.WarnContext(ctx, "the dispatch before was lost; checks find out what came of it", attrs(ch.after)...)
		}
		return w.settle(ctx, ch, queue.Dispatch)
	}
	w.log.InfoContext(ctx, "handing the case to the pipeline", attrs(c)...)
	outcome := w.pipeline.Dispatch(ctx, Job{CaseID: c.CaseID, Run: c.Run, Form: form, TraceParent: c.TraceParent})
	outcome.Nonce = mark.Nonce
	return w.saveAnswer(ctx, ch.after, outcome)
}

// saveMark saves the mark of a request in flight. A save that seemed to fail may have taken effect, and then no other delivery may send: so it is tried again here,
// until it is known to be saved or markPatience is over, even if whoever delivered the task has gone: without a mark saved for nothing, the next
// delivery may send; and what is then not sent, since this request is over, is known not to have been started. Unlike the repeats of the store's driver
// these have no budget: there is one at a time in a delivery, and they back off.
func (w *Reconciler) saveMark(ctx context.Context, c cases.Case, mark cases.DispatchBegun) (change, error) {
	trying, cancel := context.WithTimeout(context.WithoutCancel(ctx), markPatience)
	defer cancel()
	for try := 0; ; try++ {
		ch, err := w.apply(trying, c, mark)
		if err == nil || ctxtime.Sleep(trying, 50*time.Millisecond<<min(try, 5)) != nil {
			return ch, err
		}
	}
}

// saveAnswer saves what the pipeline answered, trying until the request ends, and once more after: the answer is had only once. It may carry the end, so
// these repeats have no budget either.
func (w *Reconciler) saveAnswer(ctx context.Context, c cases.Case, outcome cases.DispatchOutcome) error {
	for try := 0; ; try++ {
		err := w.saveAnswerOnce(ctx, c, outcome)
		if err == nil {
			return nil
		}
		if ctxtime.Sleep(ctx, min(time.Second<<min(try, 4), saveTimeout)) != nil {
			w.log.ErrorContext(ctx, "the pipeline's answer is lost; checks find out what came of it", attrs(c, slog.String("outcome", string(outcome.Kind)), slog.Any("error", err))...)
			return err
		}
	}
}

func (w *Reconciler) saveAnswerOnce(ctx context.Context, c cases.Case, outcome cases.DispatchOutcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	ch, err := w.apply(ctx, c, outcome)
	if err != nil {
		return err
	}
	w.logDispatch(ctx, ch, outcome)
	switch { // perhaps this very answer was saved by a try that seemed to fail, and nothing followed from it
	case ch.before.State.Ended():
		return w.heal(ctx, ch.after)
	case !ch.verdict.Changed():
		return w.arm(ctx, ch.after, false, true)
	}
	return w.settle(ctx, ch, queue.Dispatch)
}

func (w *Reconciler) logDispatch(ctx context.Context, ch change, outcome cases.DispatchOutcome) {
	more := []any{slog.String("outcome", string(outcome.Kind)), slog.String("verdict", string(ch.verdict.Kind))}
	switch outcome.Kind {
	case cases.DispatchUnreachable, cases.DispatchUncertain: // no answer, or none that tells
		w.log.WarnContext(ctx, "dispatch failed", attrs(ch.after, append(more, slog.String("cause", cmp.Or(outcome.Cause, outcome.Message)))...)...)
	default:
		w.log.InfoContext(ctx, "the pipeline answered", attrs(ch.after, append(more, cause(outcome.Cause)...)...)...)
	}
}
