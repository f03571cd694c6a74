package taskserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

const schema = `
CREATE TABLE queues (
  id    INTEGER PRIMARY KEY,
  queue BLOB NOT NULL                 -- google.cloud.tasks.v2.Queue
);
CREATE TABLE tasks (
  id         INTEGER PRIMARY KEY,
  queue      INTEGER NOT NULL,
  task       BLOB NOT NULL,           -- google.cloud.tasks.v2.Task, as created
  at         INTEGER NOT NULL,        -- when it is due; all times are in microseconds since 1970
  dispatched INTEGER NOT NULL DEFAULT 0,
  responded  INTEGER NOT NULL DEFAULT 0,
  executed   INTEGER NOT NULL DEFAULT 0,
  previous   INTEGER NOT NULL DEFAULT 0, -- the HTTP status of the last response
  first      INTEGER NOT NULL DEFAULT 0, -- when it was first dispatched
  last       BLOB                     -- google.cloud.tasks.v2.Attempt
);
CREATE TABLE names (                  -- names that are taken although their tasks were removed
  queue   INTEGER NOT NULL,
  hash    BLOB NOT NULL,
  expires INTEGER NOT NULL            -- when the name is free
);
PRAGMA user_version = 1;
`

// The statements that change the journal, as indexes of statements.
const (
	begin = iota
	commit
	rollback
	saveQueue
	insertTask
	updateTask
	deleteTask
	insertName
	deleteQueue
	deleteQueueTasks
	deleteQueueNames
	expireNames
)

var statements = []string{
	begin:    `BEGIN`,
	commit:   `COMMIT`,
	rollback: `ROLLBACK`,
	saveQueue: `INSERT INTO queues (id, queue) VALUES (?, ?)
		ON CONFLICT (id) DO UPDATE SET queue = excluded.queue`,
	insertTask: `INSERT INTO tasks (id, queue, task, at) VALUES (?, ?, ?, ?)`,
	updateTask: `UPDATE tasks
		SET at = ?, dispatched = ?, responded = ?, executed = ?, previous = ?, first = ?, last = ?
		WHERE id = ?`,
	deleteTask:       `DELETE FROM tasks WHERE id = ?`,
	insertName:       `INSERT INTO names (queue, hash, expires) VALUES (?, ?, ?)`,
	deleteQueue:      `DELETE FROM queues WHERE id = ?`,
	deleteQueueTasks: `DELETE FROM tasks WHERE queue = ?`,
	deleteQueueNames: `DELETE FROM names WHERE queue = ?`,
	expireNames:      `DELETE FROM names WHERE expires <= ?`,
}

// op is a statement with its arguments.
type op struct {
	statement int
	args      []any
}

// batch is a list of statements that are run in one transaction.
type batch struct {
	ops  []op
	done chan struct{} // closed when the transaction was committed or failed
	err  error         // why it failed; set before done is closed
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// wait waits until the batch is committed. It returns an error if the batch could not be written,
// or if ctx ended first.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errClosed = errors.New("the server is closed")

// journal writes changes to the database in the order in which they are added. A single goroutine
// writes. Changes that are added during a commit share the next transaction, and so the cost of its
// commit.
type journal struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts []*sql.Stmt

	mu   sync.Mutex
	next *batch // collects what is added
	err  error  // why nothing can be added any more

	work     chan struct{} // has an element if something was added
	quit     chan struct{} // closed to write what was added, and then stop
	drop     chan struct{} // closed to stop without writing what was added
	finished chan struct{} // closed when the writer has stopped
}

// openJournal opens dir/tasks.db and starts its writer. It creates the file if it does not exist,
// and fails if another process uses it.
func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(filepath.Join(dir, "tasks.db"))
	if err != nil {
		return nil, err
	}
	// The file is created here so that only its owner can read it. SQLite gives its other files the
	// same mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		return nil, err
	}
	j := &journal{
		db:       db,
		next:     newBatch(),
		work:     make(chan struct{}, 1),
		quit:     make(chan struct{}),
		drop:     make(chan struct{}),
		finished: make(chan struct{}),
	}
	if err := j.prepare(context.Background()); err != nil {
		if busy := (*sqlite.Error)(nil); errors.As(err, &busy) && busy.Code() == sqlitelib.SQLITE_BUSY {
			err = fmt.Errorf("another process is using it: %w", err)
		}
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), j.release())
	}
	go j.write()
	return j, nil
}

