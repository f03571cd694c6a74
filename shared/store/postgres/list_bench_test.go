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
func BenchmarkList(b *testing.B) { storetest.BenchmarkList(b, holding(b, storetest.Listed)) }

// BenchmarkSweep asks what a sweep asks, with few and with a million runs stored.
func BenchmarkSweep(b *testing.B) {
	for _, n := range storetest.Stored() {
		storetest.BenchmarkSweep(b, n, holding(b, n))
	}
}

// holding returns a store with n runs, as it is after autovacuum went over it.
func holding(b *testing.B, n int) *Store {
	b.Helper()
	s, dsn := newStore(b)
	next, stop := iter.Pull(storetest.Bulk(n))
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
	postgrestest.Exec(
		b,
		dsn,
		"SET synchronous_commit = on; SELECT txid_current()",
	) // the log, and so what VACUUM may mark, is on disk
	postgrestest.Exec(b, dsn, "VACUUM ANALYZE")
	return s
}
