package pubsubserver

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
)

// pstest keeps all messages in memory. It is cleared once they take about clearThreshold bytes.
const (
	clearThreshold  = 8 << 20
	messageOverhead = 1 << 10 // an estimate of the memory of a message without its data, in bytes
)

// intercept handles every unary call to the fake. It adds what publish does to a publish request,
// and notes that a program has created a subscription.
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
		// The lock ensures that a clear in progress does not remove messages of the new
		// subscription.
		s.publishing.RLock()
		defer s.publishing.RUnlock()
		s.subscribed.Store(true)
	}
	return handle(ctx, request)
}

// publishFunc publishes to the fake.
type publishFunc func(context.Context, *pubsubpb.PublishRequest) (*pubsubpb.PublishResponse, error)

// publish publishes to the fake, gives the messages to the topic's routes and makes the message ids
// unique.
func (s *Server) publish(
	ctx context.Context, request *pubsubpb.PublishRequest, publish publishFunc,
) (*pubsubpb.PublishResponse, error) {
	s.publishing.RLock()
	response, err := publish(ctx, request) // it writes id and time into the messages
	s.publishing.RUnlock()
	if err != nil {
		return nil, err
	}
	for _, r := range s.routes[request.Topic] {
		r.add(request.Messages)
	}
	size := 0
	for _, m := range request.Messages {
		size += messageOverhead + len(m.Data)
	}
	if s.keptBytes.Add(int64(size)) >= clearThreshold {
		s.clear()
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

// clear removes all messages from the fake. The routes have theirs. It never clears once a program
// has created a subscription, because that program may not have read its messages yet.
func (s *Server) clear() {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if !s.subscribed.Load() {
		s.fake.ClearMessages()
		s.keptBytes.Store(0)
	}
}
