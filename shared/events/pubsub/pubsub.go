// Package pubsub publishes events with Google Cloud Pub/Sub.
package pubsub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/events"
)

// publishTimeout bounds one publication, retries of the client included.
const publishTimeout = 20 * time.Second

// maxAttributeValue is the limit of an attribute's value, in bytes (https://docs.cloud.google.com/pubsub/quotas#resource_limits).
const maxAttributeValue = 1024

// Config says where to publish. All is required.
type Config struct {
	Project         string
	EndedTopic      string
	DeadLetterTopic string // "" if nothing is forwarded
	Source          string // the ce-source of ended events
	EmulatorHost    string // host and port of a server to use instead of Google's, in plain text and without credentials; "" for Google's
}

// Publisher publishes. It is safe for concurrent use, and holds no message once a call has returned.
type Publisher struct {
	client     *pubsub.Client
	ended      *pubsub.Publisher
	deadLetter *pubsub.Publisher
	source     string
}

// New opens a client. The context is only for the opening.
func New(ctx context.Context, cfg Config) (*Publisher, error) {
	var opts []option.ClientOption
	if cfg.EmulatorHost != "" {
		opts = []option.ClientOption{
			option.WithEndpoint(cfg.EmulatorHost), option.WithoutAuthentication(), option.WithTelemetryDisabled(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		}
	}
	client, err := pubsub.NewClient(context.WithoutCancel(ctx), cfg.Project, opts...)
	if err != nil {
		return nil, fmt.Errorf("open the Pub/Sub client: %w", err)
	}
	p := &Publisher{client: client, source: cfg.Source, ended: client.Publisher(cfg.EndedTopic)}
	if cfg.DeadLetterTopic != "" {
		p.deadLetter = client.Publisher(cfg.DeadLetterTopic)
	}
	for _, publisher := range []*pubsub.Publisher{p.ended, p.deadLetter} {
		if publisher != nil {
			publisher.PublishSettings.CountThreshold = 1 // a function waits for each: there is nothing to batch
			publisher.PublishSettings.Timeout = publishTimeout
		}
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
	return publish(ctx, p.ended, e.Data, e.Attributes)
}

// ForwardInvalid publishes a message that could not be understood to the dead-letter topic, as it came, with its
// attributes and what is wrong with it.
func (p *Publisher) ForwardInvalid(ctx context.Context, data []byte, attributes map[string]string, why string) error {
	if p.deadLetter == nil {
		return errors.New("no dead-letter topic is set")
	}
	all := maps.Clone(attributes)
	if all == nil {
		all = map[string]string{}
	}
	all["casewatch-error"] = strings.ToValidUTF8(why[:min(len(why), maxAttributeValue)], "")
	if len(data) == 0 {
		data = []byte("null") // a message must carry something
	}
	return publish(ctx, p.deadLetter, data, all)
}

func publish(ctx context.Context, to *pubsub.Publisher, data []byte, attributes map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := to.Publish(ctx, &pubsub.Message{Data: data, Attributes: attributes}).Get(ctx); err != nil {
		return fmt.Errorf("publish to %s: %w", to.ID(), err)
	}
	return nil
}

// Close releases the client. Nothing may be published after or during it.
func (p *Publisher) Close() error {
	p.ended.Stop()
	if p.deadLetter != nil {
		p.deadLetter.Stop()
	}
	return p.client.Close()
}
