package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// Open opens the clients before the first request.
func (p *Process) Open() error {
	_, _, err := p.open(context.Background())
	return err
}

// openFor bounds one attempt to open the clients.
const openFor = 30 * time.Second

// open returns the settings and the reconciler. The first call opens the clients that the function
// uses. Concurrent calls share one attempt, so that a store that does not answer is waited for
// once. A call that waits for the attempt of another call returns when ctx ends.
func (p *Process) open(ctx context.Context) (*config.Config, *reconcile.Reconciler, error) {
	cfg, err := p.Config()
	if err != nil {
		return nil, nil, err
	}
	if reconciler := p.opened(); reconciler != nil {
		return cfg, reconciler, nil
	}
	reconciler, err := p.opening.Do(ctx, func() (*reconcile.Reconciler, error) { return p.try(cfg) })
	return cfg, reconciler, err
}

// opened returns the reconciler; nil while the clients are not open.
func (p *Process) opened() *reconcile.Reconciler {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reconciler
}

// try opens the clients, unless another call has just opened them.
func (p *Process) try(cfg *config.Config) (*reconcile.Reconciler, error) {
	if reconciler := p.opened(); reconciler != nil {
		return reconciler, nil
	}
	// The clients outlive the request that opens them.
	ctx, cancel := context.WithTimeout(context.Background(), openFor)
	defer cancel()
	deps, closers, err := p.openClients(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, closeAll(closers))
	}
	reconciler, err := reconcile.New(ReconcileConfig(cfg), deps)
	if err != nil {
		return nil, errors.Join(err, closeAll(closers))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reconciler, p.closers = reconciler, closers
	return reconciler, nil
}

// openClients opens the clients that the function uses. The caller must call the returned closers,
// even if there is an error.
func (p *Process) openClients(ctx context.Context, cfg *config.Config) (
	deps reconcile.Deps, closers []func() error, err error,
) {
	deps = reconcile.Deps{Now: p.opts.Now, Jitter: rand.Float64, Nonce: uuid.NewString, Log: p.newLog(cfg.Project)}
	if deps.Store, err = p.opts.Stores[cfg.Store.Driver](ctx, storeOptions(cfg)); err != nil {
		return deps, nil, fmt.Errorf("STORE: %w", err)
	}
	closers = append(closers, deps.Store.Close)
	if cfg.Queue.Check != "" {
		q, err := openQueue(ctx, cfg)
		if err != nil {
			return deps, closers, err
		}
		deps.Queue, closers = q, append(closers, q.Close)
	}
	if cfg.Topics.Ended != "" {
		publisher, err := openPublisher(ctx, cfg)
		if err != nil {
			return deps, closers, err
		}
		deps.Events, closers = publisher, append(closers, publisher.Close)
	}
	if cfg.UsesPipelines() {
		client, err := openPipelines(cfg)
		if err != nil {
			return deps, closers, err
		}
		deps.Pipeline, closers = client, append(closers, client.close)
		deps.CallbackURL = callbackURL(cfg)
	}
	return deps, closers, nil
}

// Close closes the clients. No request may be served during or after it.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := closeAll(p.closers)
	p.reconciler, p.closers = nil, nil
	return err
}

// closeAll closes clients in the reverse order of their opening.
func closeAll(closers []func() error) error {
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	return errors.Join(errs...)
}
