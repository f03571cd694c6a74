package reconcile

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/queue"
)

// Check handles the delivery of a check task: it polls the pipeline at most once, and then ends the run
// or schedules the next check.
//
// A nil error means that the delivery is done, whatever it found. Errors: Unavailable, the delivery is
// to be repeated; NotFound, there is no such run.
func (r *Reconciler) Check(ctx context.Context, task queue.Body) error {
	began := r.Now()
	c, err := r.store.Get(ctx, task.CaseID, task.Run)
	if err != nil {
		return storeProblem(err)
	}
	ctx = gcplog.WithTrace(ctx, c.TraceParent)
	if handled, err := r.handleNotPending(ctx, c, c.CheckDelivery(task.Seq)); handled {
		return err
	}
	found := cases.CheckOutcome{Kind: cases.CheckSkipped}
	rules := r.Rules(c)
	switch {
	case rules.ShouldPoll(c, r.Now()):
		found = r.pipeline.Poll(ctx, r.job(c))
	case rules.Gone:
		r.log.WarnContext(ctx, "run not polled: its pipeline is not described any more", attrs(c)...)
	}
	found.Seq, found.BeganAt, found.ReadVersion = task.Seq, began, c.Version
	ch, err := r.apply(ctx, c, found)
	if err != nil {
		return err
	}
	r.logCheck(ctx, ch, found)
	if ch.verdict.Kind == cases.Stale && ch.after.CheckDelivery(task.Seq) == cases.DeliveryOlder {
		ch.before = cases.Case{} // another delivery of this task saved first, and may have died since
	}
	return r.reconcile(ctx, ch, queue.Check)
}

func (r *Reconciler) logCheck(ctx context.Context, ch change, found cases.CheckOutcome) {
	c := ch.after
	more := []any{
		slog.Int64("seq", found.Seq),
		slog.String("found", string(found.Kind)),
		slog.String("verdict", string(ch.verdict.Kind)),
		slog.Int("completed", c.Job.Progress.Completed),
		slog.Int("total", c.Job.Progress.Total),
		slog.Bool("moved", ch.moved()),
	}
	if !c.State.Ended() {
		wait := c.Checks.NextAt.Sub(r.Now()).Truncate(time.Millisecond)
		more = append(more, slog.Float64("next_seconds", wait.Seconds()))
	}
	if found.Kind == cases.CheckFailed {
		more = append(more, slog.String("cause", cmp.Or(found.Cause, found.Message)))
		r.log.WarnContext(ctx, "poll failed", attrs(c, more...)...)
	} else {
		r.log.InfoContext(ctx, "progress checked", attrs(c, append(more, cause(found.Cause)...)...)...)
	}
	if c.Job.Stalled && !ch.before.Job.Stalled {
		r.log.WarnContext(ctx, "progress stalled", attrs(c, slog.Time("since", c.Job.MovedAt))...)
	}
}

// cause is the log attribute that says what went wrong; none for "".
func cause(text string) []any {
	if text == "" {
		return nil
	}
	return []any{slog.String("cause", text)}
}
