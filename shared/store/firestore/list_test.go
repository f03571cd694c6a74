package firestore

import (
	"testing"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// TestListAfterAnUpgrade: a run that the revision before wrote is found by all but List and
// CountByState, and by these once it is written.
func TestListAfterAnUpgrade(t *testing.T) {
	ctx := t.Context()
	s := opened(t, options(t))
	c := save(t, s, "a")
	docs, err := s.read(ctx, nil, s.run("a", 1))
	mustDo(t, err)
	before := docs[0].GetFields()
	delete(before, "state")
	delete(before, "created_at")
	_, err = s.commit(ctx, []*pb.Write{set(s.run("a", 1), before, nil)})
	mustDo(t, err)

	want := func(when string, n int) {
		t.Helper()
		for _, state := range []cases.State{"", cases.Pending} {
			page, err := s.List(ctx, store.Filter{State: state}, store.Place{}, 10)
			if err != nil || len(page) != n {
				t.Errorf("%s: %d listed, state %q, want %d (error %v)", when, len(page), state, n, err)
			}
		}
		counts, err := s.CountByState(ctx)
		if err != nil || counts[cases.Pending] != n {
			t.Errorf("%s: counts %v, error %v", when, counts, err)
		}
		if open, err := s.CountOpen(ctx); err != nil || open != 1 {
			t.Errorf("%s: %d open, error %v", when, open, err)
		}
	}
	want("as it was", 0)
	mustDo(t, s.Update(ctx, after(c)))
	want("after a write", 1)
}
