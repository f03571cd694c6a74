// Package reconcile takes a run of a case from its start to its end.
//
// # What reconcile means here
//
// Each method of [Reconciler] is one invocation of a function. It loads the record of a run, asks
// [cases.Rules] what follows from what has happened, saves that, and reconciles: it makes the tasks
// in the queue and the ended event agree with the record that it saved.
//
// Reconciling is level-based, as in a Kubernetes controller: what a delivery does depends on the
// record, and not on the task that was delivered. A task only says which run to look at. So a
// delivery that is repeated, late or out of order does no harm:
//
//   - An open run has the task of its next check and, until it is sent to the pipeline, the task of
//     its dispatch. A task's name is derived from the record, so creating it twice creates one.
//   - An ended run is finalized: no task of it is pending, its ended event is published and its end
//     is logged.
//   - A delivery whose sequence number is one behind the record's makes sure that the next tasks
//     exist. One further behind does nothing. One ahead of the record has read an old record, and
//     is repeated.
//
// Between two invocations there is nothing but the record and the tasks.
//
// # The operations
//
// [Reconciler.Start] begins a run. [Reconciler.Dispatch] hands it to the pipeline, and
// [Reconciler.Check] polls the pipeline, until one of these, [Reconciler.Complete],
// [Reconciler.Callback] or [Reconciler.Cancel] ends the run. [Reconciler.Stop] then cancels a job that
// may still be running. [Reconciler.Sweep] repairs what was lost on the way.
// [Reconciler.Read] and [Reconciler.Follow] show the run. For operators there are
// [Reconciler.List], [Reconciler.Detail], [Reconciler.Inspect] and [Reconciler.Rerun].
//
// # The order of effects
//
// No effect comes before the save that justifies it, and each effect may be repeated. A process
// that dies
//
//   - before the save has done nothing. Cloud Tasks or Pub/Sub delivers again.
//   - after it saved an open run, and before the tasks of that run exist, has not answered its
//     delivery. The next delivery of that task is one behind the record, and creates them. If there
//     is none, a repeat of the start creates them, or the sweep does.
//   - after it saved an end, and before it saved that the run is finalized, may have deleted the
//     tasks, published the event and logged. The next delivery for that run does all of it again,
//     or the sweep does. The event then has the same id, the log entry the same insertId.
//   - between the mark of a request in flight and the save of the pipeline's answer leaves the
//     outcome uncertain. The next delivery of the task says so in the record, and checks find out.
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/events"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/overload"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/store"
)

// Pipeline is the client of all described pipelines; a [Job] names its own. But for ReadCallback its
// methods return no error: whatever happens is a part of the outcome. They are safe for concurrent use.
type Pipeline interface {
	// Dispatch hands a run over with one request. It returns when the pipeline has answered, or when
	// it is known that it will not. It leaves Nonce empty.
	Dispatch(ctx context.Context, job Job) cases.DispatchOutcome
	// Poll asks for the progress of a run once. It leaves Seq, BeganAt and ReadVersion empty.
	Poll(ctx context.Context, job Job) cases.CheckOutcome
	// Cancel asks the pipeline once to cancel the job of a run.
	Cancel(ctx context.Context, job Job) cases.CancelOutcome
	// ReadCallback reads what a pipeline reported at a run's own address. The error wraps
	// [ErrSignature] if the report is not signed as the pipeline's description asks; every other
	// error says why the report cannot be read, and repeats nothing of it.
	ReadCallback(pipeline string, header map[string][]string, body []byte) (Callback, error)
}

// ErrSignature is wrapped by the error of [Pipeline].ReadCallback for a report whose signature is
// missing or wrong.
var ErrSignature = errors.New("the report is not signed by the pipeline")

// Job is a run, as the pipeline is asked for it.
type Job struct {
	Pipeline    string // the name of the run's pipeline
	CaseID      string
	Run         int
	ID          string // the job's own name at the pipeline; "" if it is not known, or the case id names it
	Form        []byte // of a dispatch
	CallbackURL string // of a dispatch: where the pipeline may report on the run; "" for nowhere
	TraceParent string
}

// Publisher publishes to the topics. An error means that it is not known whether the message was
// published; it may be published again. Its methods are safe for concurrent use.
type Publisher interface {
	// PublishEnded publishes the ended event of a run.
	PublishEnded(ctx context.Context, v cases.View, traceParent string) error
	// ForwardInvalid publishes a message that is not valid to the dead-letter topic, with the reason.
	ForwardInvalid(ctx context.Context, data []byte, attributes map[string]string, why string) error
}

