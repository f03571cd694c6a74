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
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/casewatch/casewatch/shared/ctxtime"
)

const (
	leaseSeconds = 600 // Pub/Sub's longest ack deadline
	maxHeld      = 1000
)

// route delivers the messages of one subscription.
//
// It pulls with single requests, woken by whoever publishes, rather than with a stream: a stream
// whose reader is slow makes pstest wait for it with the lock of the whole server held.
type route struct {
	Route        // as it was asked for
	s            *Server
	topic        string // full name
	subscription string // full name
	target       string
	wake         chan struct{} // holds one token when there may be something to pull
	slots        chan struct{} // one token per delivery under way

	mu   sync.Mutex
	held map[string]string // pstest's id of each message being delivered -> the ack id of its newest lease
}

func newRoute(s *Server, r Route, topic string, target *url.URL, n int) *route {
	u, by := *target, "push"
	if !r.Push {
		by = "eventarc"
		query := target.Query()
		query.Set("__GCP_CloudEventsMode", "CE_PUBSUB_BINDING")
		u.RawQuery = query.Encode()
	}
	r.Audience = cmp.Or(r.Audience, r.Target)
	return &route{
		Route: r, s: s, topic: topic, target: u.String(),
		subscription: fmt.Sprintf("projects/%s/subscriptions/%s-local-%s-%d", s.opts.Project, by, topic[strings.LastIndexByte(topic, '/')+1:], n),
		wake:         make(chan struct{}, 1),
		slots:        make(chan struct{}, max(1, s.opts.Concurrency)),
		held:         map[string]string{},
	}
}

func (r *route) awaken() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// pull takes what is there whenever it is woken, until ctx ends and every delivery has ended too.
func (r *route) pull(ctx context.Context) {
	var deliveries sync.WaitGroup
	defer deliveries.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-time.After(30 * time.Second): // a lease may have lapsed, after the machine slept for example
		}
		for room := r.room(); room > 0; room = r.room() {
			response, err := r.s.client.SubscriptionAdminClient.Pull(ctx, &pubsubpb.PullRequest{
				Subscription: r.subscription,
				MaxMessages:  int32(room),
				// We are told when there is something, and must not wait for more.
				ReturnImmediately: true, //nolint:staticcheck // deprecated for callers that poll
			})
			if err != nil {
				if ctx.Err() == nil {
					r.s.opts.Logger.WarnContext(ctx, "pubsub: pull failed", "subscription", r.subscription, "error", err)
				}
				break
			}
			if len(response.ReceivedMessages) == 0 {
				break
			}
			for _, m := range response.ReceivedMessages {
				if r.hold(m) {
					deliveries.Go(func() { r.deliver(ctx, m.Message) })
				}
			}
		}
	}
}

func (r *route) room() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maxHeld - len(r.held)
}

// hold notes the newest lease of a message, and reports whether it is not being delivered already.
func (r *route) hold(m *pubsubpb.ReceivedMessage) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, before := r.held[m.Message.MessageId]
	r.held[m.Message.MessageId] = m.AckId
	return !before
}

func (r *route) ackID(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[id]
}

// deliver repeats the delivery of m until it is taken or too old, and acknowledges it. The message
// stays leased all the while, since pstest drops one that has not been for ten minutes.
func (r *route) deliver(ctx context.Context, m *pubsubpb.PubsubMessage) {
	defer func() {
		r.mu.Lock()
		delete(r.held, m.MessageId)
		r.mu.Unlock()
		r.awaken() // there is room again
	}()
	log := r.s.opts.Logger.With("topic", r.topic, "message_id", r.s.messageID(m.MessageId))
	body, err := json.Marshal(r.wrap(m))
	if err != nil {
		panic(err) // strings and bytes always encode
	}
	wait := r.s.opts.MinBackoff
	for attempt := 1; ; attempt++ {
		err := r.attempt(ctx, m, body)
		if ctx.Err() != nil {
			return // not acknowledged
		}
		if err == nil {
			break
		}
		if time.Since(m.PublishTime.AsTime()) > r.s.opts.Retention {
			log.ErrorContext(ctx, "pubsub: message given up", "attempts", attempt, "error", err)
			break
		}
		log.WarnContext(ctx, "pubsub: delivery failed", "attempt", attempt, "again_in", wait.String(), "error", err)
		// Up to a fifth more, so that a burst that failed together does not come back together.
		if ctxtime.Sleep(ctx, wait+rand.N(wait/5+1)) != nil {
			return
		}
		wait = min(2*wait, r.s.opts.MaxBackoff)
	}
	err = r.s.client.SubscriptionAdminClient.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{
		Subscription: r.subscription, AckIds: []string{r.ackID(m.MessageId)},
	})
	if err != nil && ctx.Err() == nil {
		log.WarnContext(ctx, "pubsub: not acknowledged; it will be delivered again", "error", err)
	}
}

// attempt delivers m once. nil means that it was answered 2xx.
func (r *route) attempt(ctx context.Context, m *pubsubpb.PubsubMessage, body []byte) error {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := r.s.client.SubscriptionAdminClient.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
		Subscription: r.subscription, AckIds: []string{r.ackID(m.MessageId)}, AckDeadlineSeconds: leaseSeconds,
	})
	if err != nil {
		return fmt.Errorf("extend the lease: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.s.opts.AckDeadline, errors.New("no answer within the ack deadline"))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.setHeaders(request.Header, m)
	if r.ServiceAccount != "" {
		token, err := r.s.opts.Signer(ctx, r.ServiceAccount, r.Audience)
		if err != nil {
			return fmt.Errorf("no token for %s: %w", r.ServiceAccount, err)
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
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // so that the connection can be used again
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}
