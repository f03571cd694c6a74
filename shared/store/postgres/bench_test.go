package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

// BenchmarkUpdate is one update per iteration, each writer at a case of its own, over a pool of four.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			s, dsn := newStore(b)
			postgrestest.Exec(b, dsn, "VACUUM ANALYZE")
			var all sync.WaitGroup
			turns := make(chan struct{})
			for i := range writers {
				c := save(b, s, fmt.Sprint("case", i))
				all.Go(func() {
					for range turns {
						w := after(c)
						if err := s.Update(context.Background(), w); err != nil {
							b.Error(err)
						}
						c = w.Case
					}
				})
			}
			for b.Loop() {
				turns <- struct{}{}
			}
			close(turns)
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// BenchmarkWake is the time from the beginning of an update by one instance to the return of a waiter at another.
func BenchmarkBegin(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			s, dsn := newStore(b)
			postgrestest.Exec(b, dsn, "VACUUM ANALYZE")
			var all sync.WaitGroup
			turns := make(chan int)
			for range writers {
				all.Go(func() {
					for i := range turns {
						if err := s.Begin(context.Background(), beginning(fmt.Sprint("case", i))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := 0; b.Loop(); i++ {
				turns <- i
			}
			close(turns)
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "begins/s")
		})
	}
}

func BenchmarkWake(b *testing.B) {
	writer, dsn := newStore(b)
	s := openStore(b, dsn)
	defer closeStore(b, s)
	c := save(b, writer, "a")
	keep, leave := context.WithCancel(b.Context())
	bystander := wait(keep, s, save(b, writer, "b")) // so that the connection goes on listening
	var took time.Duration
	for b.Loop() {
		done := wait(b.Context(), s, c)
		for waiting, _ := s.waiters.Count(); waiting != 2; waiting, _ = s.waiters.Count() {
			time.Sleep(10 * time.Microsecond)
		}
		w := after(c)
		begin := time.Now()
		if err := writer.Update(b.Context(), w); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		took += time.Since(begin)
		c = w.Case
	}
	leave()
	<-bystander
	b.ReportMetric(float64(took.Microseconds())/float64(b.N), "µs/wake")
}