// Config holds the settings of a Reconciler.
type Config struct {
	// Pipelines are those that are described; the first is the default. None means one of the name
	// "default" that Rules and CaseDeadline describe, and that reports by events.
	Pipelines []PipelineConfig
	// Rules are those of runs whose pipeline is not described any more.
	Rules        cases.Rules
	CaseDeadline time.Duration // of a run whose caller names none
	CheckTimeout time.Duration // the longest that a poll takes
	SweepAtOnce  int           // how many runs a sweep handles at the same time; 0 means one
}

// PipelineConfig holds what is particular to the runs of one pipeline.
type PipelineConfig struct {
	Name        string
	Rules       cases.Rules
	Deadline    time.Duration // of a run whose caller names none
	ReadsEvents bool          // it reports by events on the topic
}

// Deps is what a Reconciler works with. A function gives it only the clients that it uses: Queue and
// Events may be nil where nothing but Read, Follow, List, Detail and CountByState is called, and
// Pipeline where neither Dispatch, Stop, Check nor Callback is. Without a Queue, Follow brings no check forward.
type Deps struct {
	Store    store.Store
	Queue    queue.Queue
	Pipeline Pipeline
	Events   Publisher
	// CallbackURL returns the address at which the pipeline may report on a run, good until a time;
	// nil if there is no such address.
	CallbackURL func(caseID string, run int, until time.Time) string

	Now    func() time.Time // the wall clock
	Jitter func() float64   // from 0 up to 1
	Nonce  func() string    // a new one at each call
	Log    *slog.Logger
}

// Reconciler takes runs from their start to their end. Its methods are safe for concurrent use.
//
// Of a case it holds something only while a viewer is in [Reconciler.Follow]; of all of them, it
// holds the duration statistics as it last read them.
//
// The errors of its methods are [fault.Error]s. Unavailable means that the store, the queue or a
// topic could not be used; the same call may be made again.
type Reconciler struct {
	cfg      Config
	store    store.Store
	queue    queue.Queue
	pipeline Pipeline
	events   Publisher
	callback func(caseID string, run int, until time.Time) string
	clock    func() time.Time
	jitter   func() float64
	nonce    func() string
	log      *slog.Logger

	waits     sharedWaits
	durations cachedDurations
	budget    overload.BestEffort // of best-effort calls of the store and the queue
}

