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

// op is one statement to run.
type op struct {
	statement int
	args      []any
}

// batch is what is written in one transaction.
type batch struct {
	ops  []op
	done chan struct{} // closed once it is committed, or never will be
	err  error         // why not; set before done is closed
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// wait returns nil once the batch is committed.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errClosed = errors.New("the server is closed")

// journal writes what happens, in the order in which it was added. One goroutine writes; all that is added while it commits goes into its next
// transaction, so that the cost of a commit is shared by however many wait for it.
type journal struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts []*sql.Stmt

	mu   sync.Mutex
	next *batch
	err  error // no more is written

	work     chan struct{} // something was added
	quit     chan struct{} // write what was added, then stop
	drop     chan struct{} // stop without writing what was added
	finished chan struct{}
}

// openJournal opens dir/tasks.db, or creates it.
func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(filepath.Join(dir, "tasks.db"))
	if err != nil {
		return nil, err
	}
	// Made here, so that only its owner can read it; SQLite gives its other files the same mode.
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
		db: db, next: newBatch(),
		work: make(chan struct{}, 1), quit: make(chan struct{}), drop: make(chan struct{}), finished: make(chan struct{}),
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

func (j *journal) prepare(ctx context.Context) (err error) {
	if j.conn, err = j.db.Conn(ctx); err != nil {
		return err
	}
	for _, pragma := range []string{
		`PRAGMA busy_timeout = 2000`,
		`PRAGMA locking_mode = EXCLUSIVE`, // two servers on one file would deliver everything twice
		`PRAGMA journal_mode = WAL`,
		`PRAGMA synchronous = NORMAL`,
		`BEGIN EXCLUSIVE; COMMIT`, // takes the lock now, not at the first write
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
		return fmt.Errorf("it has schema version %d, not 1", version)
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

// add hands ops to the writer. With none it returns a batch that is done once everything added before is.
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

// take returns what was added. After it, nothing can be added any more if err is not nil.
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
	ctx := context.Background() // with one that can end, the driver starts a goroutine for each statement
	if _, err := j.conn.ExecContext(ctx, `BEGIN`); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, o := range ops {
		if _, err := j.stmts[o.statement].ExecContext(ctx, o.args...); err != nil {
			_, rollback := j.conn.ExecContext(ctx, `ROLLBACK`)
			return fmt.Errorf("journal: %w", errors.Join(err, rollback))
		}
	}
	if _, err := j.conn.ExecContext(ctx, `COMMIT`); err != nil {
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

// abandon releases the file without writing what was added, as the death of the process would.
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