// prepare locks the database, creates its tables if it is new, and prepares the statements.
func (j *journal) prepare(ctx context.Context) (err error) {
	if j.conn, err = j.db.Conn(ctx); err != nil {
		return err
	}
	for _, pragma := range []string{
		`PRAGMA busy_timeout = 2000`,
		// Of a new file: a row has some hundred bytes, and a commit writes whole pages.
		`PRAGMA page_size = 1024`,
		// Pages in the log: 4 MiB. To empty it is to wait for the disk, which commits do not.
		`PRAGMA wal_autocheckpoint = 4096`,
		`PRAGMA locking_mode = EXCLUSIVE`, // two servers on one file would deliver each task twice
		`PRAGMA journal_mode = WAL`,
		`PRAGMA synchronous = NORMAL`,
		`BEGIN EXCLUSIVE; COMMIT`, // takes the lock now rather than at the first write
	} {
		if _, err := j.conn.ExecContext(ctx, pragma); err != nil {
			return err
		}
	}
	var version int
	if err := j.conn.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	switch version {
	case 0:
		if _, err := j.conn.ExecContext(ctx, "BEGIN;"+schema+"COMMIT"); err != nil {
			return err
		}
	case 1:
	default:
		return fmt.Errorf("its schema version is %d, but this program supports only 1", version)
	}
	for _, text := range statements {
		stmt, err := j.conn.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		j.stmts = append(j.stmts, stmt)
	}
	return nil
}

// add adds ops to the next batch and returns that batch. Without ops it returns a batch that is
// done when everything that was added before is written.
func (j *journal) add(ops ...op) *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		b := newBatch()
		b.err = j.err
		close(b.done)
		return b
	}
	j.next.ops = append(j.next.ops, ops...)
	select {
	case j.work <- struct{}{}:
	default:
	}
	return j.next
}

// take returns the next batch and begins another one. If err is not nil, nothing can be added
// afterwards.
func (j *journal) take(err error) *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.next
	j.next = newBatch()
	if j.err == nil {
		j.err = err
	}
	return b
}

// write commits batches until quit or drop is closed, or a commit fails.
func (j *journal) write() {
	defer close(j.finished)
	for {
		select {
		case <-j.work:
			b := j.take(nil)
			if b.err = j.commit(b.ops); b.err == nil {
				close(b.done)
				continue
			}
			close(b.done)
			rest := j.take(b.err)
			rest.err = b.err
			close(rest.done)
			return
		case <-j.quit:
			b := j.take(errClosed)
			b.err = j.commit(b.ops)
			close(b.done)
			return
		case <-j.drop:
			b := j.take(errClosed)
			b.err = errClosed
			close(b.done)
			return
		}
	}
}

func (j *journal) commit(ops []op) error {
	if len(ops) == 0 {
		return nil
	}
	ctx := context.Background() // for a context that can end, the driver starts a goroutine for each statement
	if _, err := j.stmts[begin].ExecContext(ctx); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, o := range ops {
		if _, err := j.stmts[o.statement].ExecContext(ctx, o.args...); err != nil {
			_, undo := j.stmts[rollback].ExecContext(ctx)
			return fmt.Errorf("journal: %w", errors.Join(err, undo))
		}
	}
	if _, err := j.stmts[commit].ExecContext(ctx); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// close writes what was added and releases the file.
func (j *journal) close() error {
	close(j.quit)
	<-j.finished
	return j.release()
}

// abandon releases the file without writing what was added. Tests use it to simulate a crash.
func (j *journal) abandon() error {
	close(j.drop)
	<-j.finished
	return j.release()
}

func (j *journal) release() error {
	var errs []error
	for _, stmt := range j.stmts {
		errs = append(errs, stmt.Close())
	}
	if j.conn != nil {
		errs = append(errs, j.conn.Close())
	}
	return errors.Join(append(errs, j.db.Close())...)
}
