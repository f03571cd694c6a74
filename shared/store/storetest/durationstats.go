package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
)

var durationStatsTests = []test{
	{"IsKeptWhole", testDurationStatsKept},
	{"OneOfManyWritersSaves", testDurationStatsRace},
	{"EachPipelineHasItsOwn", testDurationStatsOfPipelines},
}

// pipelineName is the pipeline of the tests.
const pipelineName = "default"

// durationStats returns statistics of the version. All cases and all tests share what is stored, so
// each test continues from the stored version.
func durationStats(version int64) schedule.DurationStats {
	return schedule.DurationStats{
		Version:     version,
		At:          created.Add(time.Duration(version) * time.Second),
		FoundByPoll: 3,
		Reported:    4,
		ErrorSum:    1.25,
		ErrorCount:  2,
		BySize: map[int]schedule.Histogram{
			0: {From: 3, Counts: []int{1}},
			6: {From: 40, Counts: []int{2, 0, int(version)}},
		},
	}
}

func (e *env) durationStats(t *testing.T, s store.Store) schedule.DurationStats {
	t.Helper()
	p, err := s.DurationStats(e.ctx, pipelineName)
	if err != nil {
		t.Fatalf("DurationStats: %v", err)
	}
	return p
}

// testDurationStatsKept checks that every instance reads what was saved, and that only the next
// version replaces it.
func testDurationStatsKept(t *testing.T, e *env) {
	at := e.durationStats(t, e.Store).Version
	for next := at + 1; next <= at+2; next++ {
		for _, wrong := range []int64{next - 1, next + 1} {
			if wrong > 0 {
				err := e.Store.SaveDurationStats(e.ctx, pipelineName, durationStats(wrong))
				wantErr(t, "SaveDurationStats of another version", err, store.ErrConflict)
			}
		}
		if got := e.durationStats(t, e.Store); got.Version != next-1 {
			t.Fatalf("a conflicting save took effect: version %d, want %d", got.Version, next-1)
		}
		if err := e.Store.SaveDurationStats(e.ctx, pipelineName, durationStats(next)); err != nil {
			t.Fatalf("SaveDurationStats: %v", err)
		}
		for _, s := range e.instances(t) {
			if diff := cmp.Diff(durationStats(next), e.durationStats(t, s)); diff != "" {
				t.Errorf("(-saved +read):\n%s", diff)
			}
		}
	}
}

// testDurationStatsRace checks that one of many writers that read the same version saves.
func testDurationStatsRace(t *testing.T, e *env) {
	next := e.durationStats(t, e.Store).Version + 1
	all := e.instances(t)
	var saved atomic.Int32
	together(e.Contenders, func(i int) {
		switch err := all[i%len(all)].SaveDurationStats(e.ctx, pipelineName, durationStats(next)); {
		case err == nil:
			saved.Add(1)
		case !errors.Is(err, store.ErrConflict):
			t.Errorf("SaveDurationStats: %v", err)
		}
	})
	if saved.Load() != 1 || e.durationStats(t, e.Store).Version != next {
		t.Errorf("%d writers saved and version %d is stored, want one and version %d",
			saved.Load(), e.durationStats(t, e.Store).Version, next)
	}
}

// testDurationStatsOfPipelines checks that the statistics of one pipeline are not those of another.
func testDurationStatsOfPipelines(t *testing.T, e *env) {
	const other = "a-2"
	before := e.durationStats(t, e.Store)
	stats, err := e.Store.DurationStats(e.ctx, other)
	if err != nil {
		t.Fatalf("DurationStats: %v", err)
	}
	next := durationStats(stats.Version + 1)
	if err := e.Store.SaveDurationStats(e.ctx, other, next); err != nil {
		t.Fatalf("SaveDurationStats: %v", err)
	}
	if got, err := e.Store.DurationStats(e.ctx, other); err != nil || got.Version != next.Version {
		t.Errorf("got version %d, error %v, want version %d", got.Version, err, next.Version)
	}
	if diff := cmp.Diff(before, e.durationStats(t, e.Store)); diff != "" {
		t.Errorf("the other pipeline's changed (-before +after):\n%s", diff)
	}
}
