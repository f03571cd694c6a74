package storetest

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// listed is how many runs BenchmarkList lists and counts: one is begun each second, and every 100th runs, the others succeeded.
const listed = 100_000

// Bulk are the records for [BenchmarkList], in the order of their creation. The driver saves them as it can do so fast; heads and values are
// not needed.
func Bulk() iter.Seq[cases.Case] {
	return func(yield func(cases.Case) bool) {
		for i := range listed {
			c := record(fmt.Sprintf("case-%06d", i*7919%listed), 1)
			c.CreatedAt = created.Add(time.Duration(i) * time.Second)
			c.Progress = cases.Progress{Completed: 12, Total: 12, Percent: 100, Current: "Special Interrogatories, set one"}
			c.State = cases.Running
			if i%100 != 0 {
				c.State = cases.Succeeded
				c.EndedAt, c.DeadlineAt = c.CreatedAt.Add(time.Minute), c.CreatedAt.Add(time.Hour)
				c.End = &cases.End{Reason: cases.ReasonCompleted, Source: cases.SourceEvent}
				c.OutputURL = "https://storage.example.com/documents/" + c.CaseID + "/output.zip"
			}
			if !yield(c) {
				return
			}
		}
	}
}

// BenchmarkList measures List, a page of 50 from the beginning and from the middle, and CountByState, on a store that holds [Bulk].
func BenchmarkList(b *testing.B, s store.Store) {
	middle := created.Add(listed / 2 * time.Second)
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
			if err != nil || counts[cases.Running] != listed/100 || counts[cases.Succeeded] != listed-listed/100 {
				b.Fatalf("counts %v, error %v", counts, err)
			}
		}
	})
}
