package system_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// deliverAgain has the pipeline's events pushed by the test instead of the emulator, until the test
// ends. The emulator stops pushing for minutes after an endpoint has failed for some seconds;
// Pub/Sub tries again, after a second and at the latest after ten, as the subscription says. It has
// to be called before the functions boot.
func (s *system) deliverAgain() {
	s.t.Helper()
	admin := s.topics.client.SubscriptionAdminClient
	if err := admin.DeleteSubscription(s.t.Context(), &pubsubpb.DeleteSubscriptionRequest{
		Subscription: s.topics.subscription("complete"),
	}); err != nil {
		s.t.Fatal(err)
	}
	s.topics.subscribe(s.t, "events", "pipeline-events", "")
	name := s.topics.subscription("events")
	pushing := &http.Client{Timeout: plain.Timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	ctx, stop := context.WithCancel(context.Background())
	var delivering sync.WaitGroup
	delivering.Go(func() {
		for ctx.Err() == nil {
			pulling, cancel := context.WithTimeout(ctx, 5*time.Second)
			res, err := admin.Pull(pulling, &pubsubpb.PullRequest{Subscription: name, MaxMessages: 100,
				ReturnImmediately: true}) //nolint:staticcheck // to wait would hold the emulator's stream for minutes
			cancel()
			if err != nil || len(res.GetReceivedMessages()) == 0 {
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
				continue
			}
			for _, m := range res.GetReceivedMessages() {
				delivering.Go(func() { s.deliver(ctx, pushing, name, m) })
			}
		}
	})
	s.t.Cleanup(func() { stop(); delivering.Wait(); pushing.CloseIdleConnections() })
}

// deliver pushes a message to complete until it is answered 2xx, and then acknowledges it. What is
// not acknowledged in a minute comes again.
func (s *system) deliver(ctx context.Context, pushing *http.Client, subscription string, m *pubsubpb.ReceivedMessage) {
	body, err := json.Marshal(map[string]any{"subscription": subscription, "message": map[string]any{
		"data": m.GetMessage().GetData(), "attributes": m.GetMessage().GetAttributes(),
		"messageId": m.GetMessage().GetMessageId(), "publishTime": m.GetMessage().GetPublishTime().AsTime(),
	}})
	if err != nil {
		panic(err) // it is made of strings
	}
	to := s.routers["complete"].url
	for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, 10*time.Second) {
		code, _, err := sendBy(ctx, pushing, http.MethodPost, to, string(body),
			"Authorization", s.tokens.bearer(pushAccount, to))
		if err == nil && code < 300 {
			// If this fails, the message comes again, as it may.
			_ = s.topics.client.SubscriptionAdminClient.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{
				Subscription: subscription, AckIds: []string{m.GetAckId()},
			})
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
