//go:build !nosqlite

package main

import (
	"context"

	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

func init() {
	stores = map[config.StoreKind]app.OpenStore{
		config.SQLite: func(_ context.Context, cfg *config.Config) (store.Store, error) { return sqlite.Open(cfg.Store.Path) },
	}
}