// New returns a Reconciler. The error names each setting and dependency that is missing.
func New(cfg Config, deps Deps) (*Reconciler, error) {
	var problems []error
	for _, need := range []struct {
		name    string
		missing bool
	}{
		{"Store", deps.Store == nil},
		{"Now", deps.Now == nil},
		{"Jitter", deps.Jitter == nil},
		{"Nonce", deps.Nonce == nil},
		{"Log", deps.Log == nil},
		{"Rules", deps.Queue != nil && cfg.Rules.CheckMinInterval <= 0},
		{"CaseDeadline", deps.Events != nil && cfg.CaseDeadline <= 0},
		{"CheckTimeout", deps.Queue != nil && cfg.CheckTimeout <= 0},
	} {
		if need.missing {
			problems = append(problems, errors.New("reconcile: "+need.name+" is missing"))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(cfg.Pipelines) == 0 {
		cfg.Pipelines = []PipelineConfig{{"default", cfg.Rules, cfg.CaseDeadline, true}}
	}
	r := &Reconciler{
		cfg: cfg, store: deps.Store, queue: deps.Queue, pipeline: deps.Pipeline, events: deps.Events,
		callback: deps.CallbackURL,
		clock:    deps.Now, jitter: deps.Jitter, nonce: deps.Nonce, log: deps.Log,
	}
	r.budget.Now, r.budget.AtOnce, r.budget.Pause = r.Now, maxBestEffort, bestEffortPause
	return r, nil
}

// settings returns what is particular to the runs of a run's pipeline. If that is not described any
// more, its rules say so.
func (r *Reconciler) settings(c cases.Case) PipelineConfig {
	if p, ok := r.described(c.Pipeline); ok {
		return p
	}
	gone := PipelineConfig{Name: c.Pipeline, Rules: r.cfg.Rules}
	gone.Rules.Gone = true
	return gone
}

// described returns the pipeline of a name; "" means the default one.
func (r *Reconciler) described(name string) (PipelineConfig, bool) {
	i := slices.IndexFunc(r.cfg.Pipelines, func(p PipelineConfig) bool { return name == "" || p.Name == name })
	if i < 0 {
		return PipelineConfig{}, false
	}
	return r.cfg.Pipelines[i], true
}

// Rules returns the rules by which a run is judged.
func (r *Reconciler) Rules(c cases.Case) cases.Rules { return r.settings(c).Rules }

// job is a run as its pipeline is asked for it.
func (r *Reconciler) job(c cases.Case) Job {
	return Job{
		Pipeline: r.settings(c).Name, CaseID: c.CaseID, Run: c.Run, ID: c.Job.ID, TraceParent: c.TraceParent,
	}
}

// Now returns the time of the clock, in UTC and as precise as every store keeps it.
func (r *Reconciler) Now() time.Time { return r.clock().UTC().Truncate(time.Microsecond) }

// Jitter returns a random number from 0 up to 1.
func (r *Reconciler) Jitter() float64 { return r.jitter() }

// Log returns the log.
func (r *Reconciler) Log() *slog.Logger { return r.log }

// change is what one input made of a record.
type change struct {
	before, after cases.Case
	verdict       cases.Verdict
}

// moved reports whether progress moved. The log lines of checks and events say so: an alert counts
// it to find work that is alive and makes no progress.
func (ch change) moved() bool { return ch.after.Job.MovedAt.After(ch.before.Job.MovedAt) }

// maxTries bounds how many times a change of a record is tried that other invocations change too.
const maxTries = 30

// retryConflicts calls attempt until it returns nil or any error but [store.ErrConflict], and returns
// that. It is the one compare-and-swap loop of the package.
//
// Only a conflict is tried again. It means that another invocation has saved the record since it was
// read: the store answers, and the attempt has to judge what the record has become. An attempt reads
// the record itself; if it was given a record, it reads it again when try is above 0. Any other error
// is returned immediately: Cloud Tasks, Pub/Sub or the caller repeats the invocation.
//
// There are at most maxTries attempts. The pause after each is random: up to 5 ms after the second,
// and growing to up to 50 ms after the eleventh. All pauses together take at most 1.2 s. They end with
// ctx, with its error. After the last conflict the error is Unavailable.
func (r *Reconciler) retryConflicts(ctx context.Context, attempt func(try int) error) error {
	for try := range maxTries {
		if err := attempt(try); !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err := r.pause(ctx, try); err != nil {
			return err
		}
	}
	return fault.New(fault.Unavailable, "the case is changing too fast; try again")
}

// pause is a random sleep that grows with each try, so that many who change one record get through.
// It ends with ctx, with its error.
func (r *Reconciler) pause(ctx context.Context, try int) error {
	return ctxtime.Sleep(ctx, time.Duration(float64(min(try, 10))*r.jitter()*float64(5*time.Millisecond)))
}

// apply saves what follows from an input for a run that was loaded before. If the record has changed
// since, apply loads it again and saves what follows for what it has become.
func (r *Reconciler) apply(ctx context.Context, c cases.Case, in cases.Input) (change, error) {
	var ch change
	err := r.retryConflicts(ctx, func(try int) (err error) {
		if try > 0 {
			if c, err = r.store.Get(ctx, c.CaseID, c.Run); err != nil {
				return err
			}
		}
		ch, err = r.applyOnce(ctx, c, in)
		return err
	})
	return ch, storeProblem(err)
}

// applyOnce saves what follows from an input for a record that was just loaded. The error is the
// store's.
func (r *Reconciler) applyOnce(ctx context.Context, c cases.Case, in cases.Input) (change, error) {
	ch := change{before: c}
	ch.after, ch.verdict = r.Rules(c).Apply(c, in, r.Now(), r.jitter())
	if !ch.verdict.Changed() {
		return ch, nil
	}
	return ch, r.store.Update(ctx, ch.write(in))
}

// write is the change as the store takes it, with the bytes beside the record.
func (ch change) write(in cases.Input) store.Write {
	w := store.Write{Case: ch.after}
	switch ch.verdict.Keep {
	case cases.KeepResult:
		w.Put = map[store.Value][]byte{store.Result: resultOf(in)}
	case cases.KeepLate:
		w.Put = map[store.Value][]byte{store.LateResult: resultOf(in)}
	}
	if ch.verdict.DropForm {
		w.Drop = []store.Value{store.Form}
	}
	return w
}

// resultOf returns the bytes of the result that came with an input.
func resultOf(in cases.Input) []byte {
	switch in := in.(type) {
	case cases.DispatchOutcome:
		return in.Result.Raw
	case cases.CheckOutcome:
		return in.Result.Raw
	case cases.Event:
		return in.Result.Raw
	}
	return nil
}

// reconcile makes the queue and the ended event agree with a change that was saved. delivered is the
// kind of the task whose delivery is being handled, if any: that task ends with its answer.
//
// For an open run an error is Unavailable: the next check may not be scheduled, so the delivery must
// be repeated. An end that cannot be finalized now is logged and left to the sweep. For a run that had
// ended before, reconcile makes sure that its job is cancelled, if that is asked for.
func (r *Reconciler) reconcile(ctx context.Context, ch change, delivered queue.Kind) error {
	r.logUnmapped(ctx, ch)
	if !ch.after.State.Ended() {
		_, err := r.ensureTasks(ctx, ch)
		return err
	}
	if ch.before.State.Ended() {
		return r.ensureStop(ctx, ch)
	}
	r.tryFinalize(ctx, ch.after, delivered)
	return nil
}

// logUnmapped logs a status that the description of the pipeline does not list, once per run and
// status.
func (r *Reconciler) logUnmapped(ctx context.Context, ch change) {
	if now := ch.after.Job.Unmapped; len(now) > len(ch.before.Job.Unmapped) {
		r.log.WarnContext(ctx, "the pipeline gave a status that its description does not list; it counts as running",
			attrs(ch.after, slog.String("status", now[len(now)-1]))...)
	}
}

// tryFinalize finalizes a run that has just ended, or logs why it could not and leaves it to the sweep.
func (r *Reconciler) tryFinalize(ctx context.Context, c cases.Case, delivered queue.Kind) {
	if err := r.finalize(ctx, c, delivered); err != nil {
		r.log.ErrorContext(ctx, "run not finalized; left to the sweep", attrs(c, slog.Any("error", err))...)
	}
}

// ensureTasks makes sure that the tasks exist which an open run waits for since the change: that of
// its next check, and that of its dispatch until the run is sent. For change{after: c} these are all
// tasks of c. It does nothing for a run that has ended.
//
// It reports whether it created the first task of its kind, and so found a run that was recorded and
// not queued. The error is Unavailable.
func (r *Reconciler) ensureTasks(ctx context.Context, ch change) (first bool, err error) {
	c := ch.after
	if c.State.Ended() {
		return false, nil
	}
	if c.Dispatch.Phase == cases.PhaseQueued && c.Dispatch.Seq != ch.before.Dispatch.Seq {
		created, err := r.queue.Create(ctx, dispatchTask(c))
		if err != nil {
			return false, queueProblem(err)
		}
		first = created && c.Dispatch.Seq == 1
	}
	if c.Checks.Seq != ch.before.Checks.Seq {
		created, err := r.queue.Create(ctx, checkTask(c))
		if err != nil {
			return false, queueProblem(err)
		}
		first = first || created && c.Checks.Seq == 1
	}
	return first, nil
}

// finalize deletes the pending tasks of an ended run, creates the one that cancels its job if that
// may be running, publishes and logs its end, and saves that this is done. Until that is saved, all
// steps are repeated by later deliveries or the sweep. delivered is as for reconcile. The error is
// that of the step that failed.
//
// A delivery that saved before the end may create its check just after the deletion. That check is
// delivered, finds the end, and does nothing.
func (r *Reconciler) finalize(ctx context.Context, c cases.Case, delivered queue.Kind) error {
	if delivered != queue.Check {
		if err := r.queue.Delete(ctx, checkTask(c)); err != nil {
			return err
		}
	}
	if c.DispatchMayPend() {
		if err := r.queue.Delete(ctx, dispatchTask(c)); err != nil {
			return err
		}
	}
	if err := r.ensureStop(ctx, change{after: c}); err != nil {
		return err
	}
	view, err := r.view(ctx, c)
	if err != nil {
		return err
	}
	if err := r.events.PublishEnded(ctx, view, c.TraceParent); err != nil {
		return err
	}
	r.logEnd(ctx, c, *view.DurationSeconds)
	ch, err := r.apply(ctx, c, cases.Finalized{})
	if err == nil && ch.verdict.Changed() {
		r.learnDuration(ctx, ch.after)
	}
	return err
}

// logEnd writes the log line of a run's end. If it is written again, Cloud Logging keeps one line,
// since the time is that of the end and the insertId that of the run
// (https://docs.cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry).
func (r *Reconciler) logEnd(ctx context.Context, c cases.Case, seconds float64) {
	line := slog.NewRecord(c.Outcome.EndedAt, slog.LevelInfo, "progress checks ended", 0)
	line.Add(attrs(c,
		slog.String("state", string(c.State)),
		slog.String("reason", string(c.Outcome.End.Reason)),
		slog.String("source", string(c.Outcome.End.Source)),
		slog.Int("checks", c.Checks.Polls),
		slog.Float64("duration_seconds", seconds),
		gcplog.InsertID(events.EndedID(c.CaseID, c.Run)),
	)...)
	_ = r.log.Handler().Handle(ctx, line) // as slog does
}

// finalizeGrace is how old an end must be before another delivery finalizes it. Until then the
// invocation that made the end is probably still at it.
const finalizeGrace = 2 * time.Second

// ensureFinalized finalizes a run that another invocation ended, if that one has not done it within
// finalizeGrace after the end. The error is Unavailable, or NotFound if the run is not kept any more.
func (r *Reconciler) ensureFinalized(ctx context.Context, c cases.Case) error {
	c, err := r.waitFinalized(ctx, c)
	if err != nil {
		return storeProblem(err)
	}
	if c.Bookkeeping.Finalized {
		return nil
	}
	if err := r.finalize(ctx, c, ""); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the run has ended and is not finalized; try again")
	}
	return nil
}

// waitFinalized waits until an ended run is finalized, or finalizeGrace is over, and returns its
// record as it was last read. The error is the store's.
func (r *Reconciler) waitFinalized(ctx context.Context, c cases.Case) (cases.Case, error) {
	grace, cancel := context.WithTimeout(ctx, finalizeGrace-r.Now().Sub(c.Outcome.EndedAt))
	defer cancel()
	for !c.Bookkeeping.Finalized && grace.Err() == nil {
		err := r.store.Wait(grace, c.CaseID, c.Run, c.Version)
		if err != nil && grace.Err() != nil && ctx.Err() == nil {
			break // the grace is over
		}
		if err != nil {
			return c, err
		}
		if c, err = r.store.Get(ctx, c.CaseID, c.Run); err != nil {
			return c, err
		}
	}
	return c, nil
}

// handleNotPending handles the delivery of a task that is not the pending one of the record. It
// reports false for the pending task, which is the caller's to handle.
func (r *Reconciler) handleNotPending(ctx context.Context, c cases.Case, d cases.Delivery) (handled bool, err error) {
	switch d {
	case cases.DeliveryNewer:
		err = fault.New(fault.Unavailable, "the record is older than the task")
	case cases.DeliveryOlder: // the delivery before may have died after its save
		_, err = r.ensureTasks(ctx, change{after: c})
	case cases.DeliveryStale:
	case cases.DeliveryEnded:
		err = r.ensureFinalized(ctx, c)
	case cases.DeliveryCurrent:
		return false, nil
	}
	return true, err
}

// view is the run as readers see it, with its results.
func (r *Reconciler) view(ctx context.Context, c cases.Case) (cases.View, error) {
	var result, late []byte
	var err error
	if c.Outcome.HasResult {
		if result, err = r.store.Value(ctx, c.CaseID, c.Run, store.Result); err != nil {
			return cases.View{}, err
		}
	}
	if c.Outcome.Late != nil && c.Outcome.Late.HasResult {
		if late, err = r.store.Value(ctx, c.CaseID, c.Run, store.LateResult); err != nil {
			return cases.View{}, err
		}
	}
	return c.View(r.Now(), result, late), nil
}

// checkTask is the task of a run's pending check.
func checkTask(c cases.Case) queue.Task {
	return queue.Task{
		Kind: queue.Check, CaseID: c.CaseID, Run: c.Run, Seq: c.Checks.Seq, CreatedAt: c.CreatedAt,
		Pipeline: c.Pipeline, At: c.Checks.NextAt, TraceParent: c.TraceParent,
	}
}

// dispatchTask is the task of a run's pending dispatch.
func dispatchTask(c cases.Case) queue.Task {
	return queue.Task{
		Kind: queue.Dispatch, CaseID: c.CaseID, Run: c.Run, Seq: c.Dispatch.Seq, CreatedAt: c.CreatedAt,
		Pipeline: c.Pipeline, At: c.Dispatch.At, TraceParent: c.TraceParent,
	}
}

// storeProblem classifies an error of the store. An error that is classified already stays as it is.
func storeProblem(err error) error {
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

// queueProblem classifies an error of the queue.
func queueProblem(err error) error {
	return fault.Wrap(fault.Unavailable, err, "the queue cannot be reached; try again")
}

// attrs are the attributes of every log line about a run.
func attrs(c cases.Case, more ...any) []any {
	return append([]any{
		slog.String("case_id", c.CaseID), slog.Int("run", c.Run), slog.String("pipeline", c.Pipeline),
	}, more...)
}
