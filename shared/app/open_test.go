package app_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/drivers"
)

// While a store does not answer, requests do not queue for a try each: those that come meanwhile
// share the one that is under way, and one that ends does not wait for it.
func TestRequestsShareATry(t *testing.T) {
	lookup := newPlace(t).lookup("status")
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		process := app.New("status", app.Options{Lookup: lookup, Log: &buffer{}, Stores: map[string]store.Opener{
			drivers.Firestore: func(ctx context.Context, _ store.Options) (store.Store, error) {
				tries.Add(1)
				<-ctx.Done()
				return nil, ctx.Err()
			},
		}})
		h := process.Handler(status.New)
		ask := func(ctx context.Context) (code int, took time.Duration) {
			began, a := time.Now(), httptest.NewRecorder()
			h.ServeHTTP(a, httptest.NewRequestWithContext(ctx, http.MethodGet, "/c", http.NoBody))
			return a.Code, time.Since(began)
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if code, took := ask(t.Context()); code != 503 || took > 30*time.Second {
					t.Errorf("%d after %v", code, took)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if code, took := ask(ctx); code != 503 || took > time.Second {
			t.Errorf("a request of a second: %d after %v", code, took)
		}
		if _, err := process.Config(); err != nil { // nor does that wait
			t.Error(err)
		}
		wg.Wait()
		if n := tries.Load(); n != 1 {
			t.Errorf("%d tries", n)
		}
		if code, _ := ask(t.Context()); code != 503 || tries.Load() != 2 {
			t.Errorf("%d, and the next request made it %d tries", code, tries.Load())
		}
	})
}
