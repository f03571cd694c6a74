package firestore

import (
	"context"
	"errors"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"

	"github.com/casewatch/casewatch/shared/store"
)

// expire deletes documents as a TTL policy does: each by itself.
func expire(t *testing.T, s *Store, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := s.commit(t.Context(), []*pb.Write{drop(name, nil)}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLeftBehind: whatever Firestore deletes first, the case can be begun anew, by this store and
// by one that has not seen it; and the new runs have nothing of the old ones.
func TestLeftBehind(t *testing.T) {
	for _, test := range []struct {
		name   string
		expire func(s *Store) []string // of a case with an ended run 1 and an ended run 2, which has a result
	}{
		{"nothing but a head", func(s *Store) []string { return []string{s.run("a", 1), s.run("a", 2)} }},
		{"a head and the run before", func(s *Store) []string { return []string{s.run("a", 2)} }},
		{"runs without a head", func(s *Store) []string { return []string{s.head("a")} }},
		{"the first run", func(s *Store) []string { return []string{s.head("a"), s.run("a", 2)} }},
		{"the last run", func(s *Store) []string { return []string{s.head("a"), s.run("a", 1)} }},
		{"values alone", func(s *Store) []string { return []string{s.head("a"), s.run("a", 1), s.run("a", 2)} }},
	} {
		for _, fresh := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				ctx := t.Context()
				o := options(t)
				s := opened(t, o)
				c := save(t, s, "a")
				mustDo(t, s.Begin(ctx, next(c)))
				end := ended(next(c).Case)
				end.Put = map[store.Value][]byte{store.Result: []byte("old"), store.LateResult: []byte("old")}
				mustDo(t, s.Update(ctx, end))
				expire(t, s, test.expire(s)...)
				if fresh {
					s = opened(t, o)
				}

				if _, _, err := s.Current(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Current: %v, want ErrNotFound", err)
				}
				b := begin("a")
				mustDo(t, s.Begin(ctx, b))
				head, got, err := s.Current(ctx, "a")
				if err != nil || head.Run != 1 || head.Version != 1 || got.Version != 1 || got.State.Ended() {
					t.Errorf("head %+v, record %+v, error %v", head, got, err)
				}
				waiting, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
				if err := s.Wait(waiting, "a", 1, 1); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Wait: %v; there is nothing newer", err)
				}
				mustDo(t, s.Begin(ctx, next(b.Case)))
				for run := 1; run <= 2; run++ {
					for _, v := range []store.Value{store.Result, store.LateResult} {
						if data, err := s.Value(ctx, "a", run, v); !errors.Is(err, store.ErrNotFound) {
							t.Errorf("%s of run %d is %q, error %v", v, run, data, err)
						}
					}
				}
				if data, err := s.Value(ctx, "a", 2, store.Form); err != nil || string(data) != string(b.Form) {
					t.Errorf("form of run 2 is %q, error %v", data, err)
				}
				mustDo(t, s.Purge(ctx, "a", 1, 2))
				mustDo(t, s.Purge(ctx, "a", 2, 1))
				if _, err := s.Get(ctx, "a", 2); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("after the purge: %v", err)
				}
			})
		}
	}
}

// TestOpenRunWithoutHead: a run that is not over is not written over. It is found, ended and purged like others.
func TestOpenRunWithoutHead(t *testing.T) {
	ctx := t.Context()
	s := opened(t, options(t))
	c := save(t, s, "a")
	expire(t, s, s.head("a"))
	if err := s.Begin(ctx, begin("a")); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Begin: %v, want ErrConflict", err)
	}
	due, err := s.Overdue(ctx, c.Bookkeeping.OverdueAt.Add(time.Second), store.Cursor{}, 10)
	if err != nil || len(due) != 1 {
		t.Fatalf("%d overdue, error %v", len(due), err)
	}
	end := ended(due[0])
	mustDo(t, s.Update(ctx, end))
	mustDo(t, s.Begin(ctx, begin("a")))
	expire(t, s, s.head("a"))
	mustDo(t, s.Purge(ctx, "a", 1, 1))
	mustDo(t, s.Begin(ctx, begin("a")))
}

// TestPurgeOfWhatIsLeft: what is left of a case can be purged, whatever is missing of it.
func TestPurgeOfWhatIsLeft(t *testing.T) {
	ctx := t.Context()
	s := opened(t, options(t))
	c := save(t, s, "a")
	mustDo(t, s.Begin(ctx, next(c)))
	expire(t, s, s.value("a", 1, store.Form), s.run("a", 2))
	mustDo(t, s.Purge(ctx, "a", 1, 2))
	if _, err := s.Get(ctx, "a", 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the purge: %v", err)
	}
	if _, err := s.Value(ctx, "a", 1, store.Form); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a value that is gone: %v", err)
	}
	mustDo(t, s.Begin(ctx, begin("a")))
}

// TestExpiry: all documents of a run expire 30 days after it would have been purged at the latest,
// and those of a run without a deadline never.
func TestExpiry(t *testing.T) {
	ctx := t.Context()
	s := opened(t, options(t))
	c := save(t, s, "a")
	w := after(c)
	w.Put = map[store.Value][]byte{store.Result: nil}
	mustDo(t, s.Update(ctx, w))
	mustDo(t, s.Begin(ctx, next(w.Case)))
	mustDo(t, s.Purge(ctx, "a", 1, w.Case.Version+1))
	endless := begin("b")
	endless.Case.DeadlineAt = time.Time{}
	mustDo(t, s.Begin(ctx, endless))

	docs, err := s.read(
		ctx,
		nil,
		s.head("a"),
		s.run("a", 2),
		s.value("a", 2, store.Form),
		s.head("b"),
		s.run("b", 1),
		s.value("b", 1, store.Form),
	)
	if err != nil {
		t.Fatal(err)
	}
	want := c.DeadlineAt.Add(720*time.Hour + 30*24*time.Hour)
	for i, d := range docs {
		at, expires := d.GetFields()["expire_at"]
		switch {
		case i < 3 && (!expires || !at.GetTimestampValue().AsTime().Equal(want)):
			t.Errorf("%s expires %v, want %v", d.GetName(), at, want)
		case i >= 3 && expires:
			t.Errorf("%s expires %v, want never", d.GetName(), at)
		}
	}
}
