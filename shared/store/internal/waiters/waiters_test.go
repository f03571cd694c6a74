package waiters

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var pauses = Pauses{First: time.Second, Later: 4 * time.Second}

// TestLooksAfterPauses checks that an unwoken waiter looks immediately, and then after 1, 2, 4 and
// 4 seconds.
func TestLooksAfterPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Waiters
		begin := time.Now()
		var looks []time.Duration
		last, err := w.Wait(t.Context(), "a", pauses, func() (bool, error) {
			looks = append(looks, time.Since(begin))
			return len(looks) == 5, nil
		}, Rest)
		if !last || err != nil {
			t.Errorf("last %v, error %v", last, err)
		}
		for i, want := range []time.Duration{0, 1, 3, 7, 11} {
			if looks[i] != want*time.Second {
				t.Errorf("looks at %v, want 0 s, 1 s, 3 s, 7 s and 11 s", looks)
				break
			}
		}
	})
}

// TestWake checks that a wake of a case makes only its waiters look, immediately, and that WakeAll
// makes all of them look.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Waiters
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		looks := map[string]*atomic.Int32{"a": {}, "b": {}}
		var ended, last atomic.Int32
		for _, id := range []string{"a", "a", "b"} {
			go func() {
				look := func() (bool, error) { looks[id].Add(1); return false, nil }
				isLast, err := w.Wait(ctx, id, pauses, look, Rest)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Wait: %v", err)
				}
				if ended.Add(1); isLast {
					last.Add(1)
				}
			}()
		}
		want := func(when string, a, b int32) {
			t.Helper()
			synctest.Wait()
			if looks["a"].Load() != a || looks["b"].Load() != b {
				t.Errorf("%s: %d looks for a, %d for b; want %d and %d",
					when, looks["a"].Load(), looks["b"].Load(), a, b)
			}
		}
		want("at first", 2, 1)
		w.Wake("a")
		want("after a wake of a", 4, 1)
		w.WakeAll()
		want("after a wake of all", 6, 2)
		w.Wake("c")
		want("after a wake of c", 6, 2)
		if waiting, cases := w.Count(); waiting != 3 || cases != 2 {
			t.Errorf("%d waiters for %d cases, want 3 for 2", waiting, cases)
		}
		<-ctx.Done()
		synctest.Wait()
		if waiting, cases := w.Count(); waiting != 0 || cases != 0 || ended.Load() != 3 || last.Load() != 1 {
			t.Errorf("%d waiters for %d cases are left; %d ended, %d as the last",
				waiting, cases, ended.Load(), last.Load())
		}
	})
}

// TestWakeDuringLook checks that a waiter does not miss a write during its look.
func TestWakeDuringLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Waiters
		begin, looks := time.Now(), 0
		_, err := w.Wait(t.Context(), "a", pauses, func() (bool, error) {
			if looks++; looks == 1 {
				w.Wake("a")
			}
			return looks == 2, nil
		}, Rest)
		if err != nil || time.Since(begin) != 0 {
			t.Errorf("the second look was after %v, error %v; want it immediately", time.Since(begin), err)
		}
	})
}

func TestLookFails(t *testing.T) {
	var w Waiters
	broken := errors.New("broken")
	if last, err := w.Wait(t.Context(), "a", pauses, func() (bool, error) { return false, broken }, Rest); !last ||
		!errors.Is(err, broken) {
		t.Errorf("last %v, error %v", last, err)
	}
}
