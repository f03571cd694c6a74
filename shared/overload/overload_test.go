package overload_test

import (
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/overload"
)

// clock is a clock that moves only when the test moves it.
type clock struct{ at time.Time }

func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

func newBestEffort() (*overload.BestEffort, *clock) {
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	return &overload.BestEffort{Now: c.now, AtOnce: 2, Pause: 30 * time.Second}, c
}

// begin checks that a call is admitted.
func begin(t *testing.T, b *overload.BestEffort) func(overload.Outcome) {
	t.Helper()
	end, ok := b.Begin()
	if !ok {
		t.Fatal("the call was rejected")
	}
	return end
}

// checkRejected checks that a call is rejected.
func checkRejected(t *testing.T, b *overload.BestEffort) {
	t.Helper()
	if _, ok := b.Begin(); ok {
		t.Fatal("the call was admitted")
	}
}

// At most AtOnce calls are in flight. Each one that ends makes room for another.
func TestAtOnce(t *testing.T) {
	b, _ := newBestEffort()
	first, second := begin(t, b), begin(t, b)
	checkRejected(t, b)
	first(overload.Succeeded)
	third := begin(t, b)
	checkRejected(t, b)
	second(overload.Abandoned)
	third(overload.Succeeded)
	begin(t, b)
	begin(t, b)
}

// After a failure no call begins for Pause. Then one call at a time does, until one succeeds.
func TestPause(t *testing.T) {
	b, c := newBestEffort()
	slow, failed := begin(t, b), begin(t, b)
	failed(overload.Failed)
	checkRejected(t, b)
	slow(overload.Succeeded) // it began before the failure
	c.pass(30*time.Second - 1)
	checkRejected(t, b)
	c.pass(1)
	probe := begin(t, b)
	checkRejected(t, b)
	probe(overload.Failed)
	checkRejected(t, b)
	c.pass(30 * time.Second)
	probe = begin(t, b)
	checkRejected(t, b)
	probe(overload.Abandoned)
	probe = begin(t, b)
	checkRejected(t, b)
	probe(overload.Succeeded)
	begin(t, b)
	begin(t, b)
}

// A clock that is set back must not extend the pause.
func TestClockSetBack(t *testing.T) {
	b, c := newBestEffort()
	begin(t, b)(overload.Failed)
	c.pass(-time.Hour)
	begin(t, b)
}

// A service that does not respond gets about fifty repeated calls in total. For a service that
// responds, about one call in ten may be repeated.
func TestRetries(t *testing.T) {
	var r overload.Retries
	repeats := 0
	fail := func(n int) {
		for range n {
			if r.Failed() {
				repeats++
			}
		}
	}
	fail(1000)
	if repeats != 49 {
		t.Errorf("%d repeats of 1000 failed calls, want 49", repeats)
	}
	for range 600 { // brings the tokens above half
		r.Succeeded()
	}
	repeats = 0
	for range 1000 {
		fail(1)
		for range 10 {
			r.Succeeded()
		}
	}
	if repeats < 900 || repeats > 1000 {
		t.Errorf("%d repeats of 11000 calls of which 1000 failed, want 900 to 1000", repeats)
	}
	repeats = 0
	for range 1000 {
		fail(5)
		for range 5 {
			r.Succeeded()
		}
	}
	if repeats > 600 {
		t.Errorf("%d repeats of 10000 calls of which half failed, want at most 600", repeats)
	}
}
