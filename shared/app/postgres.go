//go:build !nopostgres

package app

import (
	"context"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/postgres"
)

func init() { stores[config.Postgres] = openPostgres }

func openPostgres(ctx context.Context, cfg *config.Config) (store.Store, error) {
	s, err := postgres.Open(ctx, cfg.Store.DSN.Reveal())
	if err != nil {
		return nil, err
	}
	return s, nil
}
