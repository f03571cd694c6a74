package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/row"
)

const (
	getQuery     = `SELECT record FROM runs WHERE case_id = $1 AND run = $2`
	currentQuery = `SELECT h.run, h.version, h.keys, r.record
		FROM heads h JOIN runs r ON r.case_id = h.case_id AND r.run = h.run WHERE h.case_id = $1`
	valueQuery   = `SELECT data FROM run_values WHERE case_id = $1 AND run = $2 AND name = $3`
	overdueQuery = `SELECT record FROM runs
		WHERE wake_at < $1 AND (wake_at, case_id, run) > ($2, $3, $4)
		ORDER BY wake_at, case_id, run LIMIT $5`
	countOpenQuery = `SELECT count(*) FROM runs WHERE open`
	versionsQuery  = `SELECT r.version, h.run FROM runs r JOIN heads h ON h.case_id = r.case_id
		WHERE r.case_id = $1 AND r.run = $2`
)

// one reads a single row.
func (s *Store) one(ctx context.Context, query string, args []any, into ...any) error {
	return repeat(ctx, passing, func() error { return s.pool.QueryRow(ctx, query, args...).Scan(into...) })
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, caseID string, run int) (cases.Case, error) {
	var record []byte
	var c cases.Case
	err := s.one(ctx, getQuery, []any{caseID, run}, &record)
	if err == nil {
		c, err = row.Decode(record)
	}
	return c, explain(ctx, err, "reading %q run %d", caseID, run)
}

// Current implements [store.Store].
func (s *Store) Current(ctx context.Context, caseID string) (store.Head, cases.Case, error) {
	h := store.Head{CaseID: caseID}
	var keys, record []byte
	var c cases.Case
	err := s.one(ctx, currentQuery, []any{caseID}, &h.Run, &h.Version, &keys, &record)
	if err == nil {
		err = row.DecodeKeys(keys, &h)
	}
	if err == nil {
		c, err = row.Decode(record)
	}
	if err != nil {
		return store.Head{}, cases.Case{}, explain(ctx, err, "reading current run of %q", caseID)
	}
	return h, c, nil
}

// Value implements [store.Store].
func (s *Store) Value(ctx context.Context, caseID string, run int, v store.Value) ([]byte, error) {
	var data []byte
	err := s.one(ctx, valueQuery, []any{caseID, run, string(v)}, &data)
	return data, explain(ctx, err, "reading %s of %q run %d", v, caseID, run)
}

// Overdue implements [store.Store].
func (s *Store) Overdue(ctx context.Context, before time.Time, after store.Cursor, limit int) (found []cases.Case, err error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	err = repeat(ctx, passing, func() error {
		rows, err := s.pool.Query(ctx, overdueQuery, before, after.WakeAt, after.CaseID, after.Run, limit)
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (cases.Case, error) {
			var record []byte
			if err := r.Scan(&record); err != nil {
				return cases.Case{}, err
			}
			return row.Decode(record)
		})
		return err
	})
	if err != nil {
		return nil, explain(ctx, err, "reading what is overdue")
	}
	return found, nil
}

// CountOpen implements [store.Store].
func (s *Store) CountOpen(ctx context.Context) (int, error) {
	var n int
	err := s.one(ctx, countOpenQuery, nil, &n)
	return n, explain(ctx, err, "counting open runs")
}
