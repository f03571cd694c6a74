// Package sqlite is the embedded driver of [store.Store]: one SQLite file, for one machine. It
// needs no server and no C compiler.
//
// # Durability
//
// A confirmed write survives the end of the process and of the machine. The file is in WAL mode
// with synchronous=FULL, so that each commit waits for the disk
// (https://www.sqlite.org/pragma.html#pragma_synchronous). This wait takes some milliseconds.
// Writers that arrive during a commit share the next one. They queue up, and the first of them, the
// leader, writes for all. Each write has a savepoint of its own, so that no write affects another
// or gets another's result. This needs no goroutine.
//
// # Deletion
//
// Deleted and replaced data, forms above all, are overwritten with zeros in the file, also in freed
// pages (PRAGMA secure_delete, https://www.sqlite.org/pragma.html#pragma_secure_delete). So there
// is no need to vacuum. In the log beside the file, the data stay until their pages are overwritten
// or [Store.Close] empties the log.
//
// This makes writes of large forms slower. A case that begins, has its form dropped and is purged
// took as long as without it for a form of 16 KiB (22 ms), and 1.6 times as long for one of 900 KiB
// (67 ms and 43 ms). Each had three commits, on 2 cores shared with other work (go test -run='^$'
// -bench=SecureDelete -benchtime=40x ./shared/store/sqlite).
//
// # Pages
//
// A commit writes whole pages, and most writes change one record of about 1 KiB and an entry of one
// index. So a new file has pages of 1 KiB. 300 cases of eight writes, by four writers, wrote 49 kB a
// case, against 102 kB with SQLite's pages of 4 KiB, in the same CPU time. The case with a form of
// 900 KiB above took 1.4 times as long.
//
// # Order
//
// Queued writes that contain an end are written before the others.
//
// # Processes
//
// Several processes of one machine may open the same file. They write one after the other, and wait
// up to 10 s for each other. The file must be on a local disk, because WAL mode does not work on a
// network file system (https://www.sqlite.org/wal.html).
//
// # Waiting
//
// A write through the same Store wakes [Store.Wait] immediately. It finds writes of other processes
// by reading again, after 100 ms and then every 200 ms. A Store holds data for a case only while
// somebody waits for it.
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
	busyTimeout     = 10 * time.Second // how long to wait for another process's write
	pageSize        = 1 << 10          // of a new file, in bytes
	checkpointAfter = 4 << 20          // the log's content is moved into the file when it has this many bytes
	maxWAL          = 64 << 20         // the log is truncated to this many bytes after a checkpoint
	maxReaders      = 8
)

// Store is a [store.Store] in one SQLite file.
type Store struct {
	readers *sql.DB
	reads   reads
	writers *sql.DB // has one connection
	commits commits
	waiters waiters.Waiters
	pauses  waiters.Pauses
}

var _ store.Store = (*Store)(nil)

// Open opens the file at o.Location. If the file (mode 0600) or its folder (0700) is missing, Open
// creates it. It fails if the file is not a database, belongs to another program, or has a newer
// schema or records of another shape. ctx bounds only the opening. The caller must close the Store.
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
		"_pragma": {
			fmt.Sprintf("page_size(%d)", pageSize), fmt.Sprintf("wal_autocheckpoint(%d)", checkpointAfter/pageSize),
			fmt.Sprintf("journal_size_limit(%d)", maxWAL), "secure_delete(ON)",
		},
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
	s.commits.maxBatch = maxBatch
	s.pauses = pauses
	return s, nil
}

// create creates an empty file that only its owner can read, unless there is one. SQLite gives its
// companion files the same mode.
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

// database describes connections to the file. It opens none.
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
	if err = errors.Join(err, conn.Close()); err != nil {
		return err
	}
	return migrate(ctx, s.writers, migrations)
}

// connect opens the first connection. If two processes put a new file into WAL mode at the same
// time, they do not wait for each other as busyTimeout says: SQLite immediately reports to one of
// them that the file is busy. So connect retries.
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

// busy reports whether err means that another process held the file for too long.
func busy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// Close implements [store.Store]. It moves the content of the log into the file.
func (s *Store) Close() error {
	err := errors.Join(s.reads.close(), s.readers.Close(), s.commits.close())
	// If another process is reading, the log stays and is moved later.
	if _, e := s.writers.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)"); e != nil && !busy(e) {
		err = errors.Join(err, e)
	}
	if err = errors.Join(err, s.writers.Close()); err != nil {
		return fmt.Errorf("closing store: %w", err)
	}
	return nil
}
