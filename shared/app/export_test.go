package app

import (
	"context"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// OpenClients opens the clients of a process as its first request does.
func (p *Process) OpenClients(ctx context.Context, cfg *config.Config) (reconcile.Deps, []func() error, error) {
	return p.openClients(ctx, cfg)
}
