package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

var pastTests = []test{
	{"IsKeptWhole", testPastKept},
	{"OneOfManyWritersSaves", testPastTogether},
}

// past is one of the given version. All cases share what is saved, and so may other tests: each goes on from what is there.
func past(version int64) cases.Past {
	return cases.Past{
		Version: version, At: created.Add(time.Duration(version) * time.Second), Found: 3, Told: 4, Missed: 1.25, Estimates: 2,
		Lengths: map[int]cases.Lengths{0: {From: 3, Counts: []int{1}}, 6: {From: 40, Counts: []int{2, 0, int(version)}}},
	}
}

func (e *env) past(t *testing.T, s store.Store) cases.Past {
	t.Helper()
	p, err := s.Past(e.ctx)
	if err != nil {
		t.Fatalf("Past: %v", err)
	}
	return p
}

// testPastKept: what is saved is read back by every instance, and only the version after it takes its place.
func testPastKept(t *testing.T, e *env) {
	at := e.past(t, e.Store).Version
	for next := at + 1; next <= at+2; next++ {
		for _, wrong := range []int64{next - 1, next + 1} {
			if wrong > 0 {
				wantErr(t, "SavePast of another version", e.Store.SavePast(e.ctx, past(wrong)), store.ErrConflict)
			}
		}
		if got := e.past(t, e.Store); got.Version != next-1 {
			t.Fatalf("what conflicted took effect: version %d", got.Version)
		}
		if err := e.Store.SavePast(e.ctx, past(next)); err != nil {
			t.Fatalf("SavePast: %v", err)
		}
		for _, s := range e.instances(t) {
			if diff := cmp.Diff(past(next), e.past(t, s)); diff != "" {
				t.Errorf("(-saved +read):\n%s", diff)
			}
		}
	}
}

// testPastTogether: of many who go on from the same version one saves.
func testPastTogether(t *testing.T, e *env) {
	next := e.past(t, e.Store).Version + 1
	all := e.instances(t)
	var saved atomic.Int32
	together(e.Contenders, func(i int) {
		switch err := all[i%len(all)].SavePast(e.ctx, past(next)); {
		case err == nil:
			saved.Add(1)
		case !errors.Is(err, store.ErrConflict):
			t.Errorf("SavePast: %v", err)
		}
	})
	if saved.Load() != 1 || e.past(t, e.Store).Version != next {
		t.Errorf("%d saved, and version %d is kept", saved.Load(), e.past(t, e.Store).Version)
	}
}
