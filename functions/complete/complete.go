// Package complete is the function that takes in the pipeline's events: messages of a Pub/Sub topic, pushed by a subscription of one's own, or by
// Eventarc as CloudEvents.
//
// It is an HTTP function that reads its CloudEvent itself: the receiver of the CloudEvents SDK hands requests over one shared channel, and
// after a cancelled one may hang for good (https://github.com/cloudevents/sdk-go/issues/1224).
package complete

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// maxBody holds the largest message that Pub/Sub takes, in base64 (https://docs.cloud.google.com/pubsub/quotas#resource_limits).
// Eventarc delivers at most 512 KB; what is larger than an event may be is forwarded as invalid all the same.
const maxBody = 14 << 20

// publishedType is the type of the CloudEvents that Eventarc makes of messages.
const publishedType = "google.cloud.pubsub.topic.v1.messagePublished"

// New returns the function. It answers 2xx when the message is done with, whatever came of it. 4xx is for what is no
// message of Pub/Sub at all, and reaches only a caller who made it up. It refuses other callers than the settings name, before it reads what they send.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	allowed := access.Private(cfg, reconciler.Log, reconciler.Now)
	return answer.Handler(reconciler.Log, func(rw http.ResponseWriter, r *http.Request) error {
		if err := allowed(r); err != nil {
			return err
		}
		event := isEvent(r)
		if !event {
			if err := answer.RequireJSONIfAny(r); err != nil {
				return err
			}
		}
		body, err := answer.Body(rw, r, maxBody)
		if err != nil {
			return err
		}
		read := fromPush
		if event {
			read = fromEvent
		}
		m, err := read(r, body)
		if err != nil {
			return err
		}
		if err := reconciler.Complete(r.Context(), m); err != nil {
			return err
		}
		rw.WriteHeader(http.StatusNoContent)
		return nil
	}, http.MethodPost)
}

// isEvent reports whether anything says that a CloudEvent was sent. Else it is a push. No page can have a browser send a
// CloudEvent to another site: neither its type nor its headers are among those that need no asking.
func isEvent(r *http.Request) bool {
	for name := range r.Header {
		if strings.HasPrefix(name, "Ce-") {
			return true
		}
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return strings.HasPrefix(mediaType, "application/cloudevents")
}

// pushed is the body of a push (https://cloud.google.com/pubsub/docs/push#wrapped), which Eventarc sends on as the data of its CloudEvent.
type pushed struct {
	Message *struct {
		Data        []byte            `json:"data"`
		Attributes  map[string]string `json:"attributes"`
		MessageID   string            `json:"messageId"`
		PublishTime time.Time         `json:"publishTime"`
	} `json:"message"`
	Subscription string `json:"subscription"`
}

func (p pushed) message() reconcile.Message {
	m := p.Message
	return reconcile.Message{ID: m.MessageID, Published: m.PublishTime, Data: m.Data, Attributes: m.Attributes}
}

// fromPush takes what Pub/Sub always sends for granted, so that nothing else passes for it.
func fromPush(_ *http.Request, body []byte) (reconcile.Message, error) {
	var p pushed
	err := json.Unmarshal(body, &p)
	if err != nil || p.Message == nil || p.Message.MessageID == "" || p.Message.PublishTime.IsZero() || p.Subscription == "" {
		return reconcile.Message{}, fault.Wrap(fault.Invalid, err, "this is not a push of Pub/Sub, with a message that has its id and time, and its subscription")
	}
	return p.message(), nil
}

// fromEvent reads the message out of a CloudEvent, whose id and time stand for the message's own where it has none.
func fromEvent(r *http.Request, body []byte) (reconcile.Message, error) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	event, err := cloudevents.NewEventFromHTTPRequest(r)
	if err != nil {
		return reconcile.Message{}, fault.Wrap(fault.Invalid, err, "this is not a CloudEvent")
	}
	if event.Type() != publishedType {
		return reconcile.Message{}, fault.New(fault.Invalid, "this is not an event of type %s", publishedType)
	}
	var p pushed
	if err := json.Unmarshal(event.Data(), &p); err != nil || p.Message == nil {
		return reconcile.Message{}, fault.Wrap(fault.Invalid, err, "this is not a message of Pub/Sub")
	}
	m := p.message()
	if m.ID == "" {
		m.ID = event.ID()
	}
	if m.Published.IsZero() {
		m.Published = event.Time()
	}
	return m, nil
}
