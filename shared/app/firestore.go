//go:build !nofirestore

package app

import (
	"context"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/firestore"
)

func init() { stores[config.Firestore] = openFirestore }

func openFirestore(ctx context.Context, cfg *config.Config) (store.Store, error) {
	s, err := firestore.Open(ctx, firestore.Options{
		Project: cfg.Project, Database: cfg.Store.Database, EmulatorHost: cfg.Emulators.Firestore, Retention: cfg.Rules.Retention,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}
