package reconcile

import (
	"context"
	"log/slog"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/events"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/store"
)

// settle makes the outside world match what was saved. It is idempotent. delivered is the task whose delivery is being
// handled, if any: it ends with its answer, and need not be deleted.
//
// For an open run an error is Unavailable: the next check may not be scheduled, and the delivery must be repeated. The end of
// a run is recorded all the same if it cannot be told: the sweep tells it.
func (w *Reconciler) settle(ctx context.Context, ch change, delivered queue.Kind) error {
	c := ch.after
	if !c.State.Ended() {
		return w.arm(ctx, c, c.Checks.Seq != ch.before.Checks.Seq, c.Dispatch.Seq != ch.before.Dispatch.Seq)
	}
	if !ch.before.State.Ended() {
		if err := w.tellEnd(ctx, c, delivered); err != nil {
			w.log.ErrorContext(ctx, "the end is recorded but not told; the sweep will", attrs(c, slog.Any("error", err))...)
		}
	}
	return nil
}

// arm makes sure that the tasks which an open run waits for exist.
func (w *Reconciler) arm(ctx context.Context, c cases.Case, check, dispatch bool) error {
	if dispatch && c.Dispatch.Phase == cases.PhaseQueued {
		if _, err := w.queue.Create(ctx, dispatchTask(c)); err != nil {
			return queueFault(err)
		}
	}
	if check {
		if _, err := w.queue.Create(ctx, checkTask(c)); err != nil {
			return queueFault(err)
		}
	}
	return nil
}

// tellEnd deletes the tasks that an ended run no longer needs, publishes and logs its end, and notes that this is done. A check that is
// created just then, by a delivery that saved before the end, is delivered once more and dropped.
func (w *Reconciler) tellEnd(ctx context.Context, c cases.Case, delivered queue.Kind) error {
	if delivered != queue.Check {
		if err := w.queue.Delete(ctx, checkTask(c)); err != nil {
			return err
		}
	}
	if c.DispatchMayPend() {
		if err := w.queue.Delete(ctx, dispatchTask(c)); err != nil {
			return err
		}
	}
	view, err := w.view(ctx, c)
	if err != nil {
		return err
	}
	if err := w.events.PublishEnded(ctx, view, c.TraceParent); err != nil {
		return err
	}
	w.logEnd(ctx, c, *view.DurationSeconds)
	ch, err := w.apply(ctx, c, cases.Finalized{})
	if err == nil && ch.verdict.Changed() {
		w.learn(ctx, ch.after)
	}
	return err
}

// logEnd writes the line of a run's end. If it is written again, Cloud Logging keeps one: the time is that of the end, the
// insertId that of the run (https://docs.cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry).
func (w *Reconciler) logEnd(ctx context.Context, c cases.Case, seconds float64) {
	line := slog.NewRecord(c.Outcome.EndedAt, slog.LevelInfo, "progress checks ended", 0)
	line.Add(attrs(c, slog.String("state", string(c.State)), slog.String("reason", string(c.Outcome.End.Reason)), slog.String("source", string(c.Outcome.End.Source)),
		slog.Int("checks", c.Checks.Polls), slog.Float64("duration_seconds", seconds),
		gcplog.InsertID(events.EndedID(c.CaseID, c.Run)))...)
	_ = w.log.Handler().Handle(ctx, line) // as slog does
}

// view is the run as readers see it, with its results.
func (w *Reconciler) view(ctx context.Context, c cases.Case) (cases.View, error) {
	var result, late []byte
	var err error
	if c.Outcome.HasResult {
		if result, err = w.store.Value(ctx, c.CaseID, c.Run, store.Result); err != nil {
			return cases.View{}, err
		}
	}
	if c.Outcome.Late != nil && c.Outcome.Late.HasResult {
		if late, err = w.store.Value(ctx, c.CaseID, c.Run, store.LateResult); err != nil {
			return cases.View{}, err
		}
	}
	return c.View(w.Now(), result, late), nil
}

func checkTask(c cases.Case) queue.Task {
	return queue.Task{Kind: queue.Check, CaseID: c.CaseID, Run: c.Run, Seq: c.Checks.Seq, CreatedAt: c.CreatedAt, At: c.Checks.NextAt, TraceParent: c.TraceParent}
}

func dispatchTask(c cases.Case) queue.Task {
	return queue.Task{Kind: queue.Dispatch, CaseID: c.CaseID, Run: c.Run, Seq: c.Dispatch.Seq, CreatedAt: c.CreatedAt, At: c.Dispatch.At, TraceParent: c.TraceParent}
}

func queueFault(err error) error {
	return fault.Wrap(fault.Unavailable, err, "the queue cannot be reached; try again")
}

// attrs are the attributes of every log line about a run.
func attrs(c cases.Case, more ...any) []any {
	return append([]any{slog.String("case_id", c.CaseID), slog.Int("run", c.Run)}, more...)
}
