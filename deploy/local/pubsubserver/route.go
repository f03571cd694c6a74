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
	leaseSeconds = 600  // the longest ack deadline of Pub/Sub
	maxLeased    = 1000 // messages that a route delivers, or waits to deliver again, at the same time
	rfc3339Milli = "2006-01-02T15:04:05.000Z07:00"
)

var traceParent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// route delivers the messages of one subscription.
//
// It pulls with a single request each time that a message is published. It does not use a streaming
// pull: for a slow reader pstest would hold the lock of the whole server.
type route struct {
	Route
	s            *Server
	topic        string // full name
	subscription string // full name
	target       string
	notified     chan struct{} // has an element if there may be messages to pull
	semaphore    chan struct{} // limits the deliveries at the same time

	mu     sync.Mutex
	leases map[string]string // from pstest's id of a message in delivery to the ack id of its newest lease
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
		semaphore:    make(chan struct{}, max(1, s.opts.Concurrency)),
		leases:       map[string]string{},
	}
}

// notify has pull look for messages.
func (r *route) notify() {
	select {
	case r.notified <- struct{}{}:
	default: // a notification is pending already
	}
}

// pull pulls and delivers messages each time that it is notified, until ctx ends. It returns when
// all its deliveries have ended.
func (r *route) pull(ctx context.Context) {
	var deliveries sync.WaitGroup
	defer deliveries.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.notified:
		case <-time.After(30 * time.Second): // a lease can expire without a notification
		}
		for n := r.capacity(); n > 0; n = r.capacity() {
			response, err := r.s.client.SubscriptionAdminClient.Pull(ctx, &pubsubpb.PullRequest{
				Subscription: r.subscription,
				MaxMessages:  int32(n),
				// A notification says when there are messages, so there is no need to wait for
				// them.
				ReturnImmediately: true, //nolint:staticcheck // deprecated for callers that poll
			})
			if err != nil {
				if ctx.Err() == nil {
					r.s.opts.Logger.WarnContext(ctx, "pubsub: pull failed",
						"subscription", r.subscription, "error", err)
				}
				break
			}
			if len(response.ReceivedMessages) == 0 {
				break
			}
			for _, m := range response.ReceivedMessages {
				if r.recordLease(m) {
					deliveries.Go(func() { r.deliver(ctx, m.Message) })
				}
			}
		}
	}
}

// capacity returns how many more messages the route can take.
func (r *route) capacity() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maxLeased - len(r.leases)
}

// recordLease stores the newest lease of a message, and reports whether the message is new, so that
// its delivery must be started.
func (r *route) recordLease(m *pubsubpb.ReceivedMessage) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.leases[m.Message.MessageId]
	r.leases[m.Message.MessageId] = m.AckId
	return !known
}

func (r *route) ackID(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leases[id]
}

// deliver repeats the delivery of m until it succeeds or m is older than the retention. Then it
// acknowledges m. Each attempt extends the lease, because pstest drops a message that is not leased
// for ten minutes.
func (r *route) deliver(ctx context.Context, m *pubsubpb.PubsubMessage) {
	defer func() {
		r.mu.Lock()
		delete(r.leases, m.MessageId)
		r.mu.Unlock()
		r.notify() // the capacity has grown
	}()
	log := r.s.opts.Logger.With("topic", r.topic, "message_id", r.s.messageID(m.MessageId))
	body, err := json.Marshal(r.wrap(m))
	if err != nil {
		panic(err) // impossible: strings and bytes can always be encoded
	}
	wait := r.s.opts.MinBackoff
	for attempt := 1; ; attempt++ {
		err := r.attempt(ctx, m, body)
		if ctx.Err() != nil {
			return // without an acknowledgement
		}
		if err == nil {
			break
		}
		if time.Since(m.PublishTime.AsTime()) > r.s.opts.Retention {
			log.ErrorContext(ctx, "pubsub: message dropped after its retention", "attempts", attempt, "error", err)
			break
		}
		log.WarnContext(ctx, "pubsub: delivery failed", "attempt", attempt, "again_in", wait.String(), "error", err)
		// The jitter of up to a fifth spreads the retries of messages that failed at the same time.
		if ctxtime.Sleep(ctx, wait+rand.N(wait/5+1)) != nil {
			return
		}
		wait = min(2*wait, r.s.opts.MaxBackoff)
	}
	err = r.s.client.SubscriptionAdminClient.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{
		Subscription: r.subscription, AckIds: []string{r.ackID(m.MessageId)},
	})
	if err != nil && ctx.Err() == nil {
		log.WarnContext(ctx, "pubsub: acknowledgement failed", "error", err) // m is delivered again
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
	err := r.s.client.SubscriptionAdminClient.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
		Subscription: r.subscription, AckIds: []string{r.ackID(m.MessageId)}, AckDeadlineSeconds: leaseSeconds,
	})
	if err != nil {
		return fmt.Errorf("extend the lease: %w", err)
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
