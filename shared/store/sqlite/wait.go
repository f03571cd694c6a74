package sqlite

import (
	"context"
	"time"

	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/waiters"
)

// pauses between two looks for writes of other processes: a viewer is not to see them much later than those of its own, which wake it. A look reads two
// rows by key.
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
