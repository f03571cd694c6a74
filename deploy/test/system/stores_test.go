package system_test

import (
	"path/filepath"
	"testing"

	"github.com/casewatch/casewatch/shared/store/drivers"
	"github.com/casewatch/casewatch/shared/store/firestore/firestoretest"
	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

func skipShort(t *testing.T) {
	if testing.Short() {
		t.Skip("the whole system takes a minute: run without -short")
	}
}

// stores are, by driver, the program that links it and the settings of an empty store.
var stores = map[string]struct {
	program string
	empty   func(t *testing.T) map[string]string
}{
	drivers.Firestore: {"program", func(t *testing.T) map[string]string {
		return map[string]string{"STORE": "firestore:", "FIRESTORE_EMULATOR_HOST": firestoretest.Start(t)}
	}},
	drivers.Postgres: {"program", func(t *testing.T) map[string]string {
		return map[string]string{"STORE": postgrestest.Start(t)}
	}},
	drivers.SQLite: {"embedded", func(t *testing.T) map[string]string {
		return map[string]string{"STORE": "sqlite:" + filepath.Join(t.TempDir(), "cases.db")}
	}},
}

func TestOnEachStore(t *testing.T) {
	skipShort(t)
	for _, d := range drivers.All() {
		t.Run(d.Name, func(t *testing.T) {
			place, ok := stores[d.Name]
			if !ok {
				t.Fatalf("no empty store is described here for the driver %s", d.Name)
			}
			newSystem(t, build(t, place.program), startPubSub(t), place.empty(t)).everyKind(t)
		})
	}
}
