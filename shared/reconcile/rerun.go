package reconcile

import (
	"context"
	"errors"
	"strconv"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/store"
)

// Rerun begins a run with the form of the case's current run, and with as much time as that had. The
// current run must have ended, and not have succeeded. A repeat for the same run returns the run that
// the first call began.
//
// Errors: NotFound if there is no such case. Conflict if the run is not the current one, or for
// what [WhyNoRerun] says, or if the run's pipeline is not described any more. TooMany as for
// [Reconciler.Start]. Unavailable if nothing was recorded, or if the run was recorded and not
// queued.
func (r *Reconciler) Rerun(ctx context.Context, caseID string, run int, traceParent string) (StartAnswer, error) {
	var answer StartAnswer
	err := r.retryConflicts(ctx, func(int) (err error) {
		answer, err = r.rerunOnce(ctx, caseID, run, traceParent)
		return err
	})
	return answer, storeProblem(err)
}

func (r *Reconciler) rerunOnce(ctx context.Context, caseID string, run int, traceParent string) (StartAnswer, error) {
	head, c, err := r.store.Current(ctx, caseID)
	if err != nil {
		return StartAnswer{}, err
	}
	key := rerunKey(run)
	if begun, ok := head.Keys[key]; ok && begun == head.Run {
		_, err := r.ensureQueued(ctx, c)
		return StartAnswer{Case: c, Current: true}, err
	}
	if run != head.Run {
		return StartAnswer{}, fault.New(fault.Conflict, "run %d is not the current run, which is %d", run, head.Run)
	}
	if why := WhyNoRerun(c); why != "" {
		return StartAnswer{}, fault.New(fault.Conflict, "%s", why)
	}
	pipeline := r.settings(c)
	if pipeline.Rules.Gone {
		return StartAnswer{}, fault.New(fault.Conflict, "%s", noPipeline(c))
	}
	form, err := r.store.Value(ctx, caseID, run, store.Form)
	if errors.Is(err, store.ErrNotFound) {
		return StartAnswer{}, store.ErrConflict // deleted since the record was read
	}
	if err != nil {
		return StartAnswer{}, err
	}
	return r.begin(ctx, StartRequest{
		CaseID: caseID, Form: form, Key: key, Pipeline: pipeline.Name,
		Deadline: c.DeadlineAt.Sub(c.CreatedAt), TraceParent: traceParent,
	}, head, &c)
}

// rerunKey is the idempotency key of the rerun of a run. It is a hash, as those of callers are, and
// equal to none of theirs.
func rerunKey(run int) string { return hash([]byte("rerun\x00" + strconv.Itoa(run))) }

// WhyNoRerun says why [Reconciler.Rerun] would refuse a case's current run; "" if it would not.
func WhyNoRerun(c cases.Case) string {
	switch {
	case !c.State.Ended():
		return "the run has not ended"
	case c.State == cases.Succeeded:
		return "the run succeeded"
	case c.Adopted:
		return "the run was adopted: it is not known whether its form is the one that the pipeline was given"
	case !c.Bookkeeping.FormKept:
		return "the form of the run is no longer kept"
	}
	return ""
}
