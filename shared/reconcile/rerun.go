package reconcile

import (
	"context"
	"errors"
	"strconv"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/store"
)

// Rerun begins a run with the form of the case's current run, which has ended otherwise than succeeded, and as much time as that had. A repeat for the
// same run means the run that the first began: however often it is asked for, one is begun.
//
// Errors: NotFound if there is no such case; Conflict if the run is not the current one, has not ended, has succeeded, was adopted, or its form is
// no longer kept; TooMany as for [Reconciler.Start]; Unavailable if nothing was recorded, or the run was recorded but not queued.
func (w *Reconciler) Rerun(ctx context.Context, caseID string, run int, traceParent string) (StartAnswer, error) {
	var answer StartAnswer
	err := w.retryConflicts(ctx, func(int) (err error) {
		answer, err = w.rerun(ctx, caseID, run, traceParent)
		return err
	})
	return answer, w.storeFault(err)
}

func (w *Reconciler) rerun(ctx context.Context, caseID string, run int, traceParent string) (StartAnswer, error) {
	head, c, err := w.store.Current(ctx, caseID)
	if err != nil {
		return StartAnswer{}, err
	}
	key := rerunKey(run)
	if begun, ok := head.Keys[key]; ok && begun == head.Run {
		_, err := w.queued(ctx, c)
		return StartAnswer{Case: c, Current: true}, err
	}
	if run != head.Run {
		return StartAnswer{}, fault.New(fault.Conflict, "run %d is not the current run, which is %d", run, head.Run)
	}
	if why := WhyNoRerun(c); why != "" {
		return StartAnswer{}, fault.New(fault.Conflict, "%s", why)
	}
	form, err := w.store.Value(ctx, caseID, run, store.Form)
	if errors.Is(err, store.ErrNotFound) {
		return StartAnswer{}, store.ErrConflict // dropped since the record was read
	}
	if err != nil {
		return StartAnswer{}, err
	}
	req := StartRequest{CaseID: caseID, Form: form, Key: key, Deadline: c.DeadlineAt.Sub(c.CreatedAt), TraceParent: traceParent}
	return w.begin(ctx, req, head, &c)
}

// rerunKey is the key, among those of its case, of the run that is begun from a run's form. It is a hash as the keys of callers are, and none of theirs.
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
