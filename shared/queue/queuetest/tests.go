package queuetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/queue"
)

func createExists(t *testing.T, s suite) {
	for _, kind := range []queue.Kind{queue.Check, queue.Dispatch} {
		task := later("case-1")
		task.Kind = kind
		s.create(t, task, true)
		s.exists(t, task, true)
	}
}

func createTwice(t *testing.T, s suite) {
	task := later("case-1")
	s.create(t, task, true)
	s.create(t, task, false)
	task.At = task.At.Add(time.Minute)
	task.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	s.create(t, task, false)
}

func different(t *testing.T, s suite) {
	base := later("case-1")
	s.create(t, base, true)
	for _, change := range []func(*queue.Task){
		func(x *queue.Task) { x.Kind = queue.Dispatch },
		func(x *queue.Task) { x.CaseID = "case-2" },
		func(x *queue.Task) { x.Run++ },
		func(x *queue.Task) { x.Seq++ },
		func(x *queue.Task) { x.CreatedAt = x.CreatedAt.Add(time.Millisecond) },
	} {
		task := base
		change(&task)
		s.exists(t, task, false)
		s.create(t, task, true)
		s.remove(t, task)
		s.exists(t, base, true)
	}
}

func neverCreated(t *testing.T, s suite) { s.exists(t, later("case-1"), false) }

func deleteRepeated(t *testing.T, s suite) {
	task := later("case-1")
	s.remove(t, task)
	s.create(t, task, true)
	s.remove(t, task)
	s.exists(t, task, false)
	s.remove(t, task)
}

func takenAfterDelete(t *testing.T, s suite) {
	task := later("case-1")
	s.create(t, task, true)
	s.remove(t, task)
	s.create(t, task, false)
	s.exists(t, task, false)
}

func concurrentCreates(t *testing.T, s suite) {
	created, errs := s.manyCreates(t.Context(), 50, later("case-1"))
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("Create: %v", err)
	}
	if created != 1 {
		t.Errorf("%d of 50 creates of one name created it, want exactly one", created)
	}
}

func endedContext(t *testing.T, s suite) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	task := later("case-1")
	_, createErr := s.Queue.Create(ctx, task)
	_, existsErr := s.Queue.Exists(ctx, task)
	for call, err := range map[string]error{
		"Create": createErr,
		"Delete": s.Queue.Delete(ctx, task),
		"Exists": existsErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v, want context.Canceled", call, err)
		}
	}
}

func delivery(t *testing.T, s suite) {
	for _, kind := range []queue.Kind{queue.Check, queue.Dispatch} {
		task := due("case-1")
		task.Kind, task.Run, task.Seq = kind, 3, 7
		task.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		s.create(t, task, true)
		d := s.next(t)
		if d.Kind != kind || d.Name != task.Name() || d.RetryCount != 0 {
			t.Errorf("delivered %s %s after %d deliveries, want %s %s after none",
				d.Kind, d.Name, d.RetryCount, kind, task.Name())
		}
		if d.ContentType != "application/json" || d.TraceParent != task.TraceParent {
			t.Errorf("delivered as %q with traceparent %q", d.ContentType, d.TraceParent)
		}
		if body, err := queue.DecodeBody(d.Body); err != nil || body != (queue.Body{CaseID: "case-1", Run: 3, Seq: 7}) {
			t.Errorf("delivered the body %s (%v)", d.Body, err)
		}
	}
}

func notBefore(t *testing.T, s suite) {
	task := due("case-1")
	task.At = time.Now().Add(600 * time.Millisecond)
	s.create(t, task, true)
	s.exists(t, task, true)
	if d := s.next(t); d.Received.Before(task.At.Truncate(time.Microsecond)) {
		t.Errorf("delivered %v too early", task.At.Sub(d.Received))
	}
}

func deletedNotDelivered(t *testing.T, s suite) {
	first, second := due("case-1"), due("case-2")
	first.At = time.Now().Add(400 * time.Millisecond)
	second.At = first.At.Add(200 * time.Millisecond)
	s.create(t, first, true)
	s.create(t, second, true)
	s.remove(t, first)
	if d := s.next(t); d.Name != second.Name() {
		t.Errorf("got a delivery of the deleted task")
	}
}

func takenAfterDelivery(t *testing.T, s suite) {
	task := due("case-1")
	s.create(t, task, true)
	s.next(t)
	s.gone(t, task)
	s.create(t, task, false)
	s.remove(t, task)
}

func failedRepeated(t *testing.T, s suite) {
	if s.Fail == nil {
		t.Skip("this harness cannot make deliveries fail")
	}
	s.Fail(2)
	task := due("case-1")
	s.create(t, task, true)
	for i := range 3 {
		if d := s.next(t); d.Name != task.Name() || d.RetryCount != i {
			t.Fatalf("delivery %d is of %s with retry count %d, want %s with %d",
				i, d.Name, d.RetryCount, task.Name(), i)
		}
	}
	s.gone(t, task)
}
