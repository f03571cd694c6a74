package singleflight_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/singleflight"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errFailed = errors.New("failed")

func TestOneRunServesAll(t *testing.T) {
	for _, want := range []error{nil, errFailed} {
		synctest.Test(t, func(t *testing.T) {
			var f singleflight.Flight[int]
			var runs atomic.Int32
			do := func() (int, error) {
				time.Sleep(time.Second)
				return int(runs.Add(1)), want
			}
			all := func(result int) {
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						if got, err := f.Do(t.Context(), do); got != result || !errors.Is(err, want) {
							t.Errorf("Do returned %d, %v, want %d, %v", got, err, result, want)
						}
					})
				}
				wg.Wait()
			}
			all(1)
			all(2) // nothing is kept
		})
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f singleflight.Flight[int]
		var wg sync.WaitGroup
		ended, end := context.WithCancel(t.Context())
		end()
		wg.Go(func() {
			got, err := f.Do(ended, func() (int, error) { time.Sleep(time.Minute); return 7, nil })
			if got != 7 || err != nil {
				t.Errorf("the caller that runs the function got %d, %v, want its result", got, err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := f.Do(ctx, func() (int, error) { t.Error("a second run"); return 0, nil })
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("Do returned %v after %v, want the error of its context after 1s", err, took)
		}
		wg.Wait()
	})
}

func TestTryDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f singleflight.Flight[int]
		var wg sync.WaitGroup
		wg.Go(func() {
			_, ran, err := f.Try(func() (int, error) { time.Sleep(time.Minute); return 7, errFailed })
			if !ran || !errors.Is(err, errFailed) {
				t.Errorf("the first Try: ran %v, error %v", ran, err)
			}
		})
		synctest.Wait()
		_, ran, err := f.Try(func() (int, error) { t.Error("a second run"); return 0, nil })
		if ran || err != nil {
			t.Errorf("Try beside a run: ran %v, error %v, want false, nil", ran, err)
		}
		wg.Wait()
		if got, ran, err := f.Try(func() (int, error) { return 8, nil }); got != 8 || !ran || err != nil {
			t.Errorf("Try after a run returned %d, %v, %v, want 8, true, nil", got, ran, err)
		}
	})
}

// A function that panics leaves no caller behind: the others get an error, and the next one runs.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f singleflight.Flight[int]
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not reach the caller that ran the function")
				}
			}()
			_, _ = f.Do(t.Context(), func() (int, error) { time.Sleep(time.Second); panic("no") })
		})
		synctest.Wait()
		if _, err := f.Do(t.Context(), nil); !errors.Is(err, singleflight.ErrPanicked) {
			t.Errorf("a caller that waited got %v, want ErrPanicked", err)
		}
		wg.Wait()
		if got, err := f.Do(t.Context(), func() (int, error) { return 9, nil }); got != 9 || err != nil {
			t.Errorf("the next Do returned %d, %v, want 9, nil", got, err)
		}
	})
}
