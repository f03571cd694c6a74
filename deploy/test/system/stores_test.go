package system_test

import (
	"path/filepath"
	"testing"

	"github.com/casewatch/casewatch/shared/store/firestore/firestoretest"
	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

func skipShort(t *testing.T) {
	if testing.Short() {
		t.Skip("the whole system takes a minute: run without -short")
	}
}

func TestOnFirestore(t *testing.T) {
	skipShort(t)
	addr := firestoretest.Start(t)
	s := newSystem(t, build(t, "program"), startPubSub(t), map[string]string{"STORE": "firestore:", "FIRESTORE_EMULATOR_HOST": addr})
	s.everyKind(t)
}

func TestOnPostgres(t *testing.T) {
	skipShort(t)
	dsn := postgrestest.Start(t)
	s := newSystem(t, build(t, "program"), startPubSub(t), map[string]string{"STORE": dsn})
	s.everyKind(t)
}

func TestOnSQLite(t *testing.T) {
	skipShort(t)
	s := newSystem(t, build(t, "embedded"), startPubSub(t), map[string]string{"STORE": "sqlite:" + filepath.Join(t.TempDir(), "cases.db")})
	s.everyKind(t)
}
