package pubsubserver

import (
	"net/http"
	"regexp"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

const rfc3339Milli = "2006-01-02T15:04:05.000Z07:00"

var traceParent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

func (r *route) setHeaders(h http.Header, m *pubsubpb.PubsubMessage) {
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)")
	if !r.Push {
		h.Set("Ce-Specversion", "1.0")
		h.Set("Ce-Id", r.s.messageID(m.MessageId))
		h.Set("Ce-Type", "google.cloud.pubsub.topic.v1.messagePublished")
		h.Set("Ce-Source", "//pubsub.googleapis.com/"+r.topic)
		h.Set("Ce-Time", m.PublishTime.AsTime().UTC().Format(rfc3339Milli))
	}
	for _, name := range []string{"googclient_traceparent", "traceparent"} {
		if t := m.Attributes[name]; traceParent.MatchString(t) {
			h.Set("Traceparent", t)
			return
		}
	}
}

// pushed is the body of a push (https://cloud.google.com/pubsub/docs/push#wrapped).
type pushed struct {
	Message      pushedMessage `json:"message"`
	Subscription string        `json:"subscription"`
}

// pushedMessage has the fields of a message that Pub/Sub spells in two ways in both.
type pushedMessage struct {
	Data             []byte            `json:"data,omitempty"`
	Attributes       map[string]string `json:"attributes"`
	MessageID        string            `json:"messageId"`
	MessageIDSnake   string            `json:"message_id"`
	PublishTime      string            `json:"publishTime"`
	PublishTimeSnake string            `json:"publish_time"`
	OrderingKey      string            `json:"orderingKey,omitempty"`
}

func (r *route) wrap(m *pubsubpb.PubsubMessage) pushed {
	attributes := m.Attributes
	if attributes == nil {
		attributes = map[string]string{}
	}
	id, at := r.s.messageID(m.MessageId), m.PublishTime.AsTime().UTC().Format(rfc3339Milli)
	return pushed{
		Message: pushedMessage{
			Data: m.Data, Attributes: attributes, OrderingKey: m.OrderingKey,
			MessageID: id, MessageIDSnake: id, PublishTime: at, PublishTimeSnake: at,
		},
		Subscription: r.subscription,
	}
}
