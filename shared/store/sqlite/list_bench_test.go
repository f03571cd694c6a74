package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/casewatch/casewatch/shared/store/internal/row"
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

// holding returns a store with n runs.
func holding(b *testing.B, n int) *Store {
	b.Helper()
	s := openStore(b, filepath.Join(b.TempDir(), "store.db"))
	b.Cleanup(func() { closeStore(b, s) })
	err := s.commits.do(b.Context(), &change{apply: func(w *writer) error {
		for c := range storetest.Bulk(n) {
			r, err := row.Encode(c)
			if err != nil {
				return err
			}
			if err := must(affected(context.Background(), w.addRun, args(r)...)); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		b.Fatal(err)
	}
	return s
}
