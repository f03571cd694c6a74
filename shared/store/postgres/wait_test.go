package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/waiters"
	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

// deaf is a store that finds nothing new but by being told.
func deaf(t *testing.T, dsn string) *Store {
	t.Helper()
	s := openStore(t, dsn)
	s.pauses = waiters.Pauses{First: time.Hour, Later: time.Hour}
	return s
}

// eventually waits until it is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 20 s: %s", what)
		}
	}
}

// listening returns the server's process behind the connection that listens; "" if there is none.
func listening(t *testing.T, dsn string) string {
	t.Helper()
	return postgrestest.Query(t, dsn, `SELECT coalesce(string_agg(pid::text, ','), '') FROM pg_stat_activity
		WHERE query = 'LISTEN casewatch' AND state = 'idle' AND datname = current_database()`)
}

// wait waits beside the test.
func wait(ctx context.Context, s *Store, c cases.Case) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.Wait(ctx, c.CaseID, c.Run, c.Version) }()
	return done
}

// ends wants a waiter to return.
func ends(t *testing.T, done <-chan error, want error) {
	t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Errorf("Wait: %v, want %v", err, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it still waits")
	}
}

// wantAtRest wants nothing to be held for those who waited.
func wantAtRest(t *testing.T, s *Store) {
	t.Helper()
	eventually(t, "no connection in use", func() bool { return s.pool.Stat().AcquiredConns() == 0 })
	for _, conn := range s.pool.AcquireAllIdle(t.Context()) {
		var channels int
		err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_listening_channels()").Scan(&channels)
		if err != nil || channels != 0 {
			t.Errorf("a connection at rest listens to %d channels (error %v)", channels, err)
		}
		conn.Release()
	}
}

// TestWaitIsTold: waiters need not look again to see a write, by whatever instance.
func TestWaitIsTold(t *testing.T) {
	for _, test := range []struct {
		name  string
		write func(s *Store) error
		want  error
	}{
		{"update", func(s *Store) error { return s.Update(t.Context(), after(beginning("a").Case)) }, nil},
		{"next run", func(s *Store) error {
			b := beginning("a")
			b.Head.Run, b.Case.Run, b.Head.Version = 2, 2, 2
			return s.Begin(t.Context(), b)
		}, nil},
		{"purge", func(s *Store) error { return s.Purge(t.Context(), "a", 1, 1) }, store.ErrNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			other, dsn := newStore(t)
			for _, writer := range []string{"itself", "another"} {
				s := deaf(t, dsn)
				a := save(t, other, "a")
				b := save(t, other, "b"+writer)
				ctx, leave := context.WithCancel(t.Context())
				all := []<-chan error{wait(ctx, s, a), wait(ctx, s, a), wait(ctx, s, a)}
				bystander := wait(ctx, s, b)
				eventually(t, "all wait, one listens", func() bool {
					waiting, _ := s.waiters.Count()
					return waiting == 4 && listening(t, dsn) != ""
				})
				by := other
				if writer == "itself" {
					by = s
				}
				if err := test.write(by); err != nil {
					t.Fatal(err)
				}
				for _, done := range all {
					ends(t, done, test.want)
				}
				if waiting, _ := s.waiters.Count(); waiting != 1 {
					t.Errorf("%d wait; want one, for another case", waiting)
				}
				leave()
				ends(t, bystander, context.Canceled)
				wantAtRest(t, s)
				closeStore(t, s)
				if test.want == nil {
					postgrestest.Exec(t, dsn, "TRUNCATE heads, runs CASCADE")
				}
			}
		})
	}
}

