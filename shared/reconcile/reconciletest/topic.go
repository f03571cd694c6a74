package reconciletest

import (
	"context"
	"slices"
	"sync"

	"github.com/casewatch/casewatch/shared/cases"
)

// Topic keeps what is published to the topics. The zero Topic is ready. It is safe for concurrent use.
type Topic struct {
	Faults

	mu      sync.Mutex
	ended   []cases.View
	invalid []Invalid
}

// Invalid is a message that was forwarded to the dead-letter topic.
type Invalid struct {
	Data       string
	Attributes map[string]string
	Why        string
}

// Ended returns the ended events, in order.
func (p *Topic) Ended() []cases.View {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ended)
}

// Invalid returns the messages that were forwarded, in order.
func (p *Topic) Invalid() []Invalid {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.invalid)
}

// PublishEnded implements [reconcile.Publisher].
func (p *Topic) PublishEnded(_ context.Context, v cases.View, _ string) error {
	return p.do("PublishEnded", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = append(p.ended, v)
		return nil
	})
}

// ForwardInvalid implements [reconcile.Publisher].
func (p *Topic) ForwardInvalid(_ context.Context, data []byte, attributes map[string]string, why string) error {
	return p.do("ForwardInvalid", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.invalid = append(p.invalid, Invalid{string(data), attributes, why})
		return nil
	})
}
