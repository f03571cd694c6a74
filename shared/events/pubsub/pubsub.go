// Package pubsub publishes events with Google Cloud Pub/Sub.
package pubsub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	apiv1 "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/events"
	"github.com/casewatch/casewatch/shared/printable"
)

// publishTimeout bounds one publication, retries of the client included.
const publishTimeout = 20 * time.Second

// keepaliveTime is how long a connection is quiet before it is asked whether it still is one: an instance may have been without CPU for long.
const keepaliveTime = 5 * time.Minute

// The limits of a message's attributes: how many there may be, and the bytes of a value (https://docs.cloud.google.com/pubsub/quotas#resource_limits).
const (
	maxAttributes     = 100
	maxAttributeValue = 1024
)

// errorAttribute says, on a forwarded message, what is wrong with it.
const errorAttribute = "casewatch-error"

// Config says where to publish.
type Config struct {
	Project         string
	EndedTopic      string
	DeadLetterTopic string // "" if nothing is forwarded
	Source          string // the ce-source of ended events
	EmulatorHost    string // host and port of a server to use instead of Google's, in plain text and without credentials; "" for Google's
}

// Publisher publishes. It is safe for concurrent use, and holds no message once a call has returned: it makes one request for each, since the
// client's own publisher batches, and goes on trying in the background when the caller has given up.
type Publisher struct {
	client     *apiv1.TopicAdminClient
	ended      string // full names of topics
	deadLetter string
	source     string
}

// New opens a client. No connection is made yet; of the context only its values are used.
func New(ctx context.Context, cfg Config) (*Publisher, error) {
	opts := []option.ClientOption{option.WithGRPCDialOption(grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime}))}
	if cfg.EmulatorHost != "" {
		opts = append(opts,
			option.WithEndpoint(cfg.EmulatorHost), option.WithoutAuthentication(), option.WithTelemetryDisabled(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	}
	client, err := apiv1.NewTopicAdminClient(context.WithoutCancel(ctx), opts...)
	if err != nil {
		return nil, fmt.Errorf("open the Pub/Sub client: %w", err)
	}
	topic := func(id string) string { return "projects/" + cfg.Project + "/topics/" + id }
	p := &Publisher{client: client, source: cfg.Source, ended: topic(cfg.EndedTopic)}
	if cfg.DeadLetterTopic != "" {
		p.deadLetter = topic(cfg.DeadLetterTopic)
	}
	return p, nil
}

// PublishEnded publishes the ended event of an ended run and returns when Pub/Sub has it. An error means that it may or may not
// have been published; publishing again is harmless, since the ce-id is the same.
func (p *Publisher) PublishEnded(ctx context.Context, v cases.View, traceParent string) error {
	e, err := events.EncodeEnded(p.source, v, traceParent)
	if err != nil {
		return err
	}
	return p.publish(ctx, p.ended, e.Data, e.Attributes)
}

// ForwardInvalid publishes a message that could not be understood to the dead-letter topic, as it came, with its
// attributes and, as the attribute casewatch-error, what is wrong with it. If it has as many attributes as there may be, the last by
// name makes room.
func (p *Publisher) ForwardInvalid(ctx context.Context, data []byte, attributes map[string]string, why string) error {
	if p.deadLetter == "" {
		return errors.New("no dead-letter topic is set")
	}
	all := maps.Clone(attributes)
	if all == nil {
		all = map[string]string{}
	}
	delete(all, errorAttribute)
	if len(all) >= maxAttributes {
		for _, name := range slices.Sorted(maps.Keys(all))[maxAttributes-1:] {
			delete(all, name)
		}
	}
	all[errorAttribute] = printable.Cut(why, maxAttributeValue)
	if len(data) == 0 {
		data = []byte("null") // a message must carry something
	}
	return p.publish(ctx, p.deadLetter, data, all)
}

func (p *Publisher) publish(ctx context.Context, topic string, data []byte, attributes map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	_, err := p.client.Publish(ctx, &pubsubpb.PublishRequest{Topic: topic, Messages: []*pubsubpb.PubsubMessage{{Data: data, Attributes: attributes}}})
	if err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// Close releases the client. Nothing may be published after or during it.
func (p *Publisher) Close() error { return p.client.Close() }