// TestManyWaiters: however many wait, one connection listens, and the others go on serving statements.
func TestManyWaiters(t *testing.T) {
	const n = 200
	other, dsn := newStore(t)
	s := deaf(t, with(t, dsn, url.Values{"pool_max_conns": {"2"}}))
	defer closeStore(t, s)
	var all []cases.Case
	for i := range n / 4 {
		all = append(all, save(t, other, fmt.Sprint("case", i)))
	}
	var told []<-chan error
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range n {
		told = append(told, wait(ctx, s, all[i%len(all)]))
	}
	eventually(t, "all wait, one listens", func() bool {
		waiting, _ := s.waiters.Count()
		return waiting == n && listening(t, dsn) != "" && s.pool.Stat().AcquiredConns() == 1
	})
	if pids := listening(t, dsn); strings.Contains(pids, ",") {
		t.Errorf("more than one connection listens: %s", pids)
	}
	for i, c := range all {
		writer := []*Store{s, other}[i%2]
		if err := writer.Update(ctx, after(c)); err != nil {
			t.Fatal(err)
		}
	}
	for _, done := range told {
		ends(t, done, nil)
	}
	wantAtRest(t, s)
}

// TestLeadIsHandedOver: when the waiter that listens leaves, another goes on with the same connection.
func TestLeadIsHandedOver(t *testing.T) {
	other, dsn := newStore(t)
	s := deaf(t, dsn)
	defer closeStore(t, s)
	c := save(t, other, "a")
	first, leave := context.WithCancel(t.Context())
	leader := wait(first, s, c)
	eventually(t, "it listens", func() bool { return listening(t, dsn) != "" })
	pid := listening(t, dsn)
	heirs := []<-chan error{wait(t.Context(), s, c), wait(t.Context(), s, c)}
	eventually(t, "all wait", func() bool { waiting, _ := s.waiters.Count(); return waiting == 3 })
	leave()
	ends(t, leader, context.Canceled)
	if got := listening(t, dsn); got != pid {
		t.Errorf("process %s listens, before %s", got, pid)
	}
	if err := other.Update(t.Context(), after(c)); err != nil {
		t.Fatal(err)
	}
	for _, done := range heirs {
		ends(t, done, nil)
	}
	wantAtRest(t, s)
}

// TestConnectionLost: the server closes the connection that listens, in the middle of a wait.
func TestConnectionLost(t *testing.T) {
	for _, test := range []struct {
		name      string
		listening bool // again, as the write comes; else nobody hears of it, and waiters look when they listen again
	}{{"a write while nobody listens", false}, {"a write after", true}} {
		t.Run(test.name, func(t *testing.T) {
			other, dsn := newStore(t)
			s := deaf(t, dsn)
			defer closeStore(t, s)
			c := save(t, other, "a")
			told := []<-chan error{wait(t.Context(), s, c), wait(t.Context(), s, c)}
			eventually(t, "both wait, one listens", func() bool {
				waiting, _ := s.waiters.Count()
				return waiting == 2 && listening(t, dsn) != ""
			})
			pid := listening(t, dsn)
			postgrestest.Exec(t, dsn, "SELECT pg_terminate_backend("+pid+", 20000)") // returns when it has ended
			if test.listening {
				eventually(
					t,
					"another connection listens",
					func() bool { now := listening(t, dsn); return now != "" && now != pid },
				)
			}
			if err := other.Update(t.Context(), after(c)); err != nil {
				t.Fatal(err)
			}
			for _, done := range told {
				ends(t, done, nil)
			}
			wantAtRest(t, s)
		})
	}
}

// TestNobodyTells: a proxy may swallow notifications; a waiter looks by itself now and then.
func TestNobodyTells(t *testing.T) {
	other, dsn := newStore(t)
	s := openStore(t, dsn)
	defer closeStore(t, s)
	s.pauses = waiters.Pauses{First: 50 * time.Millisecond, Later: 50 * time.Millisecond}
	c := save(t, other, "a")
	done := wait(t.Context(), s, c)
	eventually(t, "it listens", func() bool { return listening(t, dsn) != "" })
	postgrestest.Exec(t, dsn, `UPDATE runs SET version = 2`) // without a word
	ends(t, done, nil)
}

