package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/watch"
)

// opening is one try to open the clients. Who needs them meanwhile shares what comes of it.
type opening struct {
	done    chan struct{} // closed at its end
	watcher *watch.Watcher
	err     error
}

// Open opens now what would be opened at the first request.
func (p *Process) Open() error {
	_, _, err := p.open(context.Background())
	return err
}

// open returns the settings and the watcher, opening on the first call what the function uses. One call at a time opens; the others
// wait for it, until their contexts end. Each with a try of its own would have many wait for long while a store does not answer.
func (p *Process) open(ctx context.Context) (*config.Config, *watch.Watcher, error) {
	p.mu.Lock()
	cfg, err := p.config()
	if err != nil || p.watcher != nil {
		defer p.mu.Unlock()
		return cfg, p.watcher, err
	}
	o, mine := p.opening, p.opening == nil
	if mine {
		o = &opening{done: make(chan struct{}), err: errors.New("opening the clients did not come to its end")}
		p.opening = o
	}
	p.mu.Unlock()
	if mine {
		p.try(o, cfg)
		return cfg, o.watcher, o.err
	}
	select {
	case <-o.done:
		return cfg, o.watcher, o.err
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// openFor bounds one try.
const openFor = 30 * time.Second

// try opens the clients, and tells who waits.
func (p *Process) try(o *opening, cfg *config.Config) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.opening = nil
		close(o.done)
	}()
	// The clients outlive the request that happens to open them.
	ctx, cancel := context.WithTimeout(context.Background(), openFor)
	defer cancel()
	w, closers, err := p.compose(ctx, cfg)
	if err != nil {
		o.err = errors.Join(err, closeAll(closers))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watcher, p.closers = w, closers
	o.watcher, o.err = w, nil
}

// compose opens the clients. Those that it returns are to be closed, also with an error.
func (p *Process) compose(ctx context.Context, cfg *config.Config) (w *watch.Watcher, closers []func() error, err error) {
	deps := watch.Deps{Now: p.opts.Now, Jitter: rand.Float64, Nonce: uuid.NewString, Log: p.newLog(cfg.Project)}
	open, ok := p.opts.Stores[cfg.Store.Kind]
	if !ok {
		return nil, nil, fmt.Errorf("STORE: this program has no driver for %s", cfg.Store.Kind)
	}
	if deps.Store, err = open(ctx, cfg); err != nil {
		return nil, nil, fmt.Errorf("STORE: %w", err)
	}
	closers = append(closers, deps.Store.Close)
	if cfg.Queue.Check != "" {
		q, err := openQueue(ctx, cfg)
		if err != nil {
			return nil, closers, err
		}
		deps.Queue, closers = q, append(closers, q.Close)
	}
	if cfg.Topics.Ended != "" {
		publisher, err := openPublisher(ctx, cfg)
		if err != nil {
			return nil, closers, err
		}
		deps.Events, closers = publisher, append(closers, publisher.Close)
	}
	if cfg.Pipeline.URL != "" {
		client, err := openPipeline(cfg)
		if err != nil {
			return nil, closers, err
		}
		deps.Pipeline, closers = client, append(closers, client.close)
	}
	w, err = watch.New(WatchConfig(cfg), deps)
	return w, closers, err
}

// Close closes the clients. Nothing may be served during or after it.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := closeAll(p.closers)
	p.watcher, p.closers = nil, nil
	return err
}

// closeAll closes what was opened, the last first.
func closeAll(closers []func() error) error {
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	return errors.Join(errs...)
}
