package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/row"
)

// Where callers say which run, it may be any number, and the column is no wider than it has to be:
// they are compared as bigint.
const (
	getQuery     = `SELECT record FROM runs WHERE case_id = $1 AND run = $2::bigint`
	currentQuery = `SELECT h.run, h.version, h.keys, h.owner, r.record
		FROM heads h JOIN runs r ON r.case_id = h.case_id AND r.run = h.run WHERE h.case_id = $1`
	valueQuery   = `SELECT data FROM run_values WHERE case_id = $1 AND run = $2::bigint AND name = $3`
	overdueQuery = `SELECT record FROM runs
		WHERE wake_at < $1 AND (wake_at, case_id, run) > ($2, $3, $4::bigint)
		ORDER BY wake_at, case_id, run LIMIT $5`
	listQuery = `SELECT record FROM runs
		WHERE created_at >= $1 AND (created_at, case_id, run) < ($2, $3, $4::bigint)
		ORDER BY created_at DESC, case_id DESC, run DESC LIMIT $5`
	listStateQuery = `SELECT record FROM runs
		WHERE state = $6 AND created_at >= $1 AND (created_at, case_id, run) < ($2, $3, $4::bigint)
		ORDER BY created_at DESC, case_id DESC, run DESC LIMIT $5`
	countStatesQuery = `SELECT state, count(*) FROM runs WHERE state IS NOT NULL GROUP BY state`

	countOpenQuery = `SELECT count(*) FROM runs WHERE open`
	versionsFrom   = ` FROM runs r JOIN heads h ON h.case_id = r.case_id WHERE r.case_id = $1 AND r.run = $2::bigint`
	// watchQuery has the case watched for a minute, and says whether it had to write that. Those who
	// wait look every 5 s at least.
	watchQuery = `WITH anew AS (
			UPDATE heads SET watched_until = clock_timestamp() + interval '1 minute'
			WHERE case_id = $1 AND watched_until < clock_timestamp() + interval '30 seconds' RETURNING case_id
		)
		SELECT r.version, h.run, EXISTS (SELECT FROM anew)` + versionsFrom
	lockedVersionsQuery = `SELECT r.version, h.run` + versionsFrom + ` FOR SHARE OF r`
)

// one reads a single row.
func (s *Store) one(ctx context.Context, query string, args []any, into ...any) error {
	return repeat(
		ctx,
		&s.retries,
		transient,
		func() error { return s.pool.QueryRow(ctx, query, args...).Scan(into...) },
	)
}

// many reads all rows, or none.
func many[T any](
	ctx context.Context,
	s *Store,
	scan pgx.RowToFunc[T],
	query string,
	args ...any,
) (found []T, err error) {
	err = repeat(ctx, &s.retries, transient, func() error {
		rows, err := s.pool.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, scan)
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
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
	err := s.one(ctx, currentQuery, []any{caseID}, &h.Run, &h.Version, &keys, &h.Owner, &record)
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
func (s *Store) Overdue(ctx context.Context, before time.Time, after store.Cursor, limit int) ([]cases.Case, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	found, err := many(ctx, s, scanCase, overdueQuery, before, after.OverdueAt, after.CaseID, after.Run, limit)
	return found, explain(ctx, err, "reading what is overdue")
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, f store.Filter, after store.Place, limit int) ([]cases.Case, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	since, from := row.Span(f, after)
	query, args := listQuery, []any{since, from.CreatedAt, from.CaseID, from.Run, limit}
	if f.State != "" {
		query, args = listStateQuery, append(args, string(f.State))
	}
	found, err := many(ctx, s, scanCase, query, args...)
	return found, explain(ctx, err, "listing")
}

func scanCase(r pgx.CollectableRow) (cases.Case, error) {
	var record []byte
	if err := r.Scan(&record); err != nil {
		return cases.Case{}, err
	}
	return row.Decode(record)
}

// CountOpen implements [store.Store].
func (s *Store) CountOpen(ctx context.Context) (int, error) {
	var n int
	err := s.one(ctx, countOpenQuery, nil, &n)
	return n, explain(ctx, err, "counting open runs")
}

// CountByState implements [store.Store].
func (s *Store) CountByState(ctx context.Context) (map[cases.State]int, error) {
	type counted struct {
		State cases.State
		N     int
	}
	found, err := many(ctx, s, pgx.RowToStructByPos[counted], countStatesQuery)
	if err != nil {
		return nil, explain(ctx, err, "counting runs by state")
	}
	counts := make(map[cases.State]int, len(found))
	for _, c := range found {
		counts[c.State] = c.N
	}
	return counts, nil
}
