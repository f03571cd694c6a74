package storetest

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// Listed is how many runs BenchmarkList lists and counts.
const Listed = 100_000

// Stored returns the numbers of stored runs for BenchmarkSweep, a small and a large one: the cost
// of a sweep must not depend on it. With -short they are smaller.
func Stored() []int {
	if testing.Short() {
		return []int{1_000, 10_000}
	}
	return []int{10_000, 1_000_000}
}

// Bulk yields n records for the benchmarks in the order of their creation, one for each second.
// Every 100th is running and becomes overdue after an hour; the others have succeeded. A driver may
// store them in its fastest way. Heads and values are not needed.
func Bulk(n int) iter.Seq[cases.Case] {
	return func(yield func(cases.Case) bool) {
		for i := range n {
			c := record(fmt.Sprintf("case-%06d", i*7919%n), 1)
			c.CreatedAt = created.Add(time.Duration(i) * time.Second)
			c.Bookkeeping.OverdueAt = c.CreatedAt.Add(time.Hour)
			c.Job.Progress = cases.Progress{
				Completed: 12,
				Total:     12,
				Percent:   100,
				Current:   "Special Interrogatories, set one",
			}
			c.State = cases.Running
			if i%100 != 0 {
				c.State, c.Bookkeeping.OverdueAt = cases.Succeeded, never
				c.Outcome.EndedAt, c.DeadlineAt = c.CreatedAt.Add(time.Minute), c.CreatedAt.Add(time.Hour)
				c.Outcome.End = &cases.End{Reason: cases.ReasonCompleted, Source: cases.SourceEvent}
				c.Outcome.OutputURL = "https://storage.example.com/documents/" + c.CaseID + "/output.zip"
			}
			if !yield(c) {
				return
			}
		}
	}
}

// BenchmarkList measures List and CountByState on a store with the [Listed] runs of [Bulk]. List
// reads a page of 50 from the beginning and from the middle.
func BenchmarkList(b *testing.B, s store.Store) {
	middle := created.Add(Listed / 2 * time.Second)
	for _, place := range []struct {
		name  string
		after store.Place
	}{{"first", store.Place{}}, {"middle", store.Place{CreatedAt: middle}}} {
		for _, state := range []cases.State{"", cases.Running, cases.Succeeded} {
			name := "state=" + string(state)
			if state == "" {
				name = "any"
			}
			b.Run("page="+place.name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					page, err := s.List(b.Context(), store.Filter{State: state}, place.after, 50)
					if err != nil || len(page) != 50 {
						b.Fatalf("%d records, error %v", len(page), err)
					}
				}
			})
		}
	}
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			counts, err := s.CountByState(b.Context())
			if err != nil || counts[cases.Running] != Listed/100 || counts[cases.Succeeded] != Listed-Listed/100 {
				b.Fatalf("counts %v, error %v", counts, err)
			}
		}
	})
}

// BenchmarkSweep measures the reads of a sweep on a store with n runs of [Bulk]: Overdue when
// nothing is overdue, a page of 100 when half of the open runs are overdue, and CountOpen.
func BenchmarkSweep(b *testing.B, n int, s store.Store) {
	half := created.Add(time.Hour + time.Duration(n/2)*time.Second)
	for _, at := range []struct {
		name   string
		before time.Time
		want   int
	}{{"none due", created, 0}, {"half due", half, min(100, n/200)}} {
		b.Run(fmt.Sprintf("stored=%d/%s", n, at.name), func(b *testing.B) {
			for b.Loop() {
				page, err := s.Overdue(b.Context(), at.before, store.Cursor{}, 100)
				if err != nil || len(page) != at.want {
					b.Fatalf("%d records, want %d, error %v", len(page), at.want, err)
				}
			}
		})
	}
	b.Run(fmt.Sprintf("stored=%d/open", n), func(b *testing.B) {
		for b.Loop() {
			if open, err := s.CountOpen(b.Context()); err != nil || open != n/100 {
				b.Fatalf("%d open, want %d, error %v", open, n/100, err)
			}
		}
	})
}
