// Package watch follows a case from its start to its end: load → rules → save → settle.
//
// Each method is one invocation. It loads the record, asks [cases.Rules] what follows from what happened, saves that by
// compare-and-swap, and then settles: makes the queue and the ended event match the saved record. No effect comes before
// the save that justifies it. When an invocation dies in between, the next delivery of the same task settles, or the sweep.
// Between two invocations nothing exists but the record and the named task of its next check.
//
// The way of one case: [Reconciler.Start] → [Reconciler.Dispatch] → [Reconciler.Check] … → an end by Dispatch, Check,
// [Reconciler.Complete] or [Reconciler.Cancel]; [Reconciler.Sweep] repairs what was lost; [Reconciler.Read] and [Reconciler.Follow] show it.
// Operators look by [Reconciler.List], [Reconciler.Detail] and [Reconciler.Inspect], and begin a run anew by [Reconciler.Rerun].
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/overload"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/store"
)

// Pipeline is the document pipeline. It never returns an error: what happened is the outcome.
type Pipeline interface {
	// Dispatch hands a run over, with one request, and returns when it is answered, or is known not to be. Nonce is left empty.
	Dispatch(ctx context.Context, job Job) cases.DispatchOutcome
	// Poll asks for the progress of a run once. Seq, BeganAt and ReadVersion are left empty.
	Poll(ctx context.Context, caseID string, run int, traceParent string) cases.CheckOutcome
}

// Job is a run to be handed over.
type Job struct {
	CaseID      string
	Run         int
	Form        []byte
	TraceParent string
}

// Publisher publishes. An error means that the message may or may not have been published.
type Publisher interface {
	PublishEnded(ctx context.Context, v cases.View, traceParent string) error
	ForwardInvalid(ctx context.Context, data []byte, attributes map[string]string, why string) error
}

// Config is by which settings a Reconciler works.
type Config struct {
	Rules        cases.Rules
	CaseDeadline time.Duration // of a run whose caller names none
	CheckTimeout time.Duration // the longest that a look takes
	SweepAtOnce  int           // how many runs a sweep handles at once; 0 is one after the other
}

// Deps is what a Reconciler works with. Store and Now are always needed. Queue and Events may be nil where only Read, Follow, List,
// Detail and CountByState are called, Pipeline where neither Dispatch nor Check is. Without Queue, who follows a run brings no check forward.
type Deps struct {
	Store    store.Store
	Queue    queue.Queue
	Pipeline Pipeline
	Events   Publisher

	Now    func() time.Time // the wall clock
	Jitter func() float64   // from 0 up to 1
	Nonce  func() string    // a new one each time
	Log    *slog.Logger
}

// Reconciler follows cases. It holds nothing of any of them but while somebody is in Follow, and of all of them what [cases.Past] says; its methods are safe for concurrent use.
//
// The errors of its methods are [fault.Error]s. Unavailable means that the store or the queue could not be used, and that the same
// call is to be made again.
type Reconciler struct {
	cfg      Config
	store    store.Store
	queue    queue.Queue
	pipeline Pipeline
	events   Publisher
	clock    func() time.Time
	jitter   func() float64
	nonce    func() string
	log      *slog.Logger

	rounds     rounds
	remembered remembered
	effort     overload.BestEffort // of the store and the queue
}

