package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/waiters"
)

const (
	busyTimeout = 10 * time.Second // how long to wait for another process's write
	maxWAL      = 64 << 20         // the log is cut back to this many bytes when it has been worked off
	maxReaders  = 8
)

// Store is a [store.Store] in one SQLite file.
type Store struct {
	readers *sql.DB
	reads   reads
	writers *sql.DB // of one connection
	commits commits
	waiters waiters.Waiters
	pauses  waiters.Pauses
}

var _ store.Store = (*Store)(nil)

// Open opens the file that o.Location is the path of, and makes it (mode 0600) and its folder
// (0700) if they are missing. It fails if the file is not a database, or is one of another program
// or of another shape. The Store does not depend on ctx, which bounds the opening. The caller
// closes the Store.
func Open(ctx context.Context, o store.Options) (*Store, error) {
	s, err := open(ctx, o.Location)
	if err != nil {
		return nil, fmt.Errorf("opening store %q: %w", o.Location, err)
	}
	return s, nil
}

func open(ctx context.Context, path string) (_ *Store, err error) {
	path, err = create(path)
	if err != nil {
		return nil, err
	}
	s := &Store{}
	if s.writers, err = database(path, url.Values{
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"1"},
		"_pragma":       {fmt.Sprintf("journal_size_limit(%d)", maxWAL), "secure_delete(ON)"},
	}); err != nil {
		return nil, err
	}
	if s.readers, err = database(path, url.Values{"_query_only": {"1"}}); err != nil {
		return nil, errors.Join(err, s.writers.Close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.readers.Close(), s.writers.Close())
		}
	}()
	s.writers.SetMaxOpenConns(1)
	readers := min(maxReaders, 2*runtime.GOMAXPROCS(0))
	s.readers.SetMaxOpenConns(readers)
	s.readers.SetMaxIdleConns(readers)
	if err := s.prepareFile(ctx); err != nil {
		return nil, err
	}
	if err := s.reads.prepare(ctx, s.readers); err != nil {
		return nil, err
	}
	s.commits.open = func(ctx context.Context) (*writer, error) { return newWriter(ctx, s.writers) }
	s.commits.saved = s.waiters.Wake
	s.commits.most = maxBatch
	s.pauses = pauses
	return s, nil
}

// create makes an empty file that only its owner can read; SQLite gives its companion files the
// same mode.
func create(path string) (string, error) {
	if path == "" {
		return "", errors.New("no path given")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	return path, f.Close()
}

// database describes connections to the file; none is opened yet.
func database(path string, settings url.Values) (*sql.DB, error) {
	settings.Set("_busy_timeout", fmt.Sprint(busyTimeout.Milliseconds()))
	name := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: settings.Encode()}
	return sql.Open("sqlite", name.String())
}

// prepareFile puts the file into WAL mode and brings its schema up to date.
func (s *Store) prepareFile(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	var mode string
	err = conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode)
	if err == nil && mode != "wal" {
		err = fmt.Errorf("the file system does not allow WAL mode: journal mode is %q", mode)
	}
	if err == nil {
		err = migrate(ctx, conn)
	}
	return errors.Join(err, conn.Close())
}

// connect opens the first connection. Two processes that put a new file into WAL mode at once do
// not wait for each other as long as they should: SQLite tells one of them at once that the file is
// busy.
func (s *Store) connect(ctx context.Context) (*sql.Conn, error) {
	for begin := time.Now(); ; {
		conn, err := s.writers.Conn(ctx)
		if err == nil || !busy(err) || time.Since(begin) > busyTimeout {
			return conn, err
		}
		if err := ctxtime.Sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// busy reports whether another process held the file for too long.
func busy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// Close implements [store.Store]. It works off the log into the file.
func (s *Store) Close() error {
	err := errors.Join(s.reads.close(), s.readers.Close(), s.commits.close())
	// Another process may be reading: then the log stays, and is worked off later.
	if _, e := s.writers.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)"); e != nil && !busy(e) {
		err = errors.Join(err, e)
	}
	if err = errors.Join(err, s.writers.Close()); err != nil {
		return fmt.Errorf("closing store: %w", err)
	}
	return nil
}
