package reconcile

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/queue"
)

// Stop handles the delivery of a task that is to cancel the job of an ended run: it asks the pipeline
// once, and saves how that went. While the outcome is not known, a later task asks again. A second
// delivery asks again, too: cancelling a job twice does no harm.
//
// A nil error means that the delivery is done, whatever the outcome was. Errors: Unavailable, the
// delivery is to be repeated; NotFound, there is no such run.
func (r *Reconciler) Stop(ctx context.Context, task queue.Body) error {
	c, err := r.store.Get(ctx, task.CaseID, task.Run)
	if err != nil {
		return storeProblem(err)
	}
	ctx = gcplog.WithTrace(ctx, c.TraceParent)
	switch c.StopDelivery(task.Seq) {
	case cases.DeliveryNewer:
		return fault.New(fault.Unavailable, "the record is older than the task")
	case cases.DeliveryOlder: // the delivery before may have died after its save
		return r.ensureStop(ctx, change{after: c})
	case cases.DeliveryStale, cases.DeliveryEnded:
		return nil
	case cases.DeliveryCurrent:
	}
	outcome := cases.CancelOutcome{Kind: cases.CancelFailed, Message: noPipeline(c)}
	if !r.Rules(c).Gone {
		outcome = r.pipeline.Cancel(ctx, r.job(c))
	}
	ch, err := r.apply(ctx, c, cases.StopOutcome{Seq: task.Seq, CancelOutcome: outcome})
	if err != nil {
		return err
	}
	r.logStop(ctx, ch, outcome)
	return r.ensureStop(ctx, change{after: ch.after})
}

func (r *Reconciler) logStop(ctx context.Context, ch change, outcome cases.CancelOutcome) {
	more := []any{slog.String("outcome", string(outcome.Kind)), slog.String("stop", string(ch.after.Stop.State))}
	if outcome.Kind == cases.CancelConfirmed {
		r.log.InfoContext(ctx, "job cancelled", attrs(ch.after, more...)...)
		return
	}
	more = append(more, slog.String("cause", cmp.Or(outcome.Cause, outcome.Message)))
	r.log.WarnContext(ctx, "job not cancelled", attrs(ch.after, more...)...)
}

// ensureStop makes sure that the task exists that is to cancel the job of an ended run since the
// change, if one is to. For change{after: c} that is any such task of c. The error is Unavailable.
func (r *Reconciler) ensureStop(ctx context.Context, ch change) error {
	s := ch.after.Stop
	if s.State != cases.StopRequested || s.Seq == ch.before.Stop.Seq {
		return nil
	}
	if _, err := r.queue.Create(ctx, stopTask(ch.after)); err != nil {
		return queueProblem(err)
	}
	return nil
}

// stopTask is the task of the pending request to cancel a run's job.
func stopTask(c cases.Case) queue.Task {
	return queue.Task{
		Kind: queue.Stop, CaseID: c.CaseID, Run: c.Run, Seq: c.Stop.Seq, CreatedAt: c.CreatedAt,
		Pipeline: c.Pipeline, At: c.Stop.At, TraceParent: c.TraceParent,
	}
}
