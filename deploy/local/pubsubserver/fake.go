package pubsubserver

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"

	"github.com/casewatch/casewatch/shared/ctxtime"
)

// pstest keeps all messages in memory. It is cleared once they take about clearThreshold bytes.
const (
	clearThreshold  = 8 << 20
	messageOverhead = 1 << 10 // an estimate of the memory of a message without its data, in bytes
)

// intercept handles every unary call to the fake. It adds what publish does to a publish request,
// and notes subscriptions that other programs create.
func (s *Server) intercept(
	ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	switch request := request.(type) {
	case *pubsubpb.PublishRequest:
		next := func(ctx context.Context, request *pubsubpb.PublishRequest) (*pubsubpb.PublishResponse, error) {
			answer, err := handle(ctx, request)
			response, _ := answer.(*pubsubpb.PublishResponse)
			return response, err
		}
		return s.publish(ctx, request, next)
	case *pubsubpb.Subscription: // the request of CreateSubscription
		if s.started.Load() {
			// The lock ensures that a clear in progress does not remove messages of the new
			// subscription.
			s.publishing.RLock()
			defer s.publishing.RUnlock()
			s.otherSubscriptions.Store(true)
		}
	}
	return handle(ctx, request)
}

// publishFunc publishes to the fake.
type publishFunc func(context.Context, *pubsubpb.PublishRequest) (*pubsubpb.PublishResponse, error)

// publish publishes to the fake, notifies the topic's routes and makes the message ids unique.
func (s *Server) publish(
	ctx context.Context, request *pubsubpb.PublishRequest, publish publishFunc,
) (*pubsubpb.PublishResponse, error) {
	s.publishing.RLock()
	defer s.publishing.RUnlock()
	response, err := publish(ctx, request)
	if err != nil {
		return nil, err
	}
	for _, m := range request.Messages {
		s.keptBytes.Add(int64(messageOverhead + len(m.Data)))
	}
	for _, r := range s.routes[request.Topic] {
		r.notify()
	}
	for i, id := range response.MessageIds {
		response.MessageIds[i] = s.messageID(id)
	}
	return response, nil
}

// messageID turns an id of pstest into one that looks like an id of Pub/Sub and is unique across
// restarts. pstest counts m0, m1, … from 0 in each process.
func (s *Server) messageID(id string) string {
	n, err := strconv.ParseUint(strings.TrimPrefix(id, "m"), 10, 64)
	if err != nil {
		return fmt.Sprintf("%d-%s", s.epoch, id)
	}
	return fmt.Sprintf("%d%09d", s.epoch, n)
}

// clearLoop clears the fake when it keeps too much, until ctx ends. Each failed try blocks
// publishers for a while, so the interval between tries doubles up to a minute.
func (s *Server) clearLoop(ctx context.Context) {
	interval := time.Second
	for ctxtime.Sleep(ctx, interval) == nil {
		if s.keptBytes.Load() < clearThreshold || s.tryClear(ctx, 500*time.Millisecond) {
			interval = time.Second
		} else {
			interval = min(2*interval, time.Minute)
		}
	}
}

// tryClear removes all messages from the fake if every one of them is acknowledged within timeout,
// and reports whether it did. Publishers wait meanwhile. It never clears once another program has
// created a subscription, because that program may not have read its messages yet.
func (s *Server) tryClear(ctx context.Context, timeout time.Duration) bool {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if s.otherSubscriptions.Load() {
		return false
	}
	for end := time.Now().Add(timeout); !s.allAcked(); {
		if time.Now().After(end) || ctxtime.Sleep(ctx, 20*time.Millisecond) != nil {
			return false
		}
	}
	s.fake.ClearMessages()
	s.keptBytes.Store(0)
	return true
}

func (s *Server) allAcked() bool {
	for _, m := range s.fake.Messages() {
		if m.Acks < len(s.routes[m.Topic]) {
			return false
		}
	}
	return true
}
