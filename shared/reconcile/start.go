package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/store"
)

// MaxForm is the largest form, in bytes.
const MaxForm = store.MaxForm

// StartRequest asks for a run of a case.
type StartRequest struct {
	CaseID  string // valid
	Form    []byte // a JSON object
	Owner   string // to whom a new case belongs, see [store.Head]; "" for a caller who owns no cases
	AnyCase bool   // the caller may join and supersede the cases of all owners
	// Key identifies this request among all requests of all callers, so that a repeat means the same
	// run. "" for a request without one.
	Key         string
	Deadline    time.Duration // how long the run may take; 0 means Config.CaseDeadline
	Supersede   bool          // end an open run of the case, and begin another
	Adopt       bool          // the pipeline works on the case already: follow it, and send nothing
	JobID       string        // with Adopt: the job's own name at the pipeline, if the case id does not name it
	Pipeline    string        // the name of the pipeline; "" for the default one
	TraceParent string        // W3C traceparent of the request
}

// StartAnswer is the run that a request led to.
type StartAnswer struct {
	Case    cases.Case
	Begun   bool // by this call
	Current bool // it is the case's current run
}

// Start begins a run of a case, or returns the run that the request means:
//
//   - A request with the Key of a run that is still kept means that run.
//   - If the current run is open, the request means that run, unless it supersedes it.
//   - If that run was recorded and not queued, Start queues it instead, superseding or not.
//   - Otherwise Start begins a run. A case belongs to the caller who began its first run that is still
//     kept, whoever begins the later ones.
//
// Errors: Forbidden if the case belongs to another caller. Unprocessable if Key was used with
// another form or pipeline. Invalid if there is no such pipeline. TooMany if the case has 1,000
// other keys. Unavailable if no run was recorded, or if it was recorded and not queued: a repeat of
// the request queues it, or the sweep does.
func (r *Reconciler) Start(ctx context.Context, req StartRequest) (StartAnswer, error) {
	pipeline, ok := r.described(req.Pipeline)
	if !ok {
		return StartAnswer{}, fault.New(fault.Invalid, "there is no such pipeline")
	}
	req.Pipeline = pipeline.Name
	if req.Deadline == 0 {
		req.Deadline = pipeline.Deadline
	}
	var answer StartAnswer
	err := r.retryConflicts(ctx, func(int) (err error) {
		answer, err = r.startOnce(ctx, req)
		return err
	})
	return answer, storeProblem(err)
}

func (r *Reconciler) startOnce(ctx context.Context, req StartRequest) (StartAnswer, error) {
	head, current, err := r.store.Current(ctx, req.CaseID)
	if errors.Is(err, store.ErrNotFound) {
		return r.begin(ctx, req, store.Head{CaseID: req.CaseID, Owner: req.Owner}, nil)
	}
	if err != nil {
		return StartAnswer{}, err
	}
	if head.Owner != req.Owner && !req.AnyCase {
		return StartAnswer{}, fault.New(fault.Forbidden, "the case is another caller's")
	}
	if run, ok := head.Keys[req.Key]; ok && req.Key != "" {
		answer, err := r.repeated(ctx, req, current, run)
		if !errors.Is(err, store.ErrNotFound) {
			return answer, err
		}
		// The run of the key has been purged since the head was read.
	}
	if current.State.Ended() {
		return r.begin(ctx, req, head, &current)
	}
	first, err := r.ensureQueued(ctx, current)
	if err != nil || first || !req.Supersede {
		// A run that was not queued yet is one that an earlier try of this request began.
		return StartAnswer{Case: current, Current: true}, err
	}
	return r.begin(ctx, req, head, &current)
}

// repeated answers a request whose key is that of a run. The error is the store's, or as for Start.
func (r *Reconciler) repeated(ctx context.Context, req StartRequest, current cases.Case, run int) (StartAnswer, error) {
	c := current
	if run != current.Run {
		var err error
		if c, err = r.store.Get(ctx, req.CaseID, run); err != nil {
			return StartAnswer{}, err
		}
	}
	if c.FormHash != hash(req.Form) {
		return StartAnswer{}, fault.New(fault.Unprocessable, "this Idempotency-Key was used with another body")
	}
	if r.settings(c).Name != req.Pipeline {
		return StartAnswer{}, fault.New(fault.Unprocessable, "this Idempotency-Key was used with another pipeline")
	}
	_, err := r.ensureQueued(ctx, c)
	return StartAnswer{Case: c, Current: c.Run == current.Run}, err
}

