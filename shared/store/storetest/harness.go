package storetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/store"
)

// Harness is a driver as the suite is to use it. Only Store is required.
type Harness struct {
	// Store is the store to test. The suite closes it.
	Store store.Store
	// Second opens another instance over the data of Store, as another process would. The suite closes it. Nil: the driver
	// cannot, and the tests that need one are skipped.
	Second func(t *testing.T) store.Store
	// Contenders is how many goroutines fight for one record; 50 if zero. Not below 2.
	Contenders int
	// WakeWithin is how soon a waiter must see a write, by its own instance or another; 5 s if zero.
	WakeWithin time.Duration
	// CallWithin bounds every test, so that a driver that hangs fails; 2 min if zero.
	CallWithin time.Duration
	// Goroutines are those that the driver's client may start and keep, whenever it likes.
	Goroutines []goleak.Option
}

// Run runs the whole suite. It calls open once for each test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Begin", beginTests},
		{"Update", updateTests},
		{"Value", valueTests},
		{"Overdue", overdueTests},
		{"List", listTests},
		{"Count", countTests},
		{"Wait", waitTests},
		{"Purge", purgeTests},
		{"DurationStats", durationStatsTests},
		{"Context", contextTests},
		{"Together", togetherTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) { test.run(t, newEnv(t, open(t))) })
			}
		})
	}
}

type test struct {
	name string
	run  func(t *testing.T, e *env)
}

// env is what one test works with.
type env struct {
	Harness
	ctx    context.Context
	prefix string // of the ids of all cases of this test
	all    []store.Store
}

func newEnv(t *testing.T, h Harness) *env {
	t.Helper()
	h.Contenders = cmp.Or(h.Contenders, 50)
	h.WakeWithin = cmp.Or(h.WakeWithin, 5*time.Second)
	t.Cleanup(func() {
		if err := h.Store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(h.CallWithin, 2*time.Minute))
	t.Cleanup(cancel)
	return &env{Harness: h, ctx: ctx, prefix: "st" + rand.Text()[:12]}
}

// id names a case of this test.
func (e *env) id(name string) string { return e.prefix + "-" + name }

// instances are the store and, if the driver can open one, a second over the same data.
func (e *env) instances(t *testing.T) []store.Store {
	t.Helper()
	if e.all == nil {
		e.all = []store.Store{e.Store}
		if e.Second != nil {
			e.all = append(e.all, e.second(t))
		}
	}
	return e.all
}

// second opens another instance, or skips the test.
func (e *env) second(t *testing.T) store.Store {
	t.Helper()
	if e.Second == nil {
		t.Skip("the driver cannot open a second instance over the same data")
	}
	s := e.Second(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close of the second instance: %v", err)
		}
	})
	return s
}

// together runs f(0) … f(n-1) at the same time and returns when all have returned.
func together(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			f(i)
		})
	}
	done.Wait()
}

// spread runs f(0) … f(n-1), at most 16 at a time.
func spread(n int, f func(i int)) {
	const width = 16
	together(min(n, width), func(first int) {
		for i := first; i < n; i += width {
			f(i)
		}
	})
}
