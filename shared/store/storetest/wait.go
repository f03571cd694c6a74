package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/store"
)

var waitTests = []test{
	{"ReturnsImmediately", testWaitImmediate},
	{"WakesOnUpdate", func(t *testing.T, e *env) { testWaitWakes(t, e, "a", e.Store, e.Store) }},
	{"WakesOnUpdateElsewhere", func(t *testing.T, e *env) {
		other := e.second(t)
		testWaitWakes(t, e, "a", e.Store, other)
		testWaitWakes(t, e, "b", other, e.Store)
	}},
	{"WakesOnNewRun", func(t *testing.T, e *env) { testWaitNewRun(t, e, e.Store) }},
	{"WakesOnNewRunElsewhere", func(t *testing.T, e *env) { testWaitNewRun(t, e, e.second(t)) }},
	{"EndsWithPurge", testWaitPurge},
	{"EndsWithItsContext", testWaitContext},
	{"DoesNotSpin", testWaitDoesNotSpin},
	{"ManyWaiters", testManyWaiters},
}

// quiet is how long a waiter is observed to check that it still waits.
const quiet = 200 * time.Millisecond

// await waits as a caller does, which checks when Wait returns, until the record is newer than
// version or the case has a newer run.
func await(ctx context.Context, s store.Store, id string, run int, version int64) error {
	for early := 0; ; early++ {
		if err := s.Wait(ctx, id, run, version); err != nil {
			return err
		}
		head, _, err := s.Current(ctx, id)
		if err != nil {
			return err
		}
		c, err := s.Get(ctx, id, run)
		if err != nil {
			return err
		}
		if c.Version > version || head.Run > run {
			return nil
		}
		if early == 1000 {
			return errors.New("a Wait returned a thousand times without a change")
		}
	}
}

// waiter runs f in the background. The channel receives its result.
func waiter(f func() error) <-chan error {
	done := make(chan error, 1)
	started := make(chan struct{})
	var beside sync.WaitGroup // the channel reports the end
	beside.Go(func() {
		close(started)
		done <- f()
	})
	<-started
	return done
}

// waits checks that a waiter still waits after a while.
func waits(t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		t.Fatalf("a waiter returned without a change: %v", err)
	case <-time.After(quiet):
	}
}

// wakes checks that the waiter returns in time.
func (e *env) wakes(t *testing.T, done <-chan error, want error) {
	t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Errorf("the waiter returned %v, want %v", err, want)
		}
	case <-time.After(e.WakeWithin):
		t.Fatalf("a waiter still waits after %v", e.WakeWithin)
	}
}

func testWaitImmediate(t *testing.T, e *env) {
	c := e.begun(t, "a")
	c = e.update(t, c, count)
	c = e.update(t, c, ended)
	ctx, cancel := context.WithTimeout(e.ctx, e.WakeWithin)
	defer cancel()
	for version := range c.Version {
		if err := e.Store.Wait(ctx, c.CaseID, 1, version); err != nil {
			t.Errorf("Wait for what is newer than version %d, at %d: %v", version, c.Version, err)
		}
	}
	if err := e.Store.Begin(e.ctx, next(e.head(t, c.CaseID), nil)); err != nil {
		t.Fatal(err)
	}
	for _, version := range []int64{c.Version, c.Version + 10} {
		if err := e.Store.Wait(ctx, c.CaseID, 1, version); err != nil {
			t.Errorf("Wait although there is a newer run: %v", err)
		}
	}
	wantErr(t, "Wait for a future run", e.Store.Wait(ctx, c.CaseID, 3, 0), store.ErrNotFound)
}

func testWaitWakes(t *testing.T, e *env, name string, waiting, writing store.Store) {
	c := e.begun(t, name)
	for range 3 {
		id, version := c.CaseID, c.Version
		done := waiter(func() error { return await(e.ctx, waiting, id, 1, version) })
		waits(t, done)
		c = changed(c, count)
		if err := writing.Update(e.ctx, store.Write{Case: c}); err != nil {
			t.Fatal(err)
		}
		e.wakes(t, done, nil)
	}
}

func testWaitNewRun(t *testing.T, e *env, writing store.Store) {
	c := e.begun(t, "a")
	c = e.update(t, c, ended)
	// The first run is no longer written, so only the head shows the change.
	done := waiter(func() error { return await(e.ctx, e.Store, c.CaseID, 1, c.Version) })
	waits(t, done)
	if err := writing.Begin(e.ctx, next(e.head(t, c.CaseID), nil)); err != nil {
		t.Fatal(err)
	}
	e.wakes(t, done, nil)
}

func testWaitPurge(t *testing.T, e *env) {
	c := e.begun(t, "a")
	done := waiter(func() error { return await(e.ctx, e.Store, c.CaseID, 1, c.Version) })
	waits(t, done)
	if err := e.Store.Purge(e.ctx, c.CaseID, 1, c.Version); err != nil {
		t.Fatal(err)
	}
	e.wakes(t, done, store.ErrNotFound)
}

func testWaitContext(t *testing.T, e *env) {
	c := e.begun(t, "a")
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	done := waiter(func() error { return await(ctx, e.Store, c.CaseID, 1, 1) })
	waits(t, done)
	cancel()
	e.wakes(t, done, context.Canceled)

	ctx, cancel = context.WithTimeout(e.ctx, quiet/2)
	defer cancel()
	e.wakes(t, waiter(func() error { return await(ctx, e.Store, c.CaseID, 1, 1) }), context.DeadlineExceeded)
}

// testWaitDoesNotSpin checks that Wait does not return early in a tight loop.
func testWaitDoesNotSpin(t *testing.T, e *env) {
	c := e.begun(t, "a")
	ctx, cancel := context.WithTimeout(e.ctx, 2*quiet)
	defer cancel()
	returns := 0
	for ; ; returns++ {
		if err := e.Store.Wait(ctx, c.CaseID, 1, 1); err != nil {
			wantErr(t, "Wait", err, context.DeadlineExceeded)
			break
		}
	}
	if returns > 20 {
		t.Errorf("Wait returned %d times in %v without a change", returns, 2*quiet)
	}
}

// testManyWaiters checks that one write wakes all waiters of all instances, and that they leave no
// goroutines.
func testManyWaiters(t *testing.T, e *env) {
	c := e.begun(t, "a")
	all := e.instances(t)
	for _, s := range all { // lets every client open its connections
		if err := s.Wait(e.ctx, c.CaseID, 1, 0); err != nil {
			t.Fatal(err)
		}
	}
	before := slices.Concat(e.Goroutines, []goleak.Option{goleak.IgnoreCurrent()})
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	var waiters, leaving []<-chan error
	for i := range 4 * e.Contenders {
		s := all[i%len(all)]
		waiters = append(waiters, waiter(func() error { return await(e.ctx, s, c.CaseID, 1, 1) }))
		if i%4 == 0 { // some leave before the write
			leaving = append(leaving, waiter(func() error { return await(ctx, s, c.CaseID, 1, 1) }))
		}
	}
	waits(t, waiters[0])
	cancel()
	for _, done := range leaving {
		e.wakes(t, done, context.Canceled)
	}
	waits(t, waiters[len(waiters)-1])
	e.update(t, c, count)
	for _, done := range waiters {
		e.wakes(t, done, nil)
	}
	if err := goleak.Find(before...); err != nil {
		t.Error(fmt.Errorf("after the waiters left: %w", err))
	}
}
