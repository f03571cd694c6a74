package app

import (
	"context"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/firestore"
	"github.com/casewatch/casewatch/shared/store/postgres"
)

// stores are the drivers of a deployed function.
var stores = map[config.StoreKind]OpenStore{config.Firestore: openFirestore, config.Postgres: openPostgres}

func openFirestore(ctx context.Context, cfg *config.Config) (store.Store, error) {
	s, err := firestore.Open(ctx, firestore.Options{
		Project: cfg.Project, Database: cfg.Store.Database, EmulatorHost: cfg.Emulators.Firestore, Retention: cfg.Rules.Retention,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openPostgres(ctx context.Context, cfg *config.Config) (store.Store, error) {
	s, err := postgres.Open(ctx, cfg.Store.DSN.Reveal())
	if err != nil {
		return nil, err
	}
	return s, nil
}
