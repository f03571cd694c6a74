package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/store/internal/row"
	"github.com/casewatch/casewatch/shared/store/storetest"
)

// BenchmarkUpdate compares shared commits with one commit for each write, in the same run. An
// iteration is 64 updates by the writers, each of its own case, first in one way and then in the
// other. Both wait for the disk.
func BenchmarkUpdate(b *testing.B) {
	const updates = 64
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			took := map[int]time.Duration{}
			run := map[int]func(){maxBatch: nil, 1: nil}
			for limit := range run {
				s := openStore(b, filepath.Join(b.TempDir(), "store.db"))
				b.Cleanup(func() { closeStore(b, s) })
				s.commits.maxBatch = limit
				run[limit] = updater(b, s, writers, updates/writers)
			}
			for b.Loop() {
				for limit, f := range run {
					begin := time.Now()
					f()
					took[limit] += time.Since(begin)
				}
			}
			n := float64(b.N * updates)
			b.ReportMetric(n/took[maxBatch].Seconds(), "shared-writes/s")
			b.ReportMetric(n/took[1].Seconds(), "single-writes/s")
			b.ReportMetric(took[1].Seconds()/took[maxBatch].Seconds(), "ratio")
		})
	}
}

// updater begins a case for each writer. It returns a function that lets all writers update their
// cases at the same time, each times.
func updater(b *testing.B, s *Store, writers, each int) func() {
	at := make([]func(), writers)
	for i := range at {
		c := save(b, s, fmt.Sprint("case", i))
		at[i] = func() {
			for range each {
				w := after(c)
				if err := s.Update(context.Background(), w); err != nil {
					b.Error(err)
					return
				}
				c = w.Case
			}
		}
	}
	return func() {
		var all sync.WaitGroup
		for _, update := range at {
			all.Go(update)
		}
		all.Wait()
	}
}

// BenchmarkList lists and counts 100,000 runs.
func BenchmarkList(b *testing.B) { storetest.BenchmarkList(b, holding(b, storetest.Listed)) }

// BenchmarkSweep runs the queries of a sweep with few and with a million stored runs.
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
