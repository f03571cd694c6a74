package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/store"
)

// TestWaitIsWoken checks that a write of the same process wakes a waiter without another read, and
// that Wait holds nothing after it has returned.
func TestWaitIsWoken(t *testing.T) {
	for _, test := range []struct {
		name  string
		write func(s *Store) error
		want  error
	}{
		{"update", func(s *Store) error { return s.Update(t.Context(), after(beginning("a").Case)) }, nil},
		{"next run", func(s *Store) error {
			b := beginning("a")
			b.Head.Run, b.Case.Run, b.Head.Version = 2, 2, 2
			return s.Begin(t.Context(), b)
		}, nil},
		{"purge", func(s *Store) error { return s.Purge(t.Context(), "a", 1, 1) }, store.ErrNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openStore(t, filepath.Join(t.TempDir(), "store.db"))
			defer closeStore(t, s)
			s.pauses.First = time.Hour
			save(t, s, "a")
			save(t, s, "b")
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			woken, gaveUp := make(chan error, 3), make(chan error, 1)
			for range cap(woken) {
				go func() { woken <- s.Wait(ctx, "a", 1, 1) }()
			}
			other, leave := context.WithCancel(ctx)
			go func() { gaveUp <- s.Wait(other, "b", 1, 1) }()
			for waiting, cases := 0, 0; waiting != 4 || cases != 2; time.Sleep(time.Millisecond) {
				if waiting, cases = s.waiters.Count(); ctx.Err() != nil {
					t.Fatalf("%d waiters for %d cases, want 4 for 2", waiting, cases)
				}
			}
			if err := test.write(s); err != nil {
				t.Fatal(err)
			}
			for range cap(woken) {
				if err := <-woken; !errors.Is(err, test.want) {
					t.Errorf("Wait: %v, want %v", err, test.want)
				}
			}
			if waiting, cases := s.waiters.Count(); cases != 1 || waiting != 1 {
				t.Errorf("%d waiters for %d cases are left; want one, for b", waiting, cases)
			}
			leave()
			if err := <-gaveUp; !errors.Is(err, context.Canceled) {
				t.Errorf("a waiter that gave up got %v, want context.Canceled", err)
			}
			if _, cases := s.waiters.Count(); cases != 0 {
				t.Errorf("%d cases still have waiters, want none", cases)
			}
		})
	}
}
