// Package queuetest is the conformance suite of [queue.Queue], which every adapter passes.
package queuetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/queue"
)

// patience bounds the waits of the suite. It is long, because only failures take that long.
const patience = 20 * time.Second

// Harness is an adapter with empty queues, and what the suite may expect of it.
type Harness struct {
	Queue queue.Queue

	// Deliveries yields each delivery when it arrives, before its response. If it is nil, nothing
	// is delivered, and the tests that need deliveries are skipped.
	Deliveries <-chan Delivery
	// Fail makes the next n deliveries fail. If it is nil, deliveries cannot be made to fail.
	Fail func(n int)
}

// Delivery is one call of a task's target.
type Delivery struct {
	Kind        queue.Kind // from the URL that was called
	Name        string     // the name of the task, from [queue.Task.Name]
	RetryCount  int        // earlier deliveries of the task
	ContentType string
	TraceParent string
	Body        []byte
	Received    time.Time
}

// Run runs the suite. It calls open once for each test. Everything that open opens must end with
// the test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	tests := []struct {
		name string
		run  func(*testing.T, suite)
	}{
		{"CreateMakesATaskThatExists", createExists},
		{"CreateTwiceIsCreateOnce", createTwice},
		{"DifferentNamesAreDifferentTasks", different},
		{"ExistsIsFalseWithoutCreate", neverCreated},
		{"DeleteRemovesAndCanBeRepeated", deleteRepeated},
		{"NameStaysTakenAfterDelete", takenAfterDelete},
		{"OneOfManyConcurrentCreatesCreates", concurrentCreates},
		{"EndedContextIsReported", endedContext},
		{"DeliveryCarriesBodyAndTrace", delivery},
		{"DeliveryIsNotBeforeAt", notBefore},
		{"DeletedTaskIsNotDelivered", deletedNotDelivered},
		{"NameStaysTakenAfterDelivery", takenAfterDelivery},
		{"FailedDeliveryIsRetried", failedRepeated},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, suite{open(t)}) })
	}
}

type suite struct{ Harness }

// later returns a task that is not due while the test runs.
func later(caseID string) queue.Task {
	now := time.Now()
	return queue.Task{Kind: queue.Check, CaseID: caseID, Run: 1, Seq: 1, CreatedAt: now, At: now.Add(time.Hour)}
}

// due returns a task that is due immediately.
func due(caseID string) queue.Task {
	task := later(caseID)
	task.At = task.CreatedAt
	return task
}

func (s suite) create(t *testing.T, task queue.Task, want bool) {
	t.Helper()
	got, err := s.Queue.Create(t.Context(), task)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	if got != want {
		t.Fatalf("Create = %t, want %t", got, want)
	}
}

func (s suite) remove(t *testing.T, task queue.Task) {
	t.Helper()
	if err := s.Queue.Delete(t.Context(), task); err != nil {
		t.Fatalf("Delete: %v", err)
	}
}

func (s suite) exists(t *testing.T, task queue.Task, want bool) {
	t.Helper()
	got, err := s.Queue.Exists(t.Context(), task)
	if err != nil {
		t.Fatalf("Exists: %v", err)
	}
	if got != want {
		t.Fatalf("Exists = %t, want %t", got, want)
	}
}

// gone waits until the queue no longer has the task.
func (s suite) gone(t *testing.T, task queue.Task) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		got, err := s.Queue.Exists(t.Context(), task)
		if err != nil {
			t.Fatalf("Exists: %v", err)
		}
		if !got {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the task still exists %v after its delivery", patience)
		}
	}
}

// next returns the next delivery.
func (s suite) next(t *testing.T) Delivery {
	t.Helper()
	if s.Deliveries == nil {
		t.Skip("this harness delivers nothing")
	}
	select {
	case d := <-s.Deliveries:
		return d
	case <-time.After(patience):
		t.Fatalf("nothing was delivered within %v", patience)
		return Delivery{}
	}
}

// manyCreates creates the same task n times concurrently. It returns how many calls returned true.
func (s suite) manyCreates(ctx context.Context, n int, task queue.Task) (created int, errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-start
			ok, err := s.Queue.Create(ctx, task)
			mu.Lock()
			defer mu.Unlock()
			if ok {
				created++
			}
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	close(start)
	wg.Wait()
	return created, errs
}
