package ctxtime_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/ctxtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSleep(t *testing.T) {
	for _, test := range []struct {
		name           string
		sleep, context time.Duration
		want           time.Duration
		err            error
	}{
		{"as long as asked", time.Minute, time.Hour, time.Minute, nil},
		{"until the context ends", time.Hour, time.Minute, time.Minute, context.DeadlineExceeded},
		{"not at all", 0, time.Minute, 0, nil},
		{"less than nothing", -time.Second, time.Minute, 0, nil},
		{"in a context that has ended", time.Minute, 0, 0, context.DeadlineExceeded},
		{"not at all in a context that has ended", 0, 0, 0, context.DeadlineExceeded},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.context)
				defer cancel()
				began := time.Now()
				err := ctxtime.Sleep(ctx, test.sleep)
				if took := time.Since(began); took != test.want || !errors.Is(err, test.err) {
					t.Errorf("Sleep(%v) took %v and returned %v, want %v, %v",
						test.sleep, took, err, test.want, test.err)
				}
			})
		})
	}
}
