package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/row"
	"github.com/casewatch/casewatch/shared/store/internal/waiters"
)

// reads are the prepared statements of the readers' connections.
type reads struct {
	statements
	get, current, value, overdue, list, listState, countOpen, countStates, versions, durations *sql.Stmt
}

const (
	overdueQuery = `SELECT record FROM runs
		WHERE wake_at < ?1 AND (wake_at, case_id, run) > (?2, ?3, ?4)
		ORDER BY wake_at, case_id, run LIMIT ?5`
	listQuery = `SELECT record FROM runs
		WHERE created_at >= ?1 AND (created_at, case_id, run) < (?2, ?3, ?4)
		ORDER BY created_at DESC, case_id DESC, run DESC LIMIT ?5`
	listStateQuery = `SELECT record FROM runs
		WHERE state = ?6 AND created_at >= ?1 AND (created_at, case_id, run) < (?2, ?3, ?4)
		ORDER BY created_at DESC, case_id DESC, run DESC LIMIT ?5`
	countOpenQuery   = `SELECT count(*) FROM runs WHERE open = 1`
	countStatesQuery = `SELECT state, count(*) FROM runs GROUP BY state`
)

func (r *reads) prepare(ctx context.Context, db *sql.DB) error {
	return r.prepareAll(ctx, db, map[**sql.Stmt]string{
		&r.get: `SELECT record FROM runs WHERE case_id = ? AND run = ?`,
		&r.current: `SELECT h.run, h.version, h.keys, h.owner, r.record FROM heads h
			JOIN runs r ON r.case_id = h.case_id AND r.run = h.run WHERE h.case_id = ?`,
		&r.value:       `SELECT data FROM run_values WHERE case_id = ? AND run = ? AND name = ?`,
		&r.overdue:     overdueQuery,
		&r.list:        listQuery,
		&r.listState:   listStateQuery,
		&r.countOpen:   countOpenQuery,
		&r.countStates: countStatesQuery,
		&r.versions: `SELECT r.version, h.run FROM runs r JOIN heads h ON h.case_id = r.case_id
			WHERE r.case_id = ? AND r.run = ?`,
		&r.durations: `SELECT version, data FROM durations WHERE pipeline = ?1`,
	})
}

// scanHead scans a head, and the other columns of its row into more.
func scanHead(found *sql.Row, h *store.Head, more ...any) error {
	var keys []byte
	if err := found.Scan(append([]any{&h.Run, &h.Version, &keys, &h.Owner}, more...)...); err != nil {
		return err
	}
	return row.DecodeKeys(keys, h)
}

// readErr converts the error of a reader into one that the interface defines.
func readErr(ctx context.Context, err error, format string, args ...any) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		err = store.ErrNotFound
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return wrap(err, format, args...)
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, caseID string, run int) (cases.Case, error) {
	var record []byte
	err := s.reads.get.QueryRowContext(ctx, caseID, run).Scan(&record)
	var c cases.Case
	if err == nil {
		c, err = row.Decode(record)
	}
	if err != nil {
		return cases.Case{}, readErr(ctx, err, "reading %q run %d", caseID, run)
	}
	return c, nil
}

// Current implements [store.Store].
func (s *Store) Current(ctx context.Context, caseID string) (store.Head, cases.Case, error) {
	h := store.Head{CaseID: caseID}
	var record []byte
	err := scanHead(s.reads.current.QueryRowContext(ctx, caseID), &h, &record)
	var c cases.Case
	if err == nil {
		c, err = row.Decode(record)
	}
	if err != nil {
		return store.Head{}, cases.Case{}, readErr(ctx, err, "reading current run of %q", caseID)
	}
	return h, c, nil
}

// Value implements [store.Store].
func (s *Store) Value(ctx context.Context, caseID string, run int, v store.Value) ([]byte, error) {
	var data []byte
	if err := s.reads.value.QueryRowContext(ctx, caseID, run, string(v)).Scan(&data); err != nil {
		return nil, readErr(ctx, err, "reading %s of %q run %d", v, caseID, run)
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// Overdue implements [store.Store].
func (s *Store) Overdue(ctx context.Context, before time.Time, after store.Cursor, limit int) ([]cases.Case, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	found, err := page(ctx, s.reads.overdue,
		before.UnixMicro(), after.OverdueAt.UnixMicro(), after.CaseID, after.Run, limit)
	if err != nil {
		return nil, readErr(ctx, err, "reading what is overdue")
	}
	return found, nil
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, f store.Filter, after store.Place, limit int) ([]cases.Case, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	since, from := row.Span(f, after)
	query, args := s.reads.list, []any{since.UnixMicro(), from.CreatedAt.UnixMicro(), from.CaseID, from.Run, limit}
	if f.State != "" {
		query, args = s.reads.listState, append(args, string(f.State))
	}
	found, err := page(ctx, query, args...)
	if err != nil {
		return nil, readErr(ctx, err, "listing")
	}
	return found, nil
}

// page returns the records that a query finds.
func page(ctx context.Context, query *sql.Stmt, args ...any) (found []cases.Case, err error) {
	rows, err := query.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var record sql.RawBytes
		if err := rows.Scan(&record); err != nil {
			return nil, err
		}
		c, err := row.Decode(record)
		if err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, rows.Err()
}

// CountOpen implements [store.Store].
func (s *Store) CountOpen(ctx context.Context) (int, error) {
	var n int
	err := s.reads.countOpen.QueryRowContext(ctx).Scan(&n)
	return n, readErr(ctx, err, "counting open runs")
}

// CountByState implements [store.Store].
func (s *Store) CountByState(ctx context.Context) (map[cases.State]int, error) {
	counts, err := s.countByState(ctx)
	if err != nil {
		return nil, readErr(ctx, err, "counting runs by state")
	}
	return counts, nil
}

func (s *Store) countByState(ctx context.Context) (counts map[cases.State]int, err error) {
	rows, err := s.reads.countStates.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	counts = map[cases.State]int{}
	for rows.Next() {
		var state cases.State
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, err
		}
		counts[state] = n
	}
	return counts, rows.Err()
}

// pauses are the waits between two reads for writes of other processes. Viewers should see such
// writes almost as soon as writes of their own process, which wake them. A read looks up two rows
// by key.
var pauses = waiters.Pauses{First: 100 * time.Millisecond, Later: 200 * time.Millisecond}

// Wait implements [store.Store].
func (s *Store) Wait(ctx context.Context, caseID string, run int, version int64) error {
	_, err := s.waiters.Wait(ctx, caseID, s.pauses, func() (bool, error) {
		var at store.Head
		err := s.reads.versions.QueryRowContext(ctx, caseID, run).Scan(&at.Version, &at.Run)
		return at.Version > version || at.Run > run, err
	}, waiters.Rest)
	return readErr(ctx, err, "waiting for %q run %d", caseID, run)
}
