package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/store"
)

// TestWaitIsTold: a waiter need not look again to see a write of its own process; nothing is held once it returned.
func TestWaitIsTold(t *testing.T) {
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
			told, gaveUp := make(chan error, 3), make(chan error, 1)
			for range cap(told) {
				go func() { told <- s.Wait(ctx, "a", 1, 1) }()
			}
			other, leave := context.WithCancel(ctx)
			go func() { gaveUp <- s.Wait(other, "b", 1, 1) }()
			for waiting, cases := 0, 0; waiting != 4 || cases != 2; time.Sleep(time.Millisecond) {
				if waiting, cases = s.waiters.Count(); ctx.Err() != nil {
					t.Fatalf("%d wait for %d cases", waiting, cases)
				}
			}
			if err := test.write(s); err != nil {
				t.Fatal(err)
			}
			for range cap(told) {
				if err := <-told; !errors.Is(err, test.want) {
					t.Errorf("Wait: %v, want %v", err, test.want)
				}
			}
			if waiting, cases := s.waiters.Count(); cases != 1 || waiting != 1 {
				t.Errorf("%d wait for %d cases; want one, for b", waiting, cases)
			}
			leave()
			if err := <-gaveUp; !errors.Is(err, context.Canceled) {
				t.Errorf("who gave up was told %v", err)
			}
			if _, cases := s.waiters.Count(); cases != 0 {
				t.Errorf("%d cases are still waited for", cases)
			}
		})
	}
}
