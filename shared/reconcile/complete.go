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
	ID         string    // the same for each delivery
	Published  time.Time // when Pub/Sub took it; zero if not known
	Data       []byte
	Attributes map[string]string
}

// maxRunsBack bounds how many runs back an event that names none is looked for.
const maxRunsBack = 20

// Complete handles the delivery of an event of the pipeline. What is not valid is logged and forwarded to the dead-letter topic.
//
// A nil error means that the message is done with, whatever came of it; Unavailable that it is to be repeated.
func (w *Reconciler) Complete(ctx context.Context, m Message) error {
	in, err := events.Decode(m.Data)
	if err != nil {
		return w.forwardInvalid(ctx, m, err)
	}
	c, sure, err := w.addressee(ctx, in, m.Published)
	if errors.Is(err, store.ErrNotFound) {
		w.log.WarnContext(ctx, "an event of the pipeline is about no run that is kept", "case_id", in.CaseID, "run", in.Run, "status", string(in.Status), "message_id", m.ID)
		return nil
	}
	if err != nil {
		return w.storeFault(err)
	}
	ctx = gcplog.WithTrace(ctx, c.TraceParent)
	event := cases.Event{ID: "event:" + m.ID, Unattributed: !sure, Status: in.Status, Progress: in.Progress, Message: in.Message, Result: in.Result}
	ch, err := w.apply(ctx, c, event)
	if err != nil {
		return err
	}
	w.log.InfoContext(ctx, "an event of the pipeline", attrs(ch.after, slog.String("status", string(in.Status)), slog.String("verdict", string(ch.verdict.Kind)), slog.Bool("moved", ch.moved()), slog.String("message_id", m.ID))...)
	if ch.before.State.Ended() {
		return w.heal(ctx, ch.after) // the delivery before, or whoever ended it, may have died after its save
	}
	return w.settle(ctx, ch, "")
}

// addressee returns the run that an event is about, and whether that is sure. An event without a run is the current run's if
// it can only be that; else it may be a report of an ended run that has none, and belongs to the newest such.
func (w *Reconciler) addressee(ctx context.Context, in events.Incoming, published time.Time) (cases.Case, bool, error) {
	if in.Run > 0 {
		c, err := w.store.Get(ctx, in.CaseID, in.Run)
		return c, true, err
	}
	_, c, err := w.store.Current(ctx, in.CaseID)
	if err != nil {
		return cases.Case{}, false, err
	}
	if c.OwnsUnattributed(published) {
		return c, true, nil
	}
	for range maxRunsBack {
		if c.State.Ended() && c.MayOwn(published) {
			return c, false, nil
		}
		if c, err = w.store.Get(ctx, in.CaseID, c.Run-1); err != nil {
			return cases.Case{}, false, err
		}
	}
	return cases.Case{}, false, store.ErrNotFound
}

// forwardInvalid gives a message that is not valid to the dead-letter topic, where people look at it. The error is Unavailable: the message is to
// be delivered again.
func (w *Reconciler) forwardInvalid(ctx context.Context, m Message, why error) error {
	w.log.WarnContext(ctx, "an event of the pipeline is not valid; forwarding it", "message_id", m.ID, "bytes", len(m.Data), "why", why.Error())
	if err := w.events.ForwardInvalid(ctx, m.Data, m.Attributes, why.Error()); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the dead-letter topic cannot be reached; try again")
	}
	return nil
}
