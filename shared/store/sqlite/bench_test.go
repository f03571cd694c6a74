package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// BenchmarkUpdate compares shared commits with one commit per write, in the same run: an iteration is 64 updates by that
// many writers, each of a case of its own, in the one way and then in the other. Both wait for the disk.
func BenchmarkUpdate(b *testing.B) {
	const updates = 64
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			took := map[int]time.Duration{}
			run := map[int]func(){maxBatch: nil, 1: nil}
			for most := range run {
				s := openStore(b, filepath.Join(b.TempDir(), "store.db"))
				b.Cleanup(func() { closeStore(b, s) })
				s.commits.most = most
				run[most] = updater(b, s, writers, updates/writers)
			}
			for b.Loop() {
				for most, f := range run {
					begin := time.Now()
					f()
					took[most] += time.Since(begin)
				}
			}
			n := float64(b.N * updates)
			b.ReportMetric(n/took[maxBatch].Seconds(), "shared-writes/s")
			b.ReportMetric(n/took[1].Seconds(), "single-writes/s")
			b.ReportMetric(took[1].Seconds()/took[maxBatch].Seconds(), "ratio")
		})
	}
}

// updater makes a case for each writer, and returns what has all of them update theirs at once, each that many times.
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
