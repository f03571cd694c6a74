// Package reconciletest has what a [reconcile.Reconciler] works with, for tests: a queue, a pipeline and
// topics in memory, a real store, a log and a clock. They do as they are told, they say what they were
// asked, and any of their calls can be made to fail.
package reconciletest

import (
	"errors"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// ErrDown is what a call returns that is made to fail. Its text is a detail that no caller may see.
var ErrDown = errors.New("reconciletest: down, with a secret detail of SQL")

// Rules returns the default settings of the rules.
func Rules() cases.Rules {
	return cases.Rules{
		PipelineTimeout: 29 * time.Minute, CheckMinInterval: 2 * time.Second, CheckMaxInterval: 30 * time.Second,
		StartGrace: 2 * time.Minute, CompletionGrace: 30 * time.Second, StallAfter: 5 * time.Minute,
		UnreachableAfter: 10 * time.Minute, Retention: 720 * time.Hour, FormRetention: 24 * time.Hour,
	}
}

// Faults makes calls of a fake fail. The zero value lets all of them through. It is safe for concurrent
// use; a hook may set another hook.
type Faults struct {
	mu            sync.Mutex
	before, after func(method string) error
}

// Before sets what runs before each call, with the name of its method; nil for nothing. If it returns an
// error, the call returns that error and has no effect.
func (f *Faults) Before(hook func(method string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = hook
}

// After sets what runs after each call that took effect, with the name of its method; nil for nothing.
// If it returns an error, the call returns that error.
func (f *Faults) After(hook func(method string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after = hook
}

// SetDown makes every call fail, or lets every call through. It replaces the hook of Before.
func (f *Faults) SetDown(down bool) {
	if down {
		f.Before(func(string) error { return ErrDown })
	} else {
		f.Before(nil)
	}
}

// Failing returns a hook that fails the calls of a method from the first to the last, counted from 1.
func Failing(method string, first, last int) func(string) error {
	var mu sync.Mutex
	calls := 0
	return func(called string) error {
		mu.Lock()
		defer mu.Unlock()
		if called != method {
			return nil
		}
		if calls++; calls < first || calls > last {
			return nil
		}
		return ErrDown
	}
}

// Returning returns a hook that makes every call of a method return err.
func Returning(method string, err error) func(string) error {
	return func(called string) error {
		if called == method {
			return err
		}
		return nil
	}
}

// hooks returns the hooks that are set; they run without the lock.
func (f *Faults) hooks() (before, after func(string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.before, f.after
}

// call makes a call, or fails it as f says.
func call[T any](f *Faults, method string, do func() (T, error)) (T, error) {
	var none T
	before, _ := f.hooks()
	if before != nil {
		if err := before(method); err != nil {
			return none, err
		}
	}
	v, err := do()
	if _, after := f.hooks(); after != nil && err == nil {
		err = after(method)
	}
	return v, err
}

// do is call for a call that returns nothing else.
func (f *Faults) do(method string, do func() error) error {
	_, err := call(f, method, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// Clock is a clock that moves only when it is told to. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at a time.
func NewClock(at time.Time) *Clock { return &Clock{now: at} }

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Pass moves the clock forward.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
