// Package complete is the function that receives the pipeline's events. They are messages of a
// Pub/Sub topic. A push subscription sends them as they are, and Eventarc sends them as
// CloudEvents.
//
// The function reads CloudEvents itself. The receiver of the CloudEvents SDK passes all requests
// through one shared channel, and can block for ever after a cancelled request
// (https://github.com/cloudevents/sdk-go/issues/1224).
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

// maxBody is the limit of a request body in bytes. It fits the largest message of Pub/Sub in base64
// (https://docs.cloud.google.com/pubsub/quotas#resource_limits). Eventarc delivers at most 512 KB.
// A message that is larger than an event may be is read all the same, and forwarded as invalid.
const maxBody = 14 << 20

// publishedType is the type of the CloudEvents by which Eventarc delivers Pub/Sub messages.
const publishedType = "google.cloud.pubsub.topic.v1.messagePublished"

// New returns the handler. It responds 2xx when the message needs no further delivery, valid or
// not. It responds 4xx to a request that is no Pub/Sub message at all. It rejects callers that
// [access.Private] rejects, before it reads the body.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	allowed := access.Private(cfg, reconciler.Log(), reconciler.Now)
	return answer.Handler(reconciler.Log(), func(rw http.ResponseWriter, r *http.Request) error {
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

// isEvent reports whether the headers announce a CloudEvent. Otherwise the request is a push. A
// page of another site cannot make a browser send a CloudEvent, because its type and headers need a
// preflight.
func isEvent(r *http.Request) bool {
	for name := range r.Header {
		if strings.HasPrefix(name, "Ce-") {
			return true
		}
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return strings.HasPrefix(mediaType, "application/cloudevents")
}

// pushed is the body of a push (https://cloud.google.com/pubsub/docs/push#wrapped). Eventarc sends
// the same as the data of its CloudEvent.
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

// fromPush reads the message of a push. It requires every field that Pub/Sub always sends.
func fromPush(_ *http.Request, body []byte) (reconcile.Message, error) {
	var p pushed
	err := json.Unmarshal(body, &p)
	if err != nil || p.Message == nil || p.Message.MessageID == "" || p.Message.PublishTime.IsZero() ||
		p.Subscription == "" {
		return reconcile.Message{}, fault.Wrap(fault.Invalid, err,
			"this is not a Pub/Sub push: message.messageId, message.publishTime or subscription is missing or invalid")
	}
	return p.message(), nil
}

// fromEvent reads the message of a CloudEvent. If the message has no id or time, those of the
// CloudEvent are used.
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
