package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/casewatch/casewatch/shared/cases"
)

// Past implements [store.Store].
func (s *Store) Past(ctx context.Context) (cases.Past, error) {
	var version int64
	var data []byte
	switch err := s.reads.past.QueryRowContext(ctx).Scan(&version, &data); {
	case errors.Is(err, sql.ErrNoRows):
		return cases.Past{}, nil
	case err != nil:
		return cases.Past{}, readErr(ctx, err, "reading the past")
	}
	return cases.PastOf(version, data), nil
}

// SavePast implements [store.Store].
func (s *Store) SavePast(ctx context.Context, p cases.Past) error {
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
	return wrap(err, "saving the past")
}
