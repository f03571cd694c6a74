// Package singleflight runs a function once for all callers that want its result at the same time.
//
// golang.org/x/sync/singleflight does not fit here: those that wait in its Do cannot leave when their
// request ends, and its DoChan starts a goroutine, which may outlive the request.
package singleflight

import (
	"context"
	"errors"
	"sync"
)

// ErrPanicked is the error of a caller that waited for a function that panicked or left its goroutine.
var ErrPanicked = errors.New("singleflight: the function did not return")

// Flight shares the result of one function among those that call it at the same time. It keeps
// nothing between two runs. The zero Flight is ready. It is safe for concurrent use.
type Flight[T any] struct {
	mu  sync.Mutex
	now *run[T] // nil: no caller runs the function
}

// run is one run of the function.
type run[T any] struct {
	done  chan struct{} // closed when it has ended
	value T
	err   error
}

// Do runs fn and returns its result. If another caller is running its function, Do waits for that
// result instead, until ctx ends: then it returns the error of ctx. A run serves the others too, so fn
// must not end with the context of one request; it has a time limit of its own.
func (f *Flight[T]) Do(ctx context.Context, fn func() (T, error)) (T, error) {
	r, mine := f.join()
	if mine {
		return f.run(r, fn)
	}
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// Try is Do for a caller that does not wait: if another caller is running its function, Try returns
// false immediately.
func (f *Flight[T]) Try(fn func() (T, error)) (value T, ran bool, err error) {
	r, mine := f.join()
	if !mine {
		return value, false, nil
	}
	value, err = f.run(r, fn)
	return value, true, err
}

// join returns the run that is under way, or a new one, which is the caller's to run.
func (f *Flight[T]) join() (r *run[T], mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now != nil {
		return f.now, false
	}
	f.now = &run[T]{done: make(chan struct{}), err: ErrPanicked}
	return f.now, true
}

func (f *Flight[T]) run(r *run[T], fn func() (T, error)) (T, error) {
	defer func() { // after a panic too
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now = nil
		close(r.done)
	}()
	value, err := fn()
	r.value, r.err = value, err
	return value, err
}
