package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

// newer returns the migrations of a revision to come.
func newer(t testing.TB) fs.FS {
	t.Helper()
	all := fstest.MapFS{"9001_newer.sql": {Data: []byte(`-- +goose Up
		ALTER TABLE runs ADD COLUMN color text NOT NULL DEFAULT 'red';
		ALTER TABLE heads ADD COLUMN tenant bigint;
		ALTER TABLE run_values ADD COLUMN kept_until timestamptz;
		CREATE INDEX runs_color ON runs (color);
		CREATE TABLE extras (case_id text PRIMARY KEY);`)}}
	names, err := fs.Glob(migrations, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("migrations %v, error %v", names, err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(migrations, name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = &fstest.MapFile{Data: data}
	}
	return all
}

// upgrade brings a database to the schema of a revision to come.
func upgrade(t testing.TB, dsn string) {
	t.Helper()
	s := openStore(t, dsn)
	defer closeStore(t, s)
	if err := migrate(t.Context(), s.pool, newer(t)); err != nil {
		t.Fatal(err)
	}
}

const versions = `SELECT string_agg(version_id::text, ',' ORDER BY id) FROM ` + versionTable

// TestOpenAtOnce: of many who open an empty database at once, one migrates it; and so when a newer revision comes.
func TestOpenAtOnce(t *testing.T) {
	dsn := postgrestest.Start(t)
	var all sync.WaitGroup
	stores := make([]*Store, 20)
	for i := range stores {
		all.Go(func() {
			s, err := Open(t.Context(), store.Options{Location: dsn})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Begin(t.Context(), beginning(fmt.Sprint("case", i))); err != nil {
				t.Error(err)
			}
			stores[i] = s
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if got := postgrestest.Query(t, dsn, versions); got != "0,1,2,3,4,5,6" {
		t.Errorf("migrated to %s", got)
	}
	next := newer(t)
	for _, s := range stores {
		all.Go(func() {
			if err := migrate(t.Context(), s.pool, next); err != nil {
				t.Error(err)
			}
			if n, err := s.CountOpen(t.Context()); err != nil || n != len(stores) {
				t.Errorf("%d open, error %v", n, err)
			}
		})
	}
	all.Wait()
	if got := postgrestest.Query(t, dsn, versions); got != "0,1,2,3,4,5,6,9001" {
		t.Errorf("migrated to %s", got)
	}
	for _, s := range stores {
		closeStore(t, s)
	}
}

// TestOpenAsksOnce: a database that is up to date is asked one question, and nothing is printed.
func TestOpenAsksOnce(t *testing.T) {
	s, dsn := newStore(t)
	printed := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(printed)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = out, out
	log.SetOutput(out)
	defer func() { os.Stdout, os.Stderr = stdout, stderr; log.SetOutput(stderr) }()
	fresh := openStore(t, postgrestest.Start(t))
	counted, trips := openCounted(t, dsn)
	if got := trips.Load(); got > 4 { // to log in: 1; to prepare the question and to ask it: 2
		t.Errorf("opening took %d round trips", got)
	}
	closeStore(t, counted)
	closeStore(t, fresh)
	if text, err := os.ReadFile(printed); err != nil || len(text) > 0 {
		t.Errorf("printed %q, error %v", text, err)
	}
	if _, err := s.CountOpen(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOpenRefuses also sees that what is refused is left as it was.
func TestOpenRefuses(t *testing.T) {
	for _, test := range []struct {
		name, setUp string
		query       map[string][]string
		want        string
	}{
		{"another program's tables", "CREATE TABLE runs (a int)", nil, "another program: heads, runs or run_values"},
		{"another program's view", "CREATE VIEW heads AS SELECT 1 AS a", nil,
			"another program: heads, runs or run_values"},
		{"another program's versions", "CREATE TABLE casewatch_schema (a int)", nil,
			"another program: casewatch_schema"},
		{"a user without rights", "CREATE ROLE guest LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
			map[string][]string{"user": {"guest"}, "password": {"hunter2"}}, "permission denied for schema public"},
		{"a user that is not there", "SELECT 1",
			map[string][]string{"user": {"nobody"}, "password": {"hunter2"}}, `role "nobody" does not exist`},
		{"an unknown parameter", "SELECT 1",
			map[string][]string{"pool_max_cons": {"3"}, "password": {"hunter2"}}, "pool_max_cons"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dsn := postgrestest.Start(t)
			postgrestest.Exec(t, dsn, test.setUp)
			if strings.Contains(test.setUp, "ROLE") {
				t.Cleanup(func() { postgrestest.Exec(t, dsn, "DROP ROLE guest") })
			}
			tables := `SELECT coalesce(string_agg(tablename, ','), '') FROM pg_tables WHERE schemaname = 'public'`
			before := postgrestest.Query(t, dsn, tables)
			s, err := Open(t.Context(), store.Options{Location: with(t, dsn, test.query)})
			if err == nil {
				closeStore(t, s)
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q does not say %q, or says too much", err, test.want)
			}
			if got := postgrestest.Query(t, dsn, tables); got != before {
				t.Errorf("tables %q, before %q", got, before)
			}
		})
	}
}

// TestOpenRefusesRecordsOfAnotherShape: it says which shapes, and what to do.
func TestOpenRefusesRecordsOfAnotherShape(t *testing.T) {
	s, dsn := newStore(t)
	if err := s.Begin(t.Context(), beginning("a")); err != nil {
		t.Fatal(err)
	}
	postgrestest.Exec(t, dsn, `UPDATE runs SET record =
		convert_to(replace(convert_from(record, 'UTF8'), '"shape":', '"shape":9'), 'UTF8')`)
	again, err := Open(t.Context(), store.Options{Location: dsn})
	if err == nil {
		closeStore(t, again)
		t.Fatal("opened")
	}
	want := fmt.Sprintf("the record has shape 9%d, and this program reads shape %[1]d: empty the store", cases.Shape)
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %q", err, want)
	}
}

// TestOpenWaitsForAnother: while another migrates, Open waits, as long as its context lasts.
func TestOpenWaitsForAnother(t *testing.T) {
	dsn := postgrestest.Start(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "SELECT pg_advisory_lock($1)", migrateLock); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockPause)
	defer cancel()
	if s, err := Open(ctx, store.Options{Location: dsn}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opened %v, error %v", s, err)
	}
	opened := make(chan error, 1)
	go func() {
		s, err := Open(t.Context(), store.Options{Location: dsn})
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	if err := conn.Close(t.Context()); err != nil { // and with it goes the lock
		t.Fatal(err)
	}
	select {
	case err := <-opened:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it still waits")
	}
}

// TestSchema: what conditions and indexes rest on.
func TestSchema(t *testing.T) {
	s, dsn := newStore(t)
	got := postgrestest.Query(t, dsn,
		`SELECT count(*)::text || string_agg(DISTINCT coalesce(collation_name, 'default'), ',')
		FROM information_schema.columns
		WHERE column_name = 'case_id' AND table_name IN ('heads', 'runs', 'run_values')`)
	if got != "3C" {
		t.Errorf("ids are compared by %s", got)
	}
	// What was committed without waiting for the log, VACUUM does not mark as visible to all, and an
	// index alone cannot tell.
	postgrestest.Exec(t, dsn, `SET synchronous_commit = on;
		INSERT INTO runs SELECT 'case' || i, 1, 1, now() + i * interval '1 second', i % 100 = 0,
			convert_to(repeat(' ', 500), 'UTF8'),
			CASE WHEN i % 100 = 0 THEN 'running' ELSE 'succeeded' END, now() - i * interval '1 second'
			FROM generate_series(1, 20000) i`)
	postgrestest.Exec(t, dsn, "VACUUM ANALYZE runs")
	for _, test := range []struct {
		query string
		args  []any
		want  string
	}{
		{overdueQuery, []any{time.Now().Add(time.Hour), time.Now(), "case", 1, 100}, "Index Scan using runs_wake"},
		{listQuery, []any{time.Now().Add(-time.Hour), time.Now(), "case", 1, 50},
			"Index Scan Backward using runs_created"},
		{listStateQuery, []any{time.Now().Add(-time.Hour), time.Now(), "case", 1, 50, "running"},
			"Index Scan Backward using runs_state"},
		{countOpenQuery, nil, "runs_open"},
		{countStatesQuery, nil, "Index Only Scan using runs_state"},
		{getQuery, []any{"case1", 1}, "Index Scan using runs_pkey"},
	} {
		rows, err := s.pool.Query(t.Context(), "EXPLAIN "+test.query, test.args...)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(plan, "\n"); !strings.Contains(text, test.want) || strings.Contains(text, "Seq Scan") ||
			strings.Contains(text, "Sort") {
			t.Errorf("plan of %s:\n%s\nwant %s, and nothing sorted", test.query, text, test.want)
		}
	}
}
