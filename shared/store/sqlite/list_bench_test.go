package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/casewatch/casewatch/shared/store/internal/row"
	"github.com/casewatch/casewatch/shared/store/storetest"
)

// BenchmarkList lists and counts 100,000 runs.
func BenchmarkList(b *testing.B) {
	s := openStore(b, filepath.Join(b.TempDir(), "store.db"))
	b.Cleanup(func() { closeStore(b, s) })
	err := s.commits.do(b.Context(), &change{apply: func(w *writer) error {
		for c := range storetest.Bulk() {
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
	storetest.BenchmarkList(b, s)
}
