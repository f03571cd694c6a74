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

// StartRequest asks for a run.
type StartRequest struct {
	CaseID      string // valid
	Form        []byte // a JSON object
	Owner       string // to whom the case is to belong, see [store.Head]; "" for a caller who owns none
	AnyCase     bool   // the caller may join and supersede everybody's cases, and not only those of Owner
	Key         string // names this very request among all of its caller's, and the caller; "" for none
	Deadline    time.Duration
	Supersede   bool // end a run that has not ended, and begin another
	Adopt       bool // the pipeline works on it already
	TraceParent string
}

// StartAnswer is the run that a request for one led to.
type StartAnswer struct {
	Case    cases.Case
	Begun   bool // by this call
	Current bool // it is the case's current run
}

// Start begins a run of a case, or finds the one that is meant. A case belongs to the caller of its first kept run,
// whoever begins the others.
//
// A request with the Key of a run that is still kept means that run. A case whose run has not ended keeps it, unless it is to
// be superseded. A run that was recorded but not queued is queued by a repeat.
//
// Errors: Forbidden if the case is not the caller's; Unprocessable if the Key is that of a run with another form; TooMany
// if the case has 1,000 other keys; Unavailable if the run was not recorded, or recorded but not queued.
func (w *Reconciler) Start(ctx context.Context, req StartRequest) (StartAnswer, error) {
	if req.Deadline == 0 {
		req.Deadline = w.cfg.CaseDeadline
	}
	var answer StartAnswer
	err := w.retryConflicts(ctx, func(int) (err error) {
		answer, err = w.start(ctx, req)
		return err
	})
	return answer, w.storeFault(err)
}

func (w *Reconciler) start(ctx context.Context, req StartRequest) (StartAnswer, error) {
	head, current, err := w.store.Current(ctx, req.CaseID)
	if errors.Is(err, store.ErrNotFound) {
		return w.begin(ctx, req, store.Head{CaseID: req.CaseID, Owner: req.Owner}, nil)
	}
	if err != nil {
		return StartAnswer{}, err
	}
	if head.Owner != req.Owner && !req.AnyCase {
		return StartAnswer{}, fault.New(fault.Forbidden, "the case is another caller's")
	}
	if run, ok := head.Keys[req.Key]; ok && req.Key != "" {
		c := current
		if run != current.Run {
			if c, err = w.store.Get(ctx, req.CaseID, run); err != nil && !errors.Is(err, store.ErrNotFound) {
				return StartAnswer{}, err
			}
		}
		if err == nil && c.FormHash != hash(req.Form) {
			return StartAnswer{}, fault.New(fault.Unprocessable, "this Idempotency-Key was used with another body")
		}
		if err == nil {
			_, err := w.queued(ctx, c)
			return StartAnswer{Case: c, Current: c.Run == head.Run}, err
		}
	}
	if current.State.Ended() {
		return w.begin(ctx, req, head, &current)
	}
	fresh, err := w.queued(ctx, current)
	if err != nil || fresh || !req.Supersede {
		return StartAnswer{Case: current, Current: true}, err // a run that this call had to queue is one that an earlier call of the same caller began
	}
	return w.begin(ctx, req, head, &current)
}

// Owner returns to whom a case belongs, as [store.Head] says it. Errors: NotFound, Unavailable.
func (w *Reconciler) Owner(ctx context.Context, caseID string) (string, error) {
	head, _, err := w.store.Current(ctx, caseID)
	return head.Owner, w.storeFault(err)
}

// queued makes sure that a run's tasks exist. It reports whether the run had none before: it was recorded but not queued.
func (w *Reconciler) queued(ctx context.Context, c cases.Case) (fresh bool, err error) {
	if c.State.Ended() {
		return false, nil
	}
	if c.Dispatch.Phase == cases.PhaseQueued {
		created, err := w.queue.Create(ctx, dispatchTask(c))
		if err != nil {
			return false, notQueued(err)
		}
		fresh = created && c.Dispatch.Seq == 1
	}
	created, err := w.queue.Create(ctx, checkTask(c))
	if err != nil {
		return false, notQueued(err)
	}
	return fresh || created && c.Checks.Seq == 1, nil
}

// maxKeys is how many idempotency keys of a case are kept. They are all in its head, which every start and read loads: a
// thousand are some 80 KB.
const maxKeys = 1000

// tooManyKeys is TooMany, with when the oldest key leaves, which it does when its run is purged.
func (w *Reconciler) tooManyKeys(ctx context.Context, head store.Head) error {
	oldest, err := w.store.Get(ctx, head.CaseID, slices.Min(slices.Collect(maps.Values(head.Keys))))
	if errors.Is(err, store.ErrNotFound) {
		return store.ErrConflict // purged since the head was read
	}
	if err != nil {
		return err
	}
	e := fault.New(fault.TooMany, "the case has %d idempotency keys, as many as are kept; each leaves when its run is purged", maxKeys)
	e.RetryAfter = max(time.Minute, w.cfg.Rules.ExpiresAt(oldest).Sub(w.Now())) // then the next sweep purges it
	return e
}

// begin begins the run after prior, ending prior in the same write if it has not.
func (w *Reconciler) begin(ctx context.Context, req StartRequest, head store.Head, prior *cases.Case) (StartAnswer, error) {
	if req.Key != "" && len(head.Keys) >= maxKeys {
		return StartAnswer{}, w.tooManyKeys(ctx, head)
	}
	b := store.Begin{Head: head, Form: req.Form}
	var ended change
	if prior != nil && !prior.State.Ended() {
		ended.before = *prior
		ended.after, ended.verdict = w.cfg.Rules.Apply(*prior, cases.Cancel{Superseded: true}, w.Now(), w.jitter())
		prior = &ended.after
		b.End = &store.Write{Case: ended.after}
	}
	in := cases.Started{
		CaseID: req.CaseID, Run: head.Run + 1, Deadline: req.Deadline, Adopt: req.Adopt, Prior: prior, Earlier: w.durationStats(ctx),
		TraceParent: req.TraceParent, FormHash: hash(req.Form),
	}
	b.Case, _ = w.cfg.Rules.Apply(cases.Case{}, in, w.Now(), w.jitter())
	b.Head.Run, b.Head.Version = in.Run, head.Version+1
	if req.Key != "" {
		b.Head.Keys = maps.Clone(head.Keys)
		if b.Head.Keys == nil {
			b.Head.Keys = map[string]int{}
		}
		b.Head.Keys[req.Key] = in.Run
	}
	if err := w.store.Begin(ctx, b); err != nil {
		return StartAnswer{}, err
	}
	ctx = gcplog.WithTrace(ctx, b.Case.TraceParent)
	w.log.InfoContext(ctx, "case accepted", attrs(b.Case, slog.Time("deadline_at", b.Case.DeadlineAt), slog.Bool("adopted", b.Case.Adopted))...)
	_, err := w.queued(ctx, b.Case)
	if b.End != nil {
		// Told after the new run is queued: nobody waits for it.
		old := gcplog.WithTrace(ctx, ended.after.TraceParent)
		if err := w.settle(old, ended, ""); err != nil {
			w.log.ErrorContext(old, "a superseded run is not settled; the sweep will", attrs(ended.after, slog.Any("error", err))...)
		}
	}
	return StartAnswer{Case: b.Case, Begun: true, Current: true}, err
}

func notQueued(err error) error {
	return fault.Wrap(fault.Unavailable, err, "the case is recorded but not yet queued; repeat the request, or wait: it will be")
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
