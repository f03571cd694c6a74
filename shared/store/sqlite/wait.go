package sqlite

import (
	"context"
	"time"

	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/waiters"
)

// pauses between two looks for writes of other processes: short at first, then longer. A look reads two rows by key.
var pauses = waiters.Pauses{First: 250 * time.Millisecond, Later: time.Second}

// Wait implements [store.Store].
func (s *Store) Wait(ctx context.Context, caseID string, run int, version int64) error {
	_, err := s.waiters.Wait(ctx, caseID, s.pauses, func() (bool, error) {
		var at store.Head
		err := s.reads.versions.QueryRowContext(ctx, caseID, run).Scan(&at.Version, &at.Run)
		return at.Version > version || at.Run > run, err
	}, waiters.Rest)
	return readErr(ctx, err, "waiting for %q run %d", caseID, run)
}