// TestRestart: a server that is restarted, or away for a while, costs errors at most, and no waiter stays behind.
func TestRestart(t *testing.T) {
	server := postgrestest.New(t)
	dsn := server.Database(t)
	s := openStore(t, dsn)
	defer closeStore(t, s)
	c := save(t, s, "a")
	done := wait(t.Context(), s, c)
	eventually(t, "it listens", func() bool { return listening(t, dsn) != "" })
	server.Restart(t)
	if _, err := s.Get(t.Context(), "a", 1); err != nil {
		t.Errorf("the first read after a restart: %v", err)
	}
	eventually(t, "writing works", func() bool {
		err := s.Update(t.Context(), after(c))
		if errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil || errors.Is(err, store.ErrConflict) // an attempt before may have been saved
	})
	select {
	case err := <-done: // it found the server away, or the new version
		if errors.Is(err, context.Canceled) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("Wait: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it still waits")
	}
	if got, err := s.Get(t.Context(), "a", 1); err != nil || got.Version != 2 {
		t.Errorf("version %d, error %v", got.Version, err)
	}

	server.Stop(t)
	_, err := s.Get(t.Context(), "a", 1)
	if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with the server away: %v", err)
	}
	server.Continue(t)
	if _, err := s.Get(t.Context(), "a", 1); err != nil {
		t.Errorf("with the server back: %v", err)
	}
}

// TestWordOnlyWhileSomebodyWaits: those who write say it only for a case that is watched, and as long as it is.
func TestWordOnlyWhileSomebodyWaits(t *testing.T) {
	s, dsn := newStore(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "LISTEN "+channel); err != nil {
		t.Fatal(err)
	}
	said := func() string {
		t.Helper()
		postgrestest.Exec(t, dsn, "NOTIFY "+channel+", 'end'") // words come in the order of their commits
		var all []string
		for {
			n, err := conn.WaitForNotification(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n.Payload == "end" {
				return strings.Join(all, ",")
			}
			all = append(all, n.Payload)
		}
	}
	a, b := save(t, s, "a"), save(t, s, "b")
	update := func(c *cases.Case) {
		t.Helper()
		w := after(*c)
		if err := s.Update(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		*c = w.Case
	}
	update(&a)
	if got := said(); got != "" {
		t.Errorf("said %q, though nobody waits", got)
	}
	if _, err := s.look(t.Context(), "a", 1); err != nil {
		t.Fatal(err)
	}
	update(&a)
	update(&b)
	next := beginning("a")
	next.Head.Run, next.Case.Run, next.Head.Version = 2, 2, 2
	if err := s.Begin(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), "a", 1, a.Version); err != nil {
		t.Fatal(err)
	}
	if got := said(); got != "a,a,a" {
		t.Errorf("said %q, want a for the update, the beginning and the purge", got)
	}
	postgrestest.Exec(t, dsn, "UPDATE heads SET watched_until = now()")
	update(&next.Case)
	if got := said(); got != "" {
		t.Errorf("said %q, though the one who waited left", got)
	}
}

// TestWaitBesideAWriter: a writer that did not see that somebody waits has not committed when that one looks.
func TestWaitBesideAWriter(t *testing.T) {
	for _, test := range []struct{ name, write string }{
		{"update", "UPDATE runs SET version = 2"},
		{"next run", "UPDATE heads SET run = 2, version = 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, dsn := newStore(t)
			s := deaf(t, dsn)
			defer closeStore(t, s)
			c := save(t, s, "a")
			writer, err := pgx.Connect(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer writer.Close(context.Background())
			for _, query := range []string{"BEGIN", test.write} {
				if _, err := writer.Exec(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
			var isWatched bool
			if err := writer.QueryRow(t.Context(), watchedQuery, "a").Scan(&isWatched); err != nil || isWatched {
				t.Fatalf("watched %v, error %v", isWatched, err)
			}
			done := wait(t.Context(), s, c)
			eventually(t, "the one who waits waits for the writer", func() bool {
				return postgrestest.Query(t, dsn, `SELECT count(*)::text FROM pg_stat_activity
					WHERE wait_event_type = 'Lock' AND datname = current_database()`) == "1"
			})
			if _, err := writer.Exec(t.Context(), "COMMIT"); err != nil {
				t.Fatal(err)
			}
			ends(t, done, nil)
		})
	}
}
