package postgres

import (
	"context"
	"net/url"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
	"github.com/casewatch/casewatch/shared/store/storetest"
)

// pools are the goroutines that pgx begins as it likes: to close, check and ping connections, for a
// bounded time each, and one for a connection to which it once could not write at once, until that
// is read from next.
var pools = []goleak.Option{
	opencensus,
	goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).triggerHealthCheck.func1"),
	goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"),
	goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgconn.(*PgConn).asyncClose.func1"),
	goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgconn/internal/bgreader.(*BGReader).bgRead"),
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		return harness(t, postgrestest.Start(t))
	})
}

// TestStoreElsewhere: on the schema of a revision to come, as after a rollback; in a database whose
// transactions are serializable unless they say otherwise; with three connections, of which one
// listens.
func TestStoreElsewhere(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		dsn := with(
			t,
			postgrestest.Start(t),
			url.Values{"default_transaction_isolation": {"serializable"}, "pool_max_conns": {"3"}},
		)
		upgrade(t, dsn)
		return harness(t, dsn)
	})
}

// What was learned and cannot be read any more counts as nothing, and what is learned next takes its place.
func TestPastThatCannotBeRead(t *testing.T) {
	dsn := postgrestest.Start(t)
	s := openStore(t, dsn)
	defer closeStore(t, s)
	err := s.SaveDurationStats(t.Context(), "default", schedule.DurationStats{Version: 1, FoundByPoll: 5})
	if err != nil {
		t.Fatal(err)
	}
	postgrestest.Query(t, dsn, `UPDATE durations SET data = 'not JSON' RETURNING pipeline`)
	if p, err := s.DurationStats(t.Context(), "default"); err != nil || p.FoundByPoll != 0 || p.Version != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	err = s.SaveDurationStats(t.Context(), "default", schedule.DurationStats{Version: 2, FoundByPoll: 1})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.DurationStats(t.Context(), "default"); err != nil || p.FoundByPoll != 1 || p.Version != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}

func harness(t *testing.T, dsn string) storetest.Harness {
	return storetest.Harness{
		Store:      openStore(t, dsn),
		Second:     func(t *testing.T) store.Store { return openStore(t, dsn) },
		Goroutines: pools,
	}
}

// with returns the DSN with more parameters.
func with(t testing.TB, dsn string, query url.Values) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	all := u.Query()
	for name, value := range query {
		all[name] = value
	}
	u.RawQuery = all.Encode()
	return u.String()
}

// openStore opens a store that the caller closes.
func openStore(t testing.TB, dsn string) *Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := Open(ctx, store.Options{Location: dsn})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newStore opens a store over a fresh database, which is closed with the test.
func newStore(t testing.TB) (s *Store, dsn string) {
	t.Helper()
	dsn = postgrestest.Start(t)
	s = openStore(t, dsn)
	t.Cleanup(func() { closeStore(t, s) })
	return s, dsn
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if waiting, cases := s.waiters.Count(); waiting != 0 || cases != 0 {
		t.Errorf("%d still wait for %d cases", waiting, cases)
	}
	if l := <-s.listener; l.conn != nil {
		t.Error("a connection still listens")
		l.close()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// beginning is the first run of a case.
func beginning(id string) store.Begin {
	at := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	return store.Begin{
		Head: store.Head{CaseID: id, Run: 1, Keys: map[string]int{"key": 1}, Version: 1},
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

// after is c one version later, to wake up a little later.
func after(c cases.Case) store.Write {
	c.Version++
	c.Checks.Polls++
	c.Bookkeeping.OverdueAt = c.Bookkeeping.OverdueAt.Add(2 * time.Second)
	return store.Write{Case: c}
}
