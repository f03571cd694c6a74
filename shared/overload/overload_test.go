package overload_test

import (
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/overload"
)

// clock is a clock that stands still unless it is moved.
type clock struct{ at time.Time }

func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

func newBestEffort() (*overload.BestEffort, *clock) {
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	return &overload.BestEffort{Now: c.now, AtOnce: 2, Pause: 30 * time.Second}, c
}

// begin wants a call to be admitted.
func begin(t *testing.T, b *overload.BestEffort) func(overload.Outcome) {
	t.Helper()
	end, ok := b.Begin()
	if !ok {
		t.Fatal("a call was left out")
	}
	return end
}

// leftOut wants a call to be left out.
func leftOut(t *testing.T, b *overload.BestEffort) {
	t.Helper()
	if _, ok := b.Begin(); ok {
		t.Fatal("a call was admitted")
	}
}

// No more than AtOnce calls are under way, and each that ends makes room.
func TestAtOnce(t *testing.T) {
	b, _ := newBestEffort()
	first, second := begin(t, b), begin(t, b)
	leftOut(t, b)
	first(overload.Succeeded)
	third := begin(t, b)
	leftOut(t, b)
	second(overload.Abandoned)
	third(overload.Succeeded)
	begin(t, b)
	begin(t, b)
}

// After a failure nothing begins for Pause. Then one at a time does, until one succeeds.
func TestPause(t *testing.T) {
	b, c := newBestEffort()
	slow, failed := begin(t, b), begin(t, b)
	failed(overload.Failed)
	leftOut(t, b)
	slow(overload.Succeeded) // it began before the failure
	c.pass(30*time.Second - 1)
	leftOut(t, b)
	c.pass(1)
	probe := begin(t, b)
	leftOut(t, b)
	probe(overload.Failed)
	leftOut(t, b)
	c.pass(30 * time.Second)
	probe = begin(t, b)
	leftOut(t, b)
	probe(overload.Abandoned)
	probe = begin(t, b)
	leftOut(t, b)
	probe(overload.Succeeded)
	begin(t, b)
	begin(t, b)
}

// A clock that is set back does not prolong the pause for ever.
func TestClockSetBack(t *testing.T) {
	b, c := newBestEffort()
	begin(t, b)(overload.Failed)
	c.pass(-time.Hour)
	begin(t, b)
}

// A service that answers nothing sees fifty repeats, however many call it; one that answers, about one for ten calls.
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
		t.Errorf("%d repeats of 1000 failed calls", repeats)
	}
	for range 600 { // what brings the tokens above half
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
		t.Errorf("%d repeats of 11000 calls of which 1000 failed", repeats)
	}
	repeats = 0
	for range 1000 {
		fail(5)
		for range 5 {
			r.Succeeded()
		}
	}
	if repeats > 600 {
		t.Errorf("%d repeats of 10000 calls of which half failed", repeats)
	}
}