// begin begins the run after prior. If prior is open, the same write ends it.
func (r *Reconciler) begin(
	ctx context.Context, req StartRequest, head store.Head, prior *cases.Case,
) (StartAnswer, error) {
	if req.Key != "" && len(head.Keys) >= maxKeys {
		return StartAnswer{}, r.tooManyKeys(ctx, head)
	}
	b := store.Begin{Head: head, Form: req.Form}
	var superseded cases.Case
	if prior != nil && !prior.State.Ended() {
		superseded, _ = r.Rules(*prior).Apply(*prior, cases.Cancel{Superseded: true}, r.Now(), r.jitter())
		prior = &superseded
		b.End = &store.Write{Case: superseded}
	}
	in := cases.Started{
		CaseID: req.CaseID, Run: head.Run + 1, Pipeline: req.Pipeline, Deadline: req.Deadline,
		Adopt: req.Adopt, JobID: req.JobID, Prior: prior, Earlier: r.earlierDurations(ctx, req.Pipeline),
		TraceParent: req.TraceParent, FormHash: hash(req.Form),
	}
	pipeline, _ := r.described(req.Pipeline)
	b.Case, _ = pipeline.Rules.Apply(cases.Case{}, in, r.Now(), r.jitter())
	b.Head.Run, b.Head.Version = in.Run, head.Version+1
	if req.Key != "" {
		b.Head.Keys = maps.Clone(head.Keys)
		if b.Head.Keys == nil {
			b.Head.Keys = map[string]int{}
		}
		b.Head.Keys[req.Key] = in.Run
	}
	if err := r.store.Begin(ctx, b); err != nil {
		return StartAnswer{}, err
	}
	ctx = gcplog.WithTrace(ctx, b.Case.TraceParent)
	r.log.InfoContext(ctx, "case accepted",
		attrs(b.Case, slog.Time("deadline_at", b.Case.DeadlineAt), slog.Bool("adopted", b.Case.Adopted))...)
	_, err := r.ensureQueued(ctx, b.Case)
	if b.End != nil { // after the new run is queued, which the caller waits for
		r.tryFinalize(gcplog.WithTrace(ctx, superseded.TraceParent), superseded, "")
	}
	return StartAnswer{Case: b.Case, Begun: true, Current: true}, err
}

// ensureQueued is ensureTasks for a run that a caller waits for.
func (r *Reconciler) ensureQueued(ctx context.Context, c cases.Case) (first bool, err error) {
	if first, err = r.ensureTasks(ctx, change{after: c}); err != nil {
		err = fault.Wrap(fault.Unavailable, err,
			"the case is recorded but not yet queued; repeat the request, or wait: it will be")
	}
	return first, err
}

// maxKeys is how many idempotency keys of a case are kept. They are in its head, which every start and
// every read loads: a thousand are about 80 KB.
const maxKeys = 1000

// tooManyKeys is TooMany. Its RetryAfter is when the oldest key is deleted, together with its run.
func (r *Reconciler) tooManyKeys(ctx context.Context, head store.Head) error {
	oldest, err := r.store.Get(ctx, head.CaseID, slices.Min(slices.Collect(maps.Values(head.Keys))))
	if errors.Is(err, store.ErrNotFound) {
		return store.ErrConflict // purged since the head was read
	}
	if err != nil {
		return err
	}
	e := fault.New(fault.TooMany,
		"the case has %d idempotency keys, as many as are kept; each leaves when its run is purged", maxKeys)
	e.RetryAfter = max(time.Minute, r.cfg.Rules.ExpiresAt(oldest).Sub(r.Now())) // the sweep after that purges it
	return e
}

// Owner returns to whom a case belongs, as [store.Head] says it. Errors: NotFound, Unavailable.
func (r *Reconciler) Owner(ctx context.Context, caseID string) (string, error) {
	head, _, err := r.store.Current(ctx, caseID)
	return head.Owner, storeProblem(err)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
