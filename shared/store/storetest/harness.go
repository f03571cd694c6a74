// Package storetest is the conformance suite of [store.Store]. Every driver passes it:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Harness {
//			return storetest.Harness{Store: open(t)}
//		})
//	}
//
// The suite does not depend on how a driver stores its data. Each test uses case ids of its own.
// When it reads across all cases (CountOpen, CountByState, Overdue, List), it tolerates other
// records. So a driver may use the same database for all tests, as long as nothing else writes to
// it meanwhile. Tests run one after the other. Within a test, many goroutines work concurrently, on
// two instances if the driver can open a second one.
//
// The [Harness] describes the allowed differences of drivers: the number of contenders, the time
// until a waiter wakes, and the goroutines of their clients. The guarantees of the interface are
// the same for all.
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

// Harness describes a driver to the suite. Only Store is required.
type Harness struct {
	// Store is the store to test. The suite closes it.
	Store store.Store
	// Second opens another instance over the data of Store, as another process would. The suite
	// closes it. If it is nil, the driver cannot do that, and the tests that need it are skipped.
	Second func(t *testing.T) store.Store
	// Contenders is how many goroutines compete for one record: at least 2; 50 if zero.
	Contenders int
	// WakeWithin is how soon a waiter must notice a write, by its own instance or another; 5 s if
	// zero.
	WakeWithin time.Duration
	// CallWithin bounds every test, so that a driver that hangs fails; 2 min if zero.
	CallWithin time.Duration
	// Goroutines are the goroutines that the driver's client may start and keep at any time.
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

// env has what one test uses.
type env struct {
	Harness
	ctx    context.Context
	prefix string // prefix of the case ids of this test
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

// id returns the id of a case of this test.
func (e *env) id(name string) string { return e.prefix + "-" + name }

// instances returns the store and, if the driver can open one, a second instance over the same
// data.
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

// together runs f(0) to f(n-1) at the same time and returns when all have returned.
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

// spread runs f(0) to f(n-1), at most 16 at a time.
func spread(n int, f func(i int)) {
	const width = 16
	together(min(n, width), func(first int) {
		for i := first; i < n; i += width {
			f(i)
		}
	})
}
