package machine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// BenchmarkEventToEnd measures from the publication of an event to the end of its case in the store: the way through the Pub/Sub
// server, its bridge and complete. The median is reported.
func BenchmarkEventToEnd(b *testing.B) {
	s := newSystem(b, nil)
	s.pipe.Default(pipelinetest.Async(4))
	var took []time.Duration
	for b.Loop() {
		c := s.start(`{}`, "")
		s.until(c, "it runs", func(v view) bool { return v.State == "running" })
		begun := time.Now()
		s.publish(`{"case_id":"` + c.id + `","run":1,"status":"succeeded","result":{"success":true}}`)
		s.until(c, "it ended", func(v view) bool { return v.EndedAt != nil })
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
}
