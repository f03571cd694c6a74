package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/casewatch/casewatch/shared/schedule"
)

// DurationStats implements [store.Store].
func (s *Store) DurationStats(ctx context.Context) (schedule.DurationStats, error) {
	var version int64
	var data []byte
	switch err := s.reads.past.QueryRowContext(ctx).Scan(&version, &data); {
	case errors.Is(err, sql.ErrNoRows):
		return schedule.DurationStats{}, nil
	case err != nil:
		return schedule.DurationStats{}, readErr(ctx, err, "reading the duration statistics")
	}
	return schedule.DecodeDurationStats(version, data), nil
}

// SaveDurationStats implements [store.Store].
func (s *Store) SaveDurationStats(ctx context.Context, p schedule.DurationStats) error {
	data, err := json.Marshal(p)
	if err == nil {
		err = s.commits.do(ctx, &change{size: len(data), apply: func(w *writer) error {
			save := w.changePast
			if p.Version == 1 {
				save = w.addPast
			}
			return must(affected(context.Background(), save, p.Version, data))
		}})
	}
	return wrap(err, "saving the duration statistics")
}
