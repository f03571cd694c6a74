package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/store"
)

var contextTests = []test{{"EveryMethodEndsWithIt", testContexts}}

// testContexts checks that every method returns the error of an ended context, and that none
// writes.
func testContexts(t *testing.T, e *env) {
	c := e.begun(t, "a")
	fresh := e.id("b")
	before := e.dump(t, c.CaseID)
	for _, method := range []struct {
		name string
		call func(ctx context.Context) error
	}{
		{"Get", func(ctx context.Context) error { _, err := e.Store.Get(ctx, c.CaseID, 1); return err }},
		{"Current", func(ctx context.Context) error { _, _, err := e.Store.Current(ctx, c.CaseID); return err }},
		{"Value",
			func(ctx context.Context) error { _, err := e.Store.Value(ctx, c.CaseID, 1, store.Form); return err }},
		{"Overdue", func(ctx context.Context) error {
			_, err := e.Store.Overdue(ctx, time.Now(), store.Cursor{}, 10)
			return err
		}},
		{"List", func(ctx context.Context) error {
			_, err := e.Store.List(ctx, store.Filter{}, store.Place{}, 10)
			return err
		}},
		{"List of nothing", func(ctx context.Context) error {
			_, err := e.Store.List(ctx, store.Filter{}, store.Place{}, 0)
			return err
		}},
		{"CountByState", func(ctx context.Context) error { _, err := e.Store.CountByState(ctx); return err }},
		{"CountOpen", func(ctx context.Context) error { _, err := e.Store.CountOpen(ctx); return err }},
		{"Wait for something new", func(ctx context.Context) error { return e.Store.Wait(ctx, c.CaseID, 1, 1) }},
		{"Begin", func(ctx context.Context) error { return e.Store.Begin(ctx, first(fresh)) }},
		{"Begin of the next run", func(ctx context.Context) error {
			return e.Store.Begin(ctx, next(first(c.CaseID).Head, &store.Write{Case: changed(c, ended)}))
		}},
		{"Update", func(ctx context.Context) error {
			return e.Store.Update(ctx, store.Write{
				Case: changed(c, count),
				Put:  map[store.Value][]byte{store.Result: []byte("{}")},
				Drop: []store.Value{store.Form},
			})
		}},
		{"DurationStats", func(ctx context.Context) error {
			_, err := e.Store.DurationStats(ctx, pipelineName)
			return err
		}},
		{"SaveDurationStats", func(ctx context.Context) error {
			return e.Store.SaveDurationStats(ctx, pipelineName, durationStats(e.durationStats(t, e.Store).Version+1))
		}},
		{"Purge", func(ctx context.Context) error { return e.Store.Purge(ctx, c.CaseID, 1, 1) }},
	} {
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		wantErr(t, method.name+" with a cancelled context", method.call(ctx), context.Canceled)
		ctx, cancel = context.WithDeadline(e.ctx, time.Now().Add(-time.Second))
		wantErr(t, method.name+" past its deadline", method.call(ctx), context.DeadlineExceeded)
		cancel()
	}
	if diff := cmp.Diff(before, e.dump(t, c.CaseID)); diff != "" {
		t.Errorf("what is stored changed (-before +after):\n%s", diff)
	}
	if left := e.dump(t, fresh); len(left) != 0 {
		t.Errorf("Begin stored a case: %v", left)
	}
	// The store still works afterwards.
	e.update(t, c, count)
	if err := e.Store.Begin(e.ctx, first(fresh)); err != nil {
		t.Error(err)
	}
}