// New returns a Reconciler, or an error that names what is missing.
func New(cfg Config, deps Deps) (*Reconciler, error) {
	var faults []error
	for _, need := range []struct { // named in this order
		name    string
		missing bool
	}{
		{"Store", deps.Store == nil}, {"Now", deps.Now == nil}, {"Jitter", deps.Jitter == nil}, {"Nonce", deps.Nonce == nil}, {"Log", deps.Log == nil},
		{"Rules", deps.Queue != nil && cfg.Rules.CheckMinInterval <= 0},
		{"CaseDeadline", deps.Events != nil && cfg.CaseDeadline <= 0},
		{"CheckTimeout", deps.Queue != nil && cfg.CheckTimeout <= 0},
	} {
		if need.missing {
			faults = append(faults, errors.New("reconcile: "+need.name+" is missing"))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	w := &Reconciler{
		cfg: cfg, store: deps.Store, queue: deps.Queue, pipeline: deps.Pipeline, events: deps.Events,
		clock: deps.Now, jitter: deps.Jitter, nonce: deps.Nonce, log: deps.Log,
	}
	w.effort.Now, w.effort.AtOnce, w.effort.Pause = w.Now, maxBestEffort, bestEffortPause
	return w, nil
}

// Now returns the time of the clock, in UTC and as precise as every store keeps it.
func (w *Reconciler) Now() time.Time { return w.clock().UTC().Truncate(time.Microsecond) }

// Jitter returns a random number from 0 up to 1.
func (w *Reconciler) Jitter() float64 { return w.jitter() }

// Log returns the log.
func (w *Reconciler) Log() *slog.Logger { return w.log }

// maxTries bounds how many times a change of a record is tried that other invocations change too.
const maxTries = 30

// retryConflicts calls attempt until it returns another error than [store.ErrConflict], or none, and
// returns what it returned. It is the one compare-and-swap loop of the package.
//
// Only a conflict is tried again. It means that another invocation has saved the record since it was
// read: the store answers, and the attempt has to judge what the record has become. An attempt reads
// the record itself, or again if try is above 0. Any other error is returned at once: the call is
// repeated by its caller, by Cloud Tasks or by Pub/Sub.
//
// Between two attempts it waits for a random time, of at most 5 ms after the second, 50 ms after the
// eleventh and later. All waits together are at most 1.2 s; they end with ctx, with its error. After
// maxTries conflicts the error is Unavailable, which callers and task queues repeat.
func (w *Reconciler) retryConflicts(ctx context.Context, attempt func(try int) error) error {
	for try := range maxTries {
		if err := attempt(try); !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err := w.pause(ctx, try); err != nil {
			return err
		}
	}
	return fault.New(fault.Unavailable, "the case is changing too fast; try again")
}

// change is what apply did.
type change struct {
	before, after cases.Case
	verdict       cases.Verdict
}

// moved reports whether progress moved. Lines say so, since an alert counts it: work that is alive and gets nowhere is not seen otherwise.
func (c change) moved() bool { return c.after.Job.MovedAt.After(c.before.Job.MovedAt) }

// apply saves what follows from an input for a run that was loaded before. If the record has changed
// since, it is loaded again, and what follows is of what it has become; see retryConflicts.
func (w *Reconciler) apply(ctx context.Context, c cases.Case, in cases.Input) (change, error) {
	var ch change
	err := w.retryConflicts(ctx, func(try int) (err error) {
		if try > 0 {
			if c, err = w.store.Get(ctx, c.CaseID, c.Run); err != nil {
				return err
			}
		}
		ch, err = w.save(ctx, c, in)
		return err
	})
	return ch, w.storeFault(err)
}

// save saves what follows from an input for a record just loaded. The error is the store's.
func (w *Reconciler) save(ctx context.Context, c cases.Case, in cases.Input) (change, error) {
	ch := change{before: c}
	ch.after, ch.verdict = w.cfg.Rules.Apply(c, in, w.Now(), w.jitter())
	if !ch.verdict.Changed() {
		return ch, nil
	}
	return ch, w.store.Update(ctx, write(ch.after, ch.verdict, in))
}

// write is the change of a record with the bytes that go beside it.
func write(c cases.Case, v cases.Verdict, in cases.Input) store.Write {
	wr := store.Write{Case: c}
	switch v.Keep {
	case cases.KeepResult:
		wr.Put = map[store.Value][]byte{store.Result: resultOf(in)}
	case cases.KeepLate:
		wr.Put = map[store.Value][]byte{store.LateResult: resultOf(in)}
	}
	if v.DropForm {
		wr.Drop = []store.Value{store.Form}
	}
	return wr
}

// resultOf returns the bytes of the result that came with an input.
func resultOf(in cases.Input) (raw []byte) {
	switch in := in.(type) {
	case cases.DispatchOutcome:
		raw = in.Result.Raw
	case cases.CheckOutcome:
		raw = in.Result.Raw
	case cases.Event:
		raw = in.Result.Raw
	}
	return raw
}

// pause waits a little, longer with each try, so that many who change one record get through. It ends with ctx, with its error.
func (w *Reconciler) pause(ctx context.Context, try int) error {
	return ctxtime.Sleep(ctx, time.Duration(float64(min(try, 10))*w.jitter()*float64(5*time.Millisecond)))
}

// storeFault classifies an error of the store.
func (w *Reconciler) storeFault(err error) error {
	var known *fault.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, store.ErrNotFound):
		return fault.Wrap(fault.NotFound, err, "there is no such case or run")
	default:
		return fault.Wrap(fault.Unavailable, err, "the store cannot be reached; try again")
	}
}
