package overload_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/shared/overload"
)

// enter checks that a call may begin immediately.
func enter(t *testing.T, l *overload.Limit) func(overload.Outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	end, err := l.Begin(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

// checkFull checks that a call is not admitted within Patience.
func checkFull(t *testing.T, l *overload.Limit) {
	t.Helper()
	began := time.Now()
	if _, err := l.Begin(t.Context(), true); !errors.Is(err, overload.ErrSlow) || time.Since(began) != l.Patience {
		t.Fatalf("%v after %v", err, time.Since(began))
	}
}

// If the service stops responding, the limit falls to one call. When it responds again, the limit
// grows back to Max.
func TestLimitFollowsTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &overload.Limit{Max: 8, Patience: time.Second}
		var ends []func(overload.Outcome)
		for range 8 {
			ends = append(ends, enter(t, l))
		}
		checkFull(t, l)
		for _, end := range ends {
			end(overload.Failed)
		}
		only := enter(t, l)
		checkFull(t, l)
		only(overload.Failed)
		only = enter(t, l)
		checkFull(t, l)
		only(overload.Abandoned)
		for n := 1; n <= 8; n *= 2 { // each round of calls doubles the limit
			ends = nil
			for range n {
				ends = append(ends, enter(t, l))
			}
			checkFull(t, l)
			for _, end := range ends {
				end(overload.Succeeded)
			}
		}
		for range 8 {
			enter(t, l)
		}
		checkFull(t, l)
	})
}

// Waiting calls with priority are admitted first.
func TestPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &overload.Limit{Max: 1, Patience: time.Minute}
		end := enter(t, l)
		var order []string
		done := make(chan struct{})
		for _, name := range []string{"a", "b", "end", "late"} {
			go func() {
				ctx := t.Context()
				if name == "late" {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, time.Second)
					defer cancel()
				}
				end, err := l.Begin(ctx, name == "end")
				if name == "late" != errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", name, err)
				}
				if err == nil {
					order = append(order, name)
					end(overload.Succeeded)
				}
				done <- struct{}{}
			}()
			synctest.Wait() // until the call waits
		}
		<-done // late
		end(overload.Succeeded)
		for range 3 {
			<-done
		}
		if len(order) != 3 || order[0] != "end" || order[1] != "a" || order[2] != "b" {
			t.Errorf("%v", order)
		}
		end = enter(t, l)
		end(overload.Succeeded)
	})
}
