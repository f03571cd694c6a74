// Package complete is the function that takes in the pipeline's events, called by Eventarc with messages of a Pub/Sub topic.
//
// It is an HTTP function that reads its CloudEvent itself: the receiver of the CloudEvents SDK hands requests over one shared channel, and
// after a cancelled one may hang for good (https://github.com/cloudevents/sdk-go/issues/1224).
package complete

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"

	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/watch"
)

// maxBody holds the largest message that Pub/Sub takes, in base64 (https://docs.cloud.google.com/pubsub/quotas#resource_limits).
// Eventarc delivers at most 512 KB; what is larger than an event may be is forwarded as invalid all the same.
const maxBody = 14 << 20

// publishedType is the type of the CloudEvents that Eventarc makes of messages.
const publishedType = "google.cloud.pubsub.topic.v1.messagePublished"

// New returns the function. It answers 2xx when the message is done with, whatever came of it. 4xx is for what is no
// message of Pub/Sub at all, and reaches only a caller who made it up.
func New(_ *config.Config, w *watch.Watcher) http.Handler {
	return answer.Handler(w.Log, func(rw http.ResponseWriter, r *http.Request) error {
		body, err := answer.Body(rw, r, maxBody)
		if err != nil {
			return err
		}
		m, err := decode(r, body)
		if err != nil {
			return err
		}
		if err := w.Complete(r.Context(), m); err != nil {
			return err
		}
		rw.WriteHeader(http.StatusNoContent)
		return nil
	}, http.MethodPost)
}

// decode reads the message out of the CloudEvent.
func decode(r *http.Request, body []byte) (watch.Message, error) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	event, err := cloudevents.NewEventFromHTTPRequest(r)
	if err != nil {
		return watch.Message{}, fault.Wrap(fault.Invalid, err, "this is not a CloudEvent")
	}
	if event.Type() != publishedType {
		return watch.Message{}, fault.New(fault.Invalid, "this is not an event of type %s", publishedType)
	}
	var data struct {
		Message *struct {
			Data        []byte            `json:"data"`
			Attributes  map[string]string `json:"attributes"`
			MessageID   string            `json:"messageId"`
			PublishTime time.Time         `json:"publishTime"`
		} `json:"message"`
	}
	if err := json.Unmarshal(event.Data(), &data); err != nil || data.Message == nil {
		return watch.Message{}, fault.Wrap(fault.Invalid, err, "this is not a message of Pub/Sub")
	}
	m := watch.Message{ID: data.Message.MessageID, Published: data.Message.PublishTime, Data: data.Message.Data, Attributes: data.Message.Attributes}
	if m.ID == "" {
		m.ID = event.ID()
	}
	if m.Published.IsZero() {
		m.Published = event.Time()
	}
	return m, nil
}
