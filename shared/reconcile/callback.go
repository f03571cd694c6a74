package reconcile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/textproto"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/events"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
)

// MaxCallback is the largest body of a callback, in bytes.
const MaxCallback = 1 << 20

// Callback is what a pipeline reported at a run's own address.
type Callback struct {
	// Event says that the body is to be read as an event on the topic is. Nothing else of the
	// Callback is set.
	Event   bool
	JobID   string // the job that it names; "" if it names none
	Reading cases.Reading
	Message string // with a terminal status: the pipeline's
	Result  *cases.Result
	Dropped cases.Dropped
	// Fetch says that it reports a success, and that a poll is to fetch the result.
	Fetch bool
}

// CallbackReport is a request to a run's own address, whose token is good.
type CallbackReport struct {
	CaseID string
	Run    int
	Header map[string][]string
	Body   []byte
}

// Callback handles a report of the pipeline on a run. It counts as an event does. One that cannot be
// read, or is about another run or job, is forwarded to the dead-letter topic.
//
// A nil error means that the report is done, whatever it changed. Errors: NotFound, there is no such
// run; Unauthorized, the report is not signed as the pipeline's description asks; Invalid, it is
// forwarded; Unavailable, nothing was recorded, and the report may be repeated.
func (r *Reconciler) Callback(ctx context.Context, report CallbackReport) error {
	c, err := r.store.Get(ctx, report.CaseID, report.Run)
	if err != nil {
		return storeProblem(err)
	}
	ctx = gcplog.WithTrace(ctx, c.TraceParent)
	in, err := r.readCallback(c, report)
	switch {
	case errors.Is(err, ErrSignature):
		return fault.Wrap(fault.Unauthorized, err, "the signature of the report is missing or wrong")
	case err != nil:
		return r.forwardReport(ctx, c, report, err)
	}
	if in.Fetch && !c.State.Ended() {
		in.PendingCheck = r.pendingCheck(ctx, c)
	}
	ch, err := r.apply(ctx, c, in)
	if err != nil {
		return err
	}
	r.log.InfoContext(ctx, "a callback of the pipeline", attrs(ch.after,
		slog.String("status", string(in.Status)),
		slog.String("verdict", string(ch.verdict.Kind)),
		slog.Bool("moved", ch.moved()),
	)...)
	if ch.verdict.Kind == cases.Rejected {
		return r.forwardReport(ctx, c, report, errors.New("it is about another job"))
	}
	if err := r.reconcileReport(ctx, ch); err != nil {
		return err
	}
	if in.PendingCheck > 0 && ch.after.Checks.Seq != ch.before.Checks.Seq && !ch.after.State.Ended() {
		// The new task exists. A delivery of the one that it replaces would do nothing.
		if err := r.queue.Delete(ctx, checkTask(ch.before)); err != nil {
			r.log.WarnContext(ctx, "replaced check not deleted", attrs(c, slog.Any("error", err))...)
		}
	}
	return nil
}

// pendingCheck returns the number of the next check if it is not due soon and its task is pending, so
// that it can be brought forward; else 0, also if the queue cannot say so.
func (r *Reconciler) pendingCheck(ctx context.Context, c cases.Case) int64 {
	pending, err := r.nextCheckPends(ctx, c)
	if err != nil {
		r.log.WarnContext(ctx, "next check not brought forward", attrs(c, slog.Any("error", err))...)
	}
	if !pending || err != nil {
		return 0
	}
	return c.Checks.Seq
}

// readCallback returns a report as the rules take it. The error says why it cannot be read.
func (r *Reconciler) readCallback(c cases.Case, report CallbackReport) (e cases.Event, err error) {
	if r.Rules(c).Gone {
		return e, errors.New(noPipeline(c))
	}
	in, err := r.pipeline.ReadCallback(r.settings(c).Name, report.Header, report.Body)
	if err != nil {
		return e, err
	}
	e = cases.Event{
		ID: report.id(), Callback: true, JobID: in.JobID, Status: in.Reading.Status, Progress: &in.Reading,
		Message: in.Message, Result: in.Result, Dropped: in.Dropped, Fetch: in.Fetch,
	}
	if !in.Event {
		return e, nil
	}
	decoded, err := events.Decode(report.Body)
	switch {
	case err != nil:
		return e, err
	case decoded.CaseID != c.CaseID || decoded.Run != 0 && decoded.Run != c.Run:
		return e, errors.New("it is about another run")
	}
	e.Status, e.Progress, e.Message = decoded.Status, decoded.Progress, decoded.Message
	e.Result, e.Dropped = decoded.Result, decoded.Dropped
	return e, nil
}

// id is the same each time that a report is delivered: the id that Standard Webhooks give it, or a hash
// of its body.
func (report CallbackReport) id() string {
	sum := sha256.Sum256(report.Body)
	given := textproto.MIMEHeader(report.Header).Get("Webhook-Id")
	if len(given) > cases.MaxID {
		given = ""
	}
	return "callback:" + cmp.Or(given, hex.EncodeToString(sum[:16]))
}

// forwardReport forwards a report to the dead-letter topic, where people look at it. The error is
// Invalid, or Unavailable if it could not be forwarded.
func (r *Reconciler) forwardReport(ctx context.Context, c cases.Case, report CallbackReport, why error) error {
	r.log.WarnContext(ctx, "a callback of the pipeline is not valid; forwarding it",
		attrs(c, slog.Int("bytes", len(report.Body)), slog.String("why", why.Error()))...)
	if err := r.events.ForwardInvalid(ctx, report.Body, nil, "callback: "+why.Error()); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the dead-letter topic cannot be reached; try again")
	}
	return fault.New(fault.Invalid, "the report cannot be taken in: %s", why)
}
