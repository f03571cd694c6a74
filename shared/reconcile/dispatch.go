package reconcile

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/store"
)

const (
	// markTimeout bounds how long Dispatch tries to save the mark of a request in flight. A store that
	// fails over answers again within it.
	markTimeout = 30 * time.Second
	// saveTimeout bounds one try to save the pipeline's answer.
	saveTimeout = 10 * time.Second
)

// Dispatch handles the delivery of a dispatch task: it saves the mark of a request in flight, hands the
// run to the pipeline with one request, and saves the answer. retryCount is the delivery's
// X-CloudTasks-TaskRetryCount: a second delivery that has a higher one knows that the first was lost.
//
// A nil error means that the delivery is done, whatever the outcome was. Errors: Unavailable, the
// delivery is to be repeated; NotFound, there is no such run.
func (r *Reconciler) Dispatch(ctx context.Context, task queue.Body, retryCount int) error {
	c, err := r.store.Get(ctx, task.CaseID, task.Run)
	if err != nil {
		return storeProblem(err)
	}
	ctx = gcplog.WithTrace(ctx, c.TraceParent)
	if handled, err := r.handleNotPending(ctx, c, c.DispatchDelivery(task.Seq)); handled {
		return err
	}
	form, err := r.store.Value(ctx, c.CaseID, c.Run, store.Form)
	if err != nil {
		return storeProblem(err)
	}
	mark := cases.DispatchBegun{Seq: task.Seq, Nonce: r.nonce(), RetryCount: retryCount}
	ch, err := r.saveMark(ctx, c, mark)
	if err != nil {
		return err
	}
	if ch.after.Dispatch.Nonce != mark.Nonce || ch.after.Dispatch.Phase != cases.PhaseInFlight {
		// Another delivery sends the request, or has sent it: this one must not.
		if ch.after.Dispatch.Phase == cases.PhaseUncertain && ch.verdict.Changed() {
			r.log.WarnContext(ctx, "earlier dispatch lost; checks will find its outcome", attrs(ch.after)...)
		}
		return r.reconcile(ctx, ch, queue.Dispatch)
	}
	r.log.InfoContext(ctx, "handing the case to the pipeline", attrs(c)...)
	outcome := r.handOver(ctx, c, form)
	outcome.Nonce = mark.Nonce
	return r.saveAnswer(ctx, ch.after, outcome)
}

// handOver hands a run to its pipeline. One that is not described any more cannot be reached: it may
// be described again.
func (r *Reconciler) handOver(ctx context.Context, c cases.Case, form []byte) cases.DispatchOutcome {
	if r.Rules(c).Gone {
		message := noPipeline(c)
		return cases.DispatchOutcome{Kind: cases.DispatchUnreachable, Message: message, Cause: message}
	}
	job := r.job(c)
	job.Form = form
	if r.callback != nil {
		job.CallbackURL = r.callback(c.CaseID, c.Run, c.DeadlineAt.Add(r.cfg.Rules.Retention))
	}
	return r.pipeline.Dispatch(ctx, job)
}

func noPipeline(c cases.Case) string { return "there is no pipeline " + c.Pipeline + " any more" }

// saveMark saves the mark of a request in flight. A save that seemed to fail may have taken effect, and
// a mark keeps other deliveries from sending. So saveMark tries until the mark is known to be saved or
// markTimeout is over, even if the request of this delivery ends meanwhile. Then nothing is sent, which
// is saved as the outcome, and the next delivery may send.
//
// Unlike the retries of a store's driver these have no budget: a delivery makes one at a time, and they
// back off, from 50 ms to 1.6 s.
func (r *Reconciler) saveMark(ctx context.Context, c cases.Case, mark cases.DispatchBegun) (change, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
	defer cancel()
	for try := 0; ; try++ {
		ch, err := r.apply(ctx, c, mark)
		if err == nil || ctxtime.Sleep(ctx, 50*time.Millisecond<<min(try, 5)) != nil {
			return ch, err
		}
	}
}

// saveAnswer saves what the pipeline answered, and reconciles. There is no second answer, so it is tried
// until ctx ends, and at least once. These retries have no budget either: the answer may be the end of
// the run. They back off, from 1 s to 10 s.
func (r *Reconciler) saveAnswer(ctx context.Context, c cases.Case, outcome cases.DispatchOutcome) error {
	for try := 0; ; try++ {
		err := r.saveAnswerOnce(ctx, c, outcome)
		if err == nil {
			return nil
		}
		if ctxtime.Sleep(ctx, min(time.Second<<min(try, 4), saveTimeout)) != nil {
			r.log.ErrorContext(ctx, "the pipeline's answer was lost; checks will find the outcome",
				attrs(c, slog.String("outcome", string(outcome.Kind)), slog.Any("error", err))...)
			return err
		}
	}
}

func (r *Reconciler) saveAnswerOnce(ctx context.Context, c cases.Case, outcome cases.DispatchOutcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	ch, err := r.apply(ctx, c, outcome)
	if err != nil {
		return err
	}
	r.logAnswer(ctx, ch, outcome)
	// A try before, that seemed to fail, may have saved this very answer and not reconciled.
	if ch.before.State.Ended() {
		return errors.Join(r.ensureStop(ctx, change{after: ch.after}), r.ensureFinalized(ctx, ch.after))
	}
	if !ch.verdict.Changed() {
		ch.before = cases.Case{} // make sure that all tasks exist
	}
	return r.reconcile(ctx, ch, queue.Dispatch)
}

func (r *Reconciler) logAnswer(ctx context.Context, ch change, outcome cases.DispatchOutcome) {
	more := []any{slog.String("outcome", string(outcome.Kind)), slog.String("verdict", string(ch.verdict.Kind))}
	switch outcome.Kind {
	case cases.DispatchUnreachable, cases.DispatchUncertain: // no answer, or none that says what happened
		more = append(more, slog.String("cause", cmp.Or(outcome.Cause, outcome.Message)))
		r.log.WarnContext(ctx, "dispatch failed", attrs(ch.after, more...)...)
	default:
		more = append(more, cause(outcome.Cause)...)
		r.log.InfoContext(ctx, "the pipeline answered", attrs(ch.after, more...)...)
	}
}
