package postgres

import (
	"iter"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/casewatch/casewatch/shared/store/internal/row"
	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
	"github.com/casewatch/casewatch/shared/store/storetest"
)

// BenchmarkList lists and counts 100,000 runs.
func BenchmarkList(b *testing.B) {
	s, dsn := newStore(b)
	next, stop := iter.Pull(storetest.Bulk())
	defer stop()
	columns := []string{"case_id", "run", "version", "wake_at", "open", "record", "state", "created_at"}
	if _, err := s.pool.CopyFrom(b.Context(), pgx.Identifier{"runs"}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		c, ok := next()
		if !ok {
			return nil, nil
		}
		r, err := row.Encode(c)
		return rowArgs(r), err
	})); err != nil {
		b.Fatal(err)
	}
	postgrestest.Exec(b, dsn, "SET synchronous_commit = on; SELECT txid_current()") // the log, and so what VACUUM may mark, is on disk
	postgrestest.Exec(b, dsn, "VACUUM ANALYZE")
	storetest.BenchmarkList(b, s)
}
