package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		path := filepath.Join(t.TempDir(), "store.db")
		return storetest.Harness{
			Store:  openStore(t, path),
			Second: func(t *testing.T) store.Store { return openStore(t, path) },
		}
	})
}

// TestStoreOneCommitEach runs the suite without shared commits, so that every write conflicts with
// the others on its own.
func TestStoreOneCommitEach(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		path := filepath.Join(t.TempDir(), "store.db")
		open := func(t *testing.T) store.Store {
			s := openStore(t, path)
			s.commits.maxBatch = 1
			return s
		}
		return storetest.Harness{Store: open(t), Second: open}
	})
}

// TestStoreShared runs the suite on one database, as drivers do whose databases are expensive.
func TestStoreShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		return storetest.Harness{
			Store:      openStore(t, path),
			Second:     func(t *testing.T) store.Store { return openStore(t, path) },
			Contenders: 8,
		}
	})
}

// openStore opens a store that the caller closes.
func openStore(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), store.Options{Location: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if waiting, cases := s.waiters.Count(); waiting != 0 || cases != 0 {
		t.Errorf("%d waiters are left for %d cases, want none", waiting, cases)
	}
	if n := len(s.commits.queue); n != 0 {
		t.Errorf("%d writes are still queued", n)
	}
}

// beginning returns the beginning of a case's first run.
func beginning(id string) store.Begin {
	at := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	return store.Begin{
		Head: store.Head{CaseID: id, Run: 1, Version: 1},
		Case: cases.Case{
			Origin:      cases.Origin{CaseID: id, Run: 1, CreatedAt: at},
			Version:     1,
			State:       cases.Pending,
			UpdatedAt:   at,
			Bookkeeping: cases.Bookkeeping{OverdueAt: at.Add(time.Hour)},
		},
		Form: []byte(`{"case_id":"` + id + `"}`),
	}
}

// save begins a case.
func save(t testing.TB, s *Store, id string) cases.Case {
	t.Helper()
	b := beginning(id)
	if err := s.Begin(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b.Case
}

// after returns a write of c's next version.
func after(c cases.Case) store.Write {
	c.Version++
	c.Checks.Polls++
	return store.Write{Case: c}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
