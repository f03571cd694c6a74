package firestore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/casewatch/casewatch/shared/store"
)

// TestMemoIsBounded: it remembers the last ones, whatever their number, forgotten ones among them.
func TestMemoIsBounded(t *testing.T) {
	var m memo
	at := func(n int) stamp {
		return stamp{version: int64(n), updated: timestamppb.New(time.Unix(int64(n), 0))}
	}
	for n := range 10 * memoSize {
		m.put(fmt.Sprint(n), 1, at(n))
		if n%3 == 0 {
			m.forget(fmt.Sprint(n), 1)
		}
		m.put("the same", n%2, at(n))
		if len(m.seen) > memoSize {
			t.Fatalf("remembers %d", len(m.seen))
		}
	}
	if _, ok := m.get("0", 1); ok {
		t.Error("remembers the first")
	}
	if s, ok := m.get(fmt.Sprint(10*memoSize-1), 1); ok {
		t.Errorf("remembers %v, which was to be forgotten", s)
	}
	if s, ok := m.get(fmt.Sprint(10*memoSize-2), 1); !ok || s.version != 10*memoSize-2 {
		t.Errorf("the last is %v, %v", s, ok)
	}
	m.put("the same", 1, at(5))
	if s, _ := m.get("the same", 1); s.version != 10*memoSize-1 {
		t.Errorf("what is older replaced what is newer: %v", s)
	}
}

// TestTouched: a record that was changed by hand, without a new version, can be changed all the same.
func TestTouched(t *testing.T) {
	ctx := t.Context()
	s := opened(t, options(t))
	c := save(t, s, "a")
	touch := func(name string) {
		t.Helper()
		write := set(name, fields{"note": text("by hand " + time.Now().String())}, nil)
		write.UpdateMask = &pb.DocumentMask{FieldPaths: []string{"note"}}
		if _, err := s.commit(ctx, []*pb.Write{write}); err != nil {
			t.Fatal(err)
		}
	}
	touch(s.run("a", 1))
	w := after(c)
	mustDo(t, s.Update(ctx, w))
	touch(s.run("a", 1))
	touch(s.head("a"))
	mustDo(t, s.Begin(ctx, next(w.Case)))
	touch(s.head("a"))
	mustDo(t, s.Purge(ctx, "a", 1, w.Case.Version+1))
}

// TestPurgedElsewhere: what a store remembers of a run that another purged, and began anew, is of no use to it.
func TestPurgedElsewhere(t *testing.T) {
	ctx := t.Context()
	o := options(t)
	s, other := opened(t, o), opened(t, o)
	c := save(t, s, "a")
	mustDo(t, other.Purge(ctx, "a", 1, 1))
	if err := s.Update(ctx, after(c)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Update of what is gone: %v", err)
	}
	if err := s.Begin(ctx, next(c)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Begin after what is gone: %v", err)
	}
	b := begin("a")
	mustDo(t, other.Begin(ctx, b))
	mustDo(t, s.Update(ctx, after(b.Case)))
	if err := other.Update(ctx, after(b.Case)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Update of an old version: %v", err)
	}
}
