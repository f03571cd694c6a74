package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
)

const (
	durationStatsQuery   = `SELECT version, data FROM durations WHERE pipeline = $1`
	addDurationsQuery    = `INSERT INTO durations (pipeline, version, data) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	changeDurationsQuery = `UPDATE durations SET version = $2, data = $3 WHERE pipeline = $1 AND version = $2 - 1`
)

// DurationStats implements [store.Store].
func (s *Store) DurationStats(ctx context.Context, pipeline string) (schedule.DurationStats, error) {
	var version int64
	var data []byte
	err := s.one(ctx, durationStatsQuery, []any{pipeline}, &version, &data)
	if errors.Is(err, pgx.ErrNoRows) {
		return schedule.DurationStats{}, nil
	}
	return schedule.DecodeDurationStats(version, data), explain(ctx, err, "reading the duration statistics")
}

// SaveDurationStats implements [store.Store]. It takes one round trip, and is not tried again.
func (s *Store) SaveDurationStats(ctx context.Context, pipeline string, p schedule.DurationStats) error {
	data, err := json.Marshal(p)
	if err == nil {
		query := changeDurationsQuery
		if p.Version == 1 {
			query = addDurationsQuery
		}
		done, failed := s.pool.Exec(ctx, query, pipeline, p.Version, data)
		e, refused := errors.AsType[*pgconn.PgError](failed)
		switch {
		// another saved at this moment; not where transactions are read committed
		case refused && (e.Code == "40001" || e.Code == "40P01"):
			err = store.ErrConflict
		case failed != nil:
			err = failed
		case done.RowsAffected() == 0:
			err = store.ErrConflict
		}
	}
	return explain(ctx, err, "saving the duration statistics")
}
