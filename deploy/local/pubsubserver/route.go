package pubsubserver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/casewatch/casewatch/shared/ctxtime"
)

const (
	maxTaken     = 1000 // messages that a route delivers, or waits to deliver again, at the same time
	rfc3339Milli = "2006-01-02T15:04:05.000Z07:00"
)

var traceParent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// route delivers the messages of one topic to one target.
//
// It is no subscription of pstest, which looks for messages of each subscription every 10 ms. The
// server gives it each message when it is published.
type route struct {
	Route
	s            *Server
	topic        string // full name
	subscription string // full name
	target       string
	notified     chan struct{} // has an element if there may be messages in queue
	taken        chan struct{} // limits the messages that are delivered, or wait to be delivered again
	semaphore    chan struct{} // limits the deliveries at the same time

	mu    sync.Mutex
	queue []*pubsubpb.PubsubMessage // in the order in which they were published
}

func newRoute(s *Server, r Route, topic string, target *url.URL, n int) *route {
	u, kind := *target, "push"
	if !r.Push {
		kind = "eventarc"
		query := target.Query()
		query.Set("__GCP_CloudEventsMode", "CE_PUBSUB_BINDING")
		u.RawQuery = query.Encode()
	}
	r.Audience = cmp.Or(r.Audience, r.Target)
	id := fmt.Sprintf("%s-local-%s-%d", kind, topic[strings.LastIndexByte(topic, '/')+1:], n)
	return &route{
		Route:        r,
		s:            s,
		topic:        topic,
		target:       u.String(),
		subscription: "projects/" + s.opts.Project + "/subscriptions/" + id,
		notified:     make(chan struct{}, 1),
		taken:        make(chan struct{}, maxTaken),
		semaphore:    make(chan struct{}, max(1, s.opts.Concurrency)),
	}
}

// add queues messages. It does not wait.
func (r *route) add(messages []*pubsubpb.PubsubMessage) {
	r.mu.Lock()
	r.queue = append(r.queue, messages...)
	r.mu.Unlock()
	select {
	case r.notified <- struct{}{}:
	default: // a notification is pending already
	}
}

// queued empties the queue and returns what it held.
func (r *route) queued() []*pubsubpb.PubsubMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	messages := r.queue
	r.queue = nil
	return messages
}

// run delivers messages until ctx ends. It returns when all its deliveries have ended.
func (r *route) run(ctx context.Context) {
	var deliveries sync.WaitGroup
	defer deliveries.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.notified:
		}
		for _, m := range r.queued() {
			select {
			case <-ctx.Done():
				return
			case r.taken <- struct{}{}:
			}
			deliveries.Go(func() {
				defer func() { <-r.taken }()
				r.deliver(ctx, m)
			})
		}
	}
}

// deliver repeats the delivery of m until it succeeds or m is older than the retention.
func (r *route) deliver(ctx context.Context, m *pubsubpb.PubsubMessage) {
	log := r.s.opts.Logger.With("topic", r.topic, "message_id", r.s.messageID(m.MessageId))
	body, err := json.Marshal(r.wrap(m))
	if err != nil {
		panic(err) // impossible: strings and bytes can always be encoded
	}
	wait := r.s.opts.MinBackoff
	for attempt := 1; ; attempt++ {
		err := r.attempt(ctx, m, body)
		if ctx.Err() != nil {
			return // the message is lost
		}
		if err == nil {
			return
		}
		if time.Since(m.PublishTime.AsTime()) > r.s.opts.Retention {
			log.ErrorContext(ctx, "pubsub: message dropped after its retention", "attempts", attempt, "error", err)
			return
		}
		log.WarnContext(ctx, "pubsub: delivery failed", "attempt", attempt, "again_in", wait.String(), "error", err)
		// The jitter of up to a fifth spreads the retries of messages that failed at the same time.
		if ctxtime.Sleep(ctx, wait+rand.N(wait/5+1)) != nil {
			return
		}
		wait = min(2*wait, r.s.opts.MaxBackoff)
	}
}

// attempt delivers m once. It returns nil only if the target answered 2xx.
func (r *route) attempt(ctx context.Context, m *pubsubpb.PubsubMessage, body []byte) error {
	select {
	case r.semaphore <- struct{}{}:
		defer func() { <-r.semaphore }()
	case <-ctx.Done():
		return ctx.Err()
	}
	cause := errors.New("no answer within the ack deadline")
	ctx, cancel := context.WithTimeoutCause(ctx, r.s.opts.AckDeadline, cause)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.setHeaders(request.Header, m)
	if r.ServiceAccount != "" {
		token, err := r.s.opts.Signer(ctx, r.ServiceAccount, r.Audience)
		if err != nil {
			return fmt.Errorf("create an ID token of %s: %w", r.ServiceAccount, err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := r.s.http.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // lets the client reuse the connection
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}

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

// pushBody is the body of a delivery (https://cloud.google.com/pubsub/docs/push#wrapped).
type pushBody struct {
	Message      pushMessage `json:"message"`
	Subscription string      `json:"subscription"`
}

// pushMessage is the message in a pushBody. Like Pub/Sub, it has some fields in two spellings.
type pushMessage struct {
	Data             []byte            `json:"data,omitempty"`
	Attributes       map[string]string `json:"attributes"`
	MessageID        string            `json:"messageId"`
	MessageIDSnake   string            `json:"message_id"`
	PublishTime      string            `json:"publishTime"`
	PublishTimeSnake string            `json:"publish_time"`
	OrderingKey      string            `json:"orderingKey,omitempty"`
}

func (r *route) wrap(m *pubsubpb.PubsubMessage) pushBody {
	attributes := m.Attributes
	if attributes == nil {
		attributes = map[string]string{}
	}
	id, at := r.s.messageID(m.MessageId), m.PublishTime.AsTime().UTC().Format(rfc3339Milli)
	return pushBody{
		Message: pushMessage{
			Data:             m.Data,
			Attributes:       attributes,
			MessageID:        id,
			MessageIDSnake:   id,
			PublishTime:      at,
			PublishTimeSnake: at,
			OrderingKey:      m.OrderingKey,
		},
		Subscription: r.subscription,
	}
}
