package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

func TestOpenErrors(t *testing.T) {
	// run creates a file with plain SQL.
	run := func(t *testing.T, path, query string) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		setUp func(t *testing.T, path string)
		want  string
	}{
		{"a newer schema", func(t *testing.T, path string) {
			closeStore(t, openStore(t, path))
			run(t, path, "INSERT INTO casewatch_schema (version_id, is_applied) VALUES (9001, 1)")
		}, "schema version 9001 and this program knows up to 2: a newer program wrote it"},
		{"a schema of before goose", func(t *testing.T, path string) {
			run(t, path, fmt.Sprintf(
				"PRAGMA application_id = %d; PRAGMA user_version = 5; CREATE TABLE runs (a)", applicationID))
		}, "another shape; move the file away or delete it"},
		{"records of another shape", func(t *testing.T, path string) {
			s := openStore(t, path)
			save(t, s, "a")
			closeStore(t, s)
			run(t, path,
				`UPDATE runs SET record = CAST(replace(CAST(record AS TEXT), '"shape":', '"shape":9') AS BLOB)`)
		}, fmt.Sprintf("the record has shape 9%d, and this program reads shape %[1]d: empty the store", cases.Shape)},
		{"another program's tables", func(t *testing.T, path string) {
			run(t, path, "CREATE TABLE runs (a)")
		}, "another program"},
		{"another program's mark", func(t *testing.T, path string) {
			run(t, path, "PRAGMA application_id = 7; PRAGMA user_version = 1")
		}, "another program"},
		{"not a database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("not a database. ", 500)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a database"},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is a directory"},
		{"a folder that cannot be created", func(t *testing.T, path string) {
			if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			if strings.Contains(test.name, "cannot be created") {
				path = filepath.Join(path, "store.db")
			}
			test.setUp(t, path)
			s, err := Open(t.Context(), store.Options{Location: path})
			if err == nil {
				closeStore(t, s)
				t.Fatal("Open succeeded")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "store.db") {
				t.Errorf("got error %q, want it to contain %q", err, test.want)
			}
		})
	}
	if _, err := Open(t.Context(), store.Options{Location: ""}); err == nil {
		t.Error("an empty path was accepted")
	}
}

func TestOpenCreatesPrivateFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "deep", "odd ?#%20&=name")
	path := filepath.Join(folder, "store ?mode=ro#%41.db")
	s := openStore(t, path)
	save(t, s, "a")
	for name, want := range map[string]os.FileMode{
		filepath.Dir(folder): 0o700, folder: 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
	closeStore(t, s)
	if _, err := os.Stat(path + "-wal"); !os.IsNotExist(err) {
		t.Errorf("the log still exists after Close: %v", err)
	}
	s = openStore(t, path)
	defer closeStore(t, s)
	if _, err := s.Get(t.Context(), "a", 1); err != nil {
		t.Errorf("after opening again: %v", err)
	}
}

// TestConcurrentOpens checks that many processes may open a new file at the same time.
func TestConcurrentOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			s, err := Open(t.Context(), store.Options{Location: path})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Begin(t.Context(), beginning(fmt.Sprint("case", i))); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := openStore(t, path)
	defer closeStore(t, s)
	if n, err := s.CountOpen(t.Context()); err != nil || n != 8 {
		t.Errorf("%d open, error %v", n, err)
	}
}

// TestSettings checks the settings that durability and integrity depend on.
func TestSettings(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "store.db"))
	defer closeStore(t, s)
	for _, setting := range []struct {
		db         *sql.DB
		name, want string
	}{
		{s.writers, "journal_mode", "wal"},
		{s.writers, "synchronous", "2"},
		{s.writers, "foreign_keys", "1"},
		{s.writers, "busy_timeout", "10000"},
		{s.writers, "journal_size_limit", "67108864"},
		{s.readers, "journal_mode", "wal"},
		{s.readers, "query_only", "1"},
		{s.readers, "busy_timeout", "10000"},
	} {
		var got string
		if err := setting.db.QueryRow("PRAGMA " + setting.name).Scan(&got); err != nil || got != setting.want {
			t.Errorf("%s is %q, want %q (error %v)", setting.name, got, setting.want, err)
		}
	}
}

// TestPlans checks the query plans: the cost of a query across all cases must depend on what it
// returns and not on what is stored.
func TestPlans(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "store.db"))
	defer closeStore(t, s)
	for _, test := range []struct {
		query string
		args  []any
		want  string
	}{
		{overdueQuery, []any{1, 2, "", 0, 5},
			"SEARCH runs USING INDEX runs_wake ((wake_at,case_id,run)>(?,?,?) AND wake_at<?)"},
		{listQuery, []any{1, 2, "", 0, 5},
			"SEARCH runs USING INDEX runs_created (created_at>? AND (created_at,case_id,run)<(?,?,?))"},
		{listStateQuery, []any{1, 2, "", 0, 5, "failed"},
			"SEARCH runs USING INDEX runs_state (state=? AND created_at>? AND (created_at,case_id,run)<(?,?,?))"},
		{countOpenQuery, nil, "USING COVERING INDEX runs_open (open=?)"},
		{countStatesQuery, nil, "SCAN runs USING COVERING INDEX runs_state"},
	} {
		rows, err := s.readers.QueryContext(context.Background(), "EXPLAIN QUERY PLAN "+test.query, test.args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if len(plan) != 1 || !strings.Contains(plan[0], test.want) {
			t.Errorf("plan %q, want only %q", plan, test.want)
		}
	}
}

// TestUpgrade checks that a file of this revision is brought to the schema of a revision to come by
// one of many processes, and that its cases stay.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openStore(t, path)
	save(t, s, "a")
	closeStore(t, s)
	next := fstest.MapFS{"0003_next.sql": {Data: []byte("-- +goose Up\nALTER TABLE runs ADD COLUMN color TEXT;")}}
	for _, name := range []string{"0001_store.sql", "0002_durations.sql"} {
		data, err := fs.ReadFile(migrations, name)
		if err != nil {
			t.Fatal(err)
		}
		next[name] = &fstest.MapFile{Data: data}
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			db, err := database(path, url.Values{})
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			if err := migrate(t.Context(), db, next); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	db, err := database(path, url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var versions, runs int
	err = errors.Join(
		db.QueryRow("SELECT count(*) FROM casewatch_schema WHERE version_id = 3").Scan(&versions),
		db.QueryRow("SELECT count(*) FROM runs WHERE color IS NULL").Scan(&runs),
	)
	if err != nil || versions != 1 || runs != 1 {
		t.Errorf("version 3 is there %d times and %d runs are, want 1 and 1; error %v", versions, runs, err)
	}
}

// TestPages wants the small pages that make commits small. An old file keeps its own.
func TestPages(t *testing.T) {
	for _, test := range []struct {
		name, setUp string
		want        int
	}{
		{"a new file", "", pageSize},
		{"a file of 4 KiB pages", "PRAGMA journal_mode = DELETE; PRAGMA page_size = 4096; VACUUM", 4096},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			closeStore(t, openStore(t, path))
			db, err := database(path, url.Values{})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			if _, err := db.Exec(test.setUp); err != nil {
				t.Fatal(err)
			}
			s := openStore(t, path)
			defer closeStore(t, s)
			save(t, s, "a")
			var got int
			if err := db.QueryRow("PRAGMA page_size").Scan(&got); err != nil || got != test.want {
				t.Errorf("pages have %d bytes, error %v; want %d", got, err, test.want)
			}
		})
	}
}
