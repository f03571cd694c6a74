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

// publishTimeout bounds one publication, including the client's retries.
const publishTimeout = 20 * time.Second

// keepaliveTime is how long a connection may be quiet before a ping checks it. An instance may have
// had no CPU for a long time.
const keepaliveTime = 5 * time.Minute

// These are the limits of the attributes of a message
// (https://docs.cloud.google.com/pubsub/quotas#resource_limits).
const (
	maxAttributes     = 100
	maxAttributeValue = 1024 // bytes
)

// errorAttribute is the attribute of a forwarded message that says what is wrong with it.
const errorAttribute = "casewatch-error"

// Config describes where to publish.
type Config struct {
	Project         string
	EndedTopic      string
	DeadLetterTopic string // "" if nothing is forwarded
	Source          string // the ce-source of ended events
	// EmulatorHost is the host and port of a server that replaces Google's, in plain text and
	// without credentials. Empty means Google's service.
	EmulatorHost string
}

// Publisher publishes events. It is safe for concurrent use, and keeps no message after a call has
// returned. It sends one request for each message. The client's own publisher does not fit: it
// collects batches, and goes on in the background after the caller has given up.
type Publisher struct {
	client     *apiv1.TopicAdminClient
	ended      string // full names of topics
	deadLetter string
	source     string
}

// New opens a client. It makes no connection yet. Of ctx it uses only the values.
func New(ctx context.Context, cfg Config) (*Publisher, error) {
	opts := []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime})),
	}
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

// PublishEnded publishes the ended event of a run. It returns when Pub/Sub has stored the event.
// After an error it is not known whether the event was published. Publishing again is harmless,
// because the ce-id is the same.
func (p *Publisher) PublishEnded(ctx context.Context, v cases.View, traceParent string) error {
	e, err := events.EncodeEnded(p.source, v, traceParent)
	if err != nil {
		return err
	}
	return p.publish(ctx, p.ended, e.Data, e.Attributes)
}

// ForwardInvalid publishes an invalid message to the dead-letter topic, unchanged and with its
// attributes. The attribute casewatch-error says what is wrong with it. If the message already has
// the maximum number of attributes, the last one by name is removed.
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
		data = []byte("null") // a message must not be empty
	}
	return p.publish(ctx, p.deadLetter, data, all)
}

func (p *Publisher) publish(ctx context.Context, topic string, data []byte, attributes map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	_, err := p.client.Publish(ctx, &pubsubpb.PublishRequest{
		Topic:    topic,
		Messages: []*pubsubpb.PubsubMessage{{Data: data, Attributes: attributes}},
	})
	if err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// Close releases the client. No other method may be called after or during it.
func (p *Publisher) Close() error { return p.client.Close() }
