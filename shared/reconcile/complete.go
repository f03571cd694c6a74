package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/events"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/store"
)

// Message is a message of the pipeline as Pub/Sub delivers it.
type Message struct {
	ID         string    // the same at each delivery
	Published  time.Time // when Pub/Sub took it; zero if that is not known
	Data       []byte
	Attributes map[string]string
}

// Complete handles the delivery of an event of the pipeline. An event that is not valid is logged and
// forwarded to the dead-letter topic. One about a run that is not kept is logged.
//
// A nil error means that the message is done, whatever the event changed. Unavailable means that it is
// to be delivered again.
func (r *Reconciler) Complete(ctx context.Context, m Message) error {
	in, err := events.Decode(m.Data)
	if err != nil {
		return r.forwardInvalid(ctx, m, err)
	}
	c, attributed, err := r.runOf(ctx, in, m.Published)
	if errors.Is(err, store.ErrNotFound) {
		r.log.WarnContext(ctx, "an event of the pipeline is about no run that is kept",
			"case_id", in.CaseID, "run", in.Run, "status", string(in.Status), "message_id", m.ID)
		return nil
	}
	if err != nil {
		return storeProblem(err)
	}
	ctx = gcplog.WithTrace(ctx, c.TraceParent)
	if !r.settings(c).ReadsEvents {
		r.log.WarnContext(ctx, "an event on the topic is about a run whose pipeline does not report there",
			attrs(c, slog.String("message_id", m.ID))...)
		return nil
	}
	ch, err := r.apply(ctx, c, cases.Event{
		ID: "event:" + m.ID, Unattributed: !attributed,
		Status: in.Status, Progress: in.Progress, Message: in.Message, Result: in.Result,
		Dropped: in.Dropped,
	})
	if err != nil {
		return err
	}
	r.log.InfoContext(ctx, "an event of the pipeline", attrs(ch.after,
		slog.String("status", string(in.Status)),
		slog.String("verdict", string(ch.verdict.Kind)),
		slog.Bool("moved", ch.moved()),
		slog.String("message_id", m.ID),
	)...)
	return r.reconcileReport(ctx, ch)
}

// reconcileReport reconciles after a report of the pipeline was taken in. Whoever ended the run, perhaps
// an earlier delivery of the same report, may have died after its save.
func (r *Reconciler) reconcileReport(ctx context.Context, ch change) error {
	if ch.before.State.Ended() {
		return r.ensureFinalized(ctx, ch.after)
	}
	return r.reconcile(ctx, ch, "")
}

// maxRunsBack bounds how many runs of a case are read to find that of an event which names none.
const maxRunsBack = 20

// runOf returns the run that an event is about, and whether the event is attributed to it: it names the
// run, or can be about no other. An event that names no run and may be about several belongs to the
// newest run that has ended without a terminal report of its own, unattributed. The error is the
// store's: ErrNotFound if there is no such run.
func (r *Reconciler) runOf(ctx context.Context, in events.Incoming, published time.Time) (
	c cases.Case, attributed bool, err error,
) {
	if in.Run > 0 {
		c, err = r.store.Get(ctx, in.CaseID, in.Run)
		return c, true, err
	}
	if _, c, err = r.store.Current(ctx, in.CaseID); err != nil {
		return cases.Case{}, false, err
	}
	if c.OwnsUnattributed(published) {
		return c, true, nil
	}
	for range maxRunsBack {
		if c.State.Ended() && c.MayOwn(published) {
			return c, false, nil
		}
		if c, err = r.store.Get(ctx, in.CaseID, c.Run-1); err != nil {
			return cases.Case{}, false, err
		}
	}
	return cases.Case{}, false, store.ErrNotFound
}

// forwardInvalid forwards a message that is not valid to the dead-letter topic, where people look at it.
// The error is Unavailable: the message is to be delivered again.
func (r *Reconciler) forwardInvalid(ctx context.Context, m Message, why error) error {
	r.log.WarnContext(ctx, "an event of the pipeline is not valid; forwarding it",
		"message_id", m.ID, "bytes", len(m.Data), "why", why.Error())
	if err := r.events.ForwardInvalid(ctx, m.Data, m.Attributes, why.Error()); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the dead-letter topic cannot be reached; try again")
	}
	return nil
}
