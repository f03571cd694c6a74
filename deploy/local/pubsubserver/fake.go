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

// enoughKept is how many bytes pstest may keep before it is worth clearing. What a message weighs
// besides its data is a guess.
const (
	enoughKept    = 8 << 20
	messageWeight = 1 << 10
)

// intercept sees every unary call to the fake.
func (s *Server) intercept(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	switch request := request.(type) {
	case *pubsubpb.PublishRequest:
		return s.publish(ctx, request, func(ctx context.Context, request *pubsubpb.PublishRequest) (*pubsubpb.PublishResponse, error) {
			answer, err := handle(ctx, request)
			response, _ := answer.(*pubsubpb.PublishResponse)
			return response, err
		})
	case *pubsubpb.Subscription: // CreateSubscription
		if s.started.Load() {
			// Under the lock, so that no clearing that has begun takes messages from the new
			// subscription.
			s.gate.RLock()
			defer s.gate.RUnlock()
			s.foreign.Store(true)
		}
	}
	return handle(ctx, request)
}

// publisher is the fake's method, called by gRPC or by the door.
type publisher func(context.Context, *pubsubpb.PublishRequest) (*pubsubpb.PublishResponse, error)

func (s *Server) publish(ctx context.Context, request *pubsubpb.PublishRequest, publish publisher) (*pubsubpb.PublishResponse, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	response, err := publish(ctx, request)
	if err != nil {
		return nil, err
	}
	for _, m := range request.Messages {
		s.kept.Add(int64(messageWeight + len(m.Data)))
	}
	for _, r := range s.routes[request.Topic] {
		r.awaken()
	}
	for i, id := range response.MessageIds {
		response.MessageIds[i] = s.messageID(id)
	}
	return response, nil
}

// messageID turns pstest's id, m0 or m1 and so on in each process, into one that looks like
// Pub/Sub's and does not come again.
func (s *Server) messageID(id string) string {
	n, err := strconv.ParseUint(strings.TrimPrefix(id, "m"), 10, 64)
	if err != nil {
		return fmt.Sprintf("%d-%s", s.epoch, id)
	}
	return fmt.Sprintf("%d%09d", s.epoch, n)
}

// clean clears the fake now and then. While that does not succeed, because something is always
// under way, it tries less and less often: each try makes publishers wait.
func (s *Server) clean(ctx context.Context) {
	wait := time.Second
	for ctxtime.Sleep(ctx, wait) == nil {
		switch {
		case s.kept.Load() < enoughKept:
			wait = time.Second
		case s.clear(ctx, 500*time.Millisecond):
			wait = time.Second
		default:
			wait = min(2*wait, time.Minute)
		}
	}
}

// clear makes the fake forget its messages if, within patience, there comes a moment when all of
// them are acknowledged. Nothing is published meanwhile.
func (s *Server) clear(ctx context.Context, patience time.Duration) bool {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.foreign.Load() {
		return false // its messages may be unread, and clearing would take them away
	}
	for end := time.Now().Add(patience); !s.allAcked(); {
		if time.Now().After(end) || ctxtime.Sleep(ctx, 20*time.Millisecond) != nil {
			return false
		}
	}
	s.fake.ClearMessages()
	s.kept.Store(0)
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
