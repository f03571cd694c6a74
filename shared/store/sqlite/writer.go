package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// statements are prepared and closed together.
type statements []*sql.Stmt

// prepareAll prepares each query and stores the statement at its pointer.
func (s *statements) prepareAll(ctx context.Context, on interface {
	PrepareContext(context.Context, string) (*sql.Stmt, error)
}, queries map[**sql.Stmt]string) error {
	for place, query := range queries {
		stmt, err := on.PrepareContext(ctx, query)
		if err != nil {
			return errors.Join(err, s.close())
		}
		*place = stmt
		*s = append(*s, stmt)
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	for _, stmt := range *s {
		errs = append(errs, stmt.Close())
	}
	*s = nil
	return errors.Join(errs...)
}

// writer is the only connection that writes, with its statements. One goroutine uses it at a time.
type writer struct {
	conn *sql.Conn
	statements

	begin, commit, savepoint, release, undo *sql.Stmt

	readHead, addHead, changeHead, dropHead *sql.Stmt
	readVersion, addRun, changeRun, dropRun *sql.Stmt
	otherRun, putValue, dropValue           *sql.Stmt
	addDurations, changeDurations           *sql.Stmt
}

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn}
	err = w.prepareAll(ctx, conn, map[**sql.Stmt]string{
		&w.begin:     `BEGIN IMMEDIATE`,
		&w.commit:    `COMMIT`,
		&w.savepoint: `SAVEPOINT one`,
		&w.release:   `RELEASE one`,
		&w.undo:      `ROLLBACK TO one`,

		&w.readHead: `SELECT run, version, keys, owner FROM heads WHERE case_id = ?`,
		&w.addHead: `INSERT INTO heads (case_id, run, version, keys, owner) VALUES (?1, ?2, ?3, ?4, ?5)
			ON CONFLICT DO NOTHING`,
		&w.changeHead: `UPDATE heads SET run = ?2, version = ?3, keys = ?4, owner = ?5
			WHERE case_id = ?1 AND version = ?3 - 1`,
		&w.dropHead: `DELETE FROM heads WHERE case_id = ?`,

		&w.readVersion: `SELECT version FROM runs WHERE case_id = ? AND run = ?`,
		&w.addRun: `INSERT INTO runs (case_id, run, version, wake_at, open, record, state, created_at)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
			ON CONFLICT DO NOTHING`,
		&w.changeRun: `UPDATE runs SET version = ?3, wake_at = ?4, open = ?5, record = ?6, state = ?7, created_at = ?8
			WHERE case_id = ?1 AND run = ?2 AND version = ?3 - 1`,
		&w.dropRun:  `DELETE FROM runs WHERE case_id = ? AND run = ?`,
		&w.otherRun: `SELECT EXISTS (SELECT 1 FROM runs WHERE case_id = ? AND run <> ?)`,

		&w.putValue: `INSERT INTO run_values (case_id, run, name, data) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET data = excluded.data`,
		&w.dropValue: `DELETE FROM run_values WHERE case_id = ? AND run = ? AND name = ?`,

		&w.addDurations: `INSERT INTO durations (pipeline, version, data) VALUES (?1, ?2, ?3)
			ON CONFLICT DO NOTHING`,
		&w.changeDurations: `UPDATE durations SET version = ?2, data = ?3 WHERE pipeline = ?1 AND version = ?2 - 1`,
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return w, nil
}

// close releases the statements and returns the connection to its pool.
func (w *writer) close() error {
	return errors.Join(w.statements.close(), w.conn.Close())
}

// discard closes the connection permanently, whatever state it is in.
func (w *writer) discard() error {
	err := w.statements.close()
	if e := w.conn.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(e, driver.ErrBadConn) {
		err = errors.Join(err, e)
	}
	if e := w.conn.Close(); !errors.Is(e, sql.ErrConnDone) {
		err = errors.Join(err, e)
	}
	return err
}

// affected runs a statement and reports whether it changed a row.
func affected(ctx context.Context, stmt *sql.Stmt, args ...any) (bool, error) {
	result, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
