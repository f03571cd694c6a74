package firestore

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/overload"
	"github.com/casewatch/casewatch/shared/store"
)

// TestLostAnswer: a write whose answer was lost, and that is therefore repeated, is not taken for
// another's, even if others wrote since.
func TestLostAnswer(t *testing.T) {
	result := map[store.Value][]byte{store.Result: []byte("r")}
	for _, test := range []struct {
		name  string
		setUp func(t *testing.T, s *Store) cases.Case
		write func(ctx context.Context, s *Store, c cases.Case) error
		// others write before the answer is known to be lost
		others  func(ctx context.Context, s *Store, c cases.Case) error
		version int64 // of run 1 in the end; 0: it is gone
	}{
		{
			name:    "Begin",
			write:   func(ctx context.Context, s *Store, _ cases.Case) error { return s.Begin(ctx, begin("a")) },
			version: 1,
		},
		{
			name:  "Begin, and another's Update",
			write: func(ctx context.Context, s *Store, _ cases.Case) error { return s.Begin(ctx, begin("a")) },
			others: func(ctx context.Context, s *Store, _ cases.Case) error {
				return s.Update(ctx, after(begin("a").Case))
			},
			version: 2,
		},
		{
			name:    "Begin of the next run",
			setUp:   func(t *testing.T, s *Store) cases.Case { return save(t, s, "a") },
			write:   func(ctx context.Context, s *Store, c cases.Case) error { return s.Begin(ctx, next(c)) },
			version: 2,
		},
		{
			name:    "Update",
			setUp:   func(t *testing.T, s *Store) cases.Case { return save(t, s, "a") },
			write:   func(ctx context.Context, s *Store, c cases.Case) error { return s.Update(ctx, after(c)) },
			version: 2,
		},
		{
			name:  "Update, and fifteen of another",
			setUp: func(t *testing.T, s *Store) cases.Case { return save(t, s, "a") },
			write: func(ctx context.Context, s *Store, c cases.Case) error {
				w := after(c)
				w.Put = result
				return s.Update(ctx, w)
			},
			others: func(ctx context.Context, s *Store, c cases.Case) error {
				for c.Version++; c.Version < trailLength+1; c.Version++ {
					if err := s.Update(ctx, after(c)); err != nil {
						return err
					}
				}
				return nil
			},
			version: trailLength + 1,
		},
		{
			name:  "Purge",
			setUp: func(t *testing.T, s *Store) cases.Case { return save(t, s, "a") },
			write: func(ctx context.Context, s *Store, _ cases.Case) error { return s.Purge(ctx, "a", 1, 1) },
		},
	} {
		for _, code := range []codes.Code{codes.Unavailable, codes.Canceled, codes.DeadlineExceeded} {
			t.Run(test.name+", "+code.String(), func(t *testing.T) {
				var w wire
				o := options(t)
				s, other := opened(t, o, w.option()...), opened(t, o)
				var c cases.Case
				if test.setUp != nil {
					c = test.setUp(t, s)
				}
				w.lose = then(first(1, "Commit", code), func() {
					if test.others == nil {
						return
					}
					if err := test.others(t.Context(), other, c); err != nil {
						t.Error(err)
					}
				})
				mustDo(t, test.write(t.Context(), s, c))
				got, err := other.Get(t.Context(), "a", 1)
				if test.version == 0 != errors.Is(err, store.ErrNotFound) || got.Version != test.version {
					t.Errorf("version %d, error %v; want %d", got.Version, err, test.version)
				}
			})
		}
	}
}

// TestConflictAfterALostAnswer: what was not written is not taken for written, although the same bytes are there.
func TestConflictAfterALostAnswer(t *testing.T) {
	var w wire
	o := options(t)
	s, other := opened(t, o, w.option()...), opened(t, o)
	c := save(t, s, "a")
	w.refuse = then(first(1, "Commit", codes.Unavailable), func() {
		if err := other.Update(t.Context(), after(c)); err != nil {
			t.Error(err)
		}
	})
	if err := s.Update(t.Context(), after(c)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Update: %v, want ErrConflict", err)
	}
}

// TestFaults: each method tries again what may pass, a few times, and tells of what does not.
func TestFaults(t *testing.T) {
	var w wire
	s := opened(t, options(t), w.option()...)
	s.backoff = time.Millisecond
	c := save(t, s, "a")
	for _, method := range []struct {
		name string
		call func(ctx context.Context) error
	}{
		{"BatchGetDocuments", func(ctx context.Context) error { _, err := s.Get(ctx, "a", 1); return err }},
		{"BatchGetDocuments", func(ctx context.Context) error { _, _, err := s.Current(ctx, "a"); return err }},
		{"BatchGetDocuments",
			func(ctx context.Context) error { _, err := s.Value(ctx, "a", 1, store.Form); return err }},
		{"RunQuery", func(ctx context.Context) error {
			_, err := s.Overdue(ctx, time.Now(), store.Cursor{}, 5)
			return err
		}},
		{"RunAggregationQuery", func(ctx context.Context) error { _, err := s.CountOpen(ctx); return err }},
		{"Commit", func(ctx context.Context) error {
			err := s.Update(ctx, after(c))
			if err == nil {
				c = after(c).Case
			}
			return err
		}},
		{"Commit", func(ctx context.Context) error { return s.Begin(ctx, begin("b")) }},
		{"Commit", func(ctx context.Context) error { return s.Purge(ctx, "b", 1, 1) }},
	} {
		for _, fault := range []struct {
			code  codes.Code
			times int
			want  codes.Code // OK: it passes
		}{
			{codes.Internal, maxAttempts, codes.Internal},
			{codes.PermissionDenied, 1, codes.PermissionDenied},
			{codes.Unavailable, maxAttempts - 1, codes.OK},
		} {
			s.retries = overload.Retries{} // more than any instance meets
			w.refuse = first(fault.times, method.name, fault.code)
			err := method.call(t.Context())
			if got := status.Code(err); err != nil && got != fault.want || (err == nil) != (fault.want == codes.OK) {
				t.Errorf("%s answered %v %d times: %v", method.name, fault.code, fault.times, err)
			}
			if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s answered %v: %v", method.name, fault.code, err)
			}
		}
	}
}

// TestNobodyThere: a store that cannot be reached says so soon, and a context that ends meanwhile is what is told.
func TestNobodyThere(t *testing.T) {
	s := opened(t, store.Options{Project: "p", EmulatorHost: "127.0.0.1:1"})
	s.backoff = time.Millisecond
	if _, err := s.Get(t.Context(), "a", 1); status.Code(err) != codes.Unavailable {
		t.Errorf("Get: %v", err)
	}
	if err := s.Wait(t.Context(), "a", 1, 1); err == nil {
		t.Error("Wait returned as if there were something new")
	}
	s.backoff = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Begin(ctx, begin("a")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Begin: %v", err)
	}
}

// TestSlowAttempt: an attempt that hangs is given up for the next, and is not taken for the end of
// the caller's context.
func TestSlowAttempt(t *testing.T) {
	var w wire
	s := opened(t, options(t), w.option()...)
	save(t, s, "a")
	s.attemptTimeout, s.backoff = time.Nanosecond, time.Nanosecond
	_, err := s.Get(t.Context(), "a", 1)
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get: %v, want an error of the store", err)
	}
}
