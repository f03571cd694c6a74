package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/casewatch/casewatch/shared/store"

	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

// countedConn counts what is sent: pgx sends once for each round trip.
type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.sent.Add(1)
	return c.Conn.Write(b)
}

// openCounted opens a store of one connection for statements and counts its round trips.
func openCounted(t *testing.T, dsn string) (*Store, *atomic.Int64) {
	t.Helper()
	config, _, err := parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return countedConn{conn, &sent}, err
	}
	s, err := open(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, &sent
}

// TestRoundTrips counts them once statements are prepared.
func TestRoundTrips(t *testing.T) {
	_, dsn := newStore(t)
	s, sent := openCounted(t, dsn)
	defer closeStore(t, s)
	for i := range 2 { // the first time prepares
		id := fmt.Sprint("a", i)
		b := beginning(id)
		w := after(b.Case)
		w.Put = map[store.Value][]byte{store.Result: []byte("{}"), store.LateResult: nil}
		w.Drop = []store.Value{store.Form}
		next := beginning(id)
		next.Head.Run, next.Case.Run, next.Head.Version = 2, 2, 2
		end := after(w.Case)
		next.End = &end
		for _, step := range []struct {
			name string
			call func() error
			want int64
		}{
			{"Begin", func() error { return s.Begin(t.Context(), b) }, 1},
			{"Update", func() error { return s.Update(t.Context(), w) }, 1},
			{"Update that comes too late", func() error { return conflicts(s.Update(t.Context(), w)) }, 1},
			{"Begin that comes too late", func() error { return conflicts(s.Begin(t.Context(), b)) }, 1},
			{"Get", func() error { _, err := s.Get(t.Context(), id, 1); return err }, 1},
			{"Begin of the next run", func() error { return s.Begin(t.Context(), next) }, 2},
			{"look of one who waits", func() error { _, err := s.look(t.Context(), id, 2); return err }, 2},
			{"the next look", func() error { _, err := s.look(t.Context(), id, 2); return err }, 1},
			{"Update while somebody waits", func() error { return s.Update(t.Context(), after(next.Case)) }, 2},
			{"Purge while somebody waits", func() error { return s.Purge(t.Context(), id, 1, end.Case.Version) }, 3},
			{"Purge of the last run", func() error { return s.Purge(t.Context(), id, 2, 2) }, 3},
		} {
			before := sent.Load()
			if err := step.call(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if got := sent.Load() - before; i > 0 && got != step.want {
				t.Errorf("%s took %d round trips, want %d", step.name, got, step.want)
			}
		}
	}
}

// conflicts is nil if err is what it should be.
func conflicts(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return fmt.Errorf("not a conflict: %w", err)
}

// TestDeadlock: a write that the server undoes to resolve a deadlock is done again.
func TestDeadlock(t *testing.T) {
	s, dsn := newStore(t)
	c := save(t, s, "a")
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	exec := func(query string) {
		t.Helper()
		if _, err := conn.Exec(ctx, query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	// The other transaction takes the run, then the head; Begin the head, then the run. Begin is the one to notice.
	exec("SET deadlock_timeout = '1min'")
	exec("BEGIN")
	exec("SELECT FROM runs FOR UPDATE")
	end := after(c)
	b := beginning("a")
	b.Head.Run, b.Case.Run, b.Head.Version, b.End = 2, 2, 2, &end
	done := make(chan error, 1)
	go func() { done <- s.Begin(ctx, b) }()
	for postgrestest.Query(t, dsn, `SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND `+
		`datname = current_database()`) == "0" {
		time.Sleep(time.Millisecond)
	}
	exec("SELECT FROM heads FOR UPDATE") // Begin holds it: had the server not undone that, this would fail
	exec("COMMIT")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if h, got, err := s.Current(ctx, "a"); err != nil || h.Run != 2 || got.Run != 2 {
		t.Errorf("head %+v, record of run %d, error %v", h, got.Run, err)
	}
}

func TestKindsOfErrors(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	timeout := fmt.Errorf("connecting: %w", context.DeadlineExceeded)
	for _, test := range []struct {
		name string
		ctx  context.Context
		err  error
		is   error // nil: none of those that mean something to the caller
	}{
		{"no row", t.Context(), pgx.ErrNoRows, store.ErrNotFound},
		{"a conflict", t.Context(), store.ErrConflict, store.ErrConflict},
		{"a conflict as the context ends", ended, store.ErrConflict, store.ErrConflict},
		{"the context", ended, errors.New("conn closed"), context.Canceled},
		{"a limit of the driver's own", t.Context(), timeout, nil},
		{"the server", t.Context(), &pgconn.PgError{Code: "53300", Message: "too many clients"}, nil},
	} {
		got := explain(test.ctx, test.err, "reading %q", "a")
		for _, is := range []error{store.ErrNotFound, store.ErrConflict, context.Canceled, context.DeadlineExceeded} {
			if want := test.is != nil && errors.Is(test.is, is); errors.Is(got, is) != want {
				t.Errorf("%s: %v is %v: %v", test.name, got, is, errors.Is(got, is))
			}
		}
	}
	if err := explain(ended, nil, "reading"); err != nil {
		t.Error(err)
	}
}
