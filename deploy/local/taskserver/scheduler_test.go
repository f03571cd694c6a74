package taskserver

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestTasksAreDeliveredAtTheirScheduleTimes(t *testing.T) {
	now := newClock()
	s := start(t, Options{Now: now.Now}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustCreate(t, client, x.taskAt("late", now.Now().Add(10*time.Second)))
	mustCreate(t, client, x.taskAt("early", now.Now().Add(5*time.Second)))
	mustCreate(t, client, x.taskAt("past", now.Now().Add(-time.Hour)))
	for _, want := range []string{"past", "early", "late"} {
		x.next(t).want(t, want, "0")
		eventually(t, s, "idle", func(c Counts) bool { return c.Running == 0 })
		if len(x.deliveries) > 0 {
			t.Fatalf("a task was delivered too early, after %s", want)
		}
		now.advance(s, 5*time.Second)
	}
}

// The schedule time of a task shows its back-off.
func TestRetriesFollowTheBackoff(t *testing.T) {
	now := newClock()
	queue := fastQueue("q")
	queue.RetryConfig = &cloudtaskspb.RetryConfig{
		MaxAttempts:  6,
		MinBackoff:   durationpb.New(10 * time.Second),
		MaxBackoff:   durationpb.New(100 * time.Second),
		MaxDoublings: 2,
	}
	s := start(t, Options{Now: now.Now, Queues: []*cloudtaskspb.Queue{queue}}, nil)
	client := dial(t, s.Addr())
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	created := mustCreate(t, client, x.task("t"))
	for i, want := range []time.Duration{10, 20, 40, 80, 100} {
		x.next(t)
		eventually(t, s, "failed", func(c Counts) bool { return c.Failed == int64(i+1) })
		task, err := client.GetTask(t.Context(), &cloudtaskspb.GetTaskRequest{Name: created.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		if got := task.GetScheduleTime().AsTime().Sub(now.Now()); got != want*time.Second {
			t.Errorf("after attempt %d the next is in %v, want %v", i+1, got, want*time.Second)
		}
		if task.GetDispatchCount() != int32(i+1) || task.GetResponseCount() != int32(i+1) {
			t.Errorf("after attempt %d there are %d dispatches and %d responses",
				i+1, task.GetDispatchCount(), task.GetResponseCount())
		}
		now.advance(s, want*time.Second)
	}
	x.next(t)
	eventually(t, s, "dropped", func(c Counts) bool { return c.Dropped == 1 && c.Pending == 0 && c.Attempts == 6 })
	if _, err := client.CreateTask(t.Context(), x.task("t")); status.Code(err) != codes.AlreadyExists {
		t.Errorf("CreateTask with the name of a dropped task returned %v, want AlreadyExists", err)
	}
}

func TestRetryAfterDelaysTheTask(t *testing.T) {
	now := newClock()
	s := start(t, Options{Now: now.Now}, nil)
	client := dial(t, s.Addr())
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	created := mustCreate(t, client, x.task("t"))
	x.next(t)
	eventually(t, s, "failed", func(c Counts) bool { return c.Failed == 1 })
	task, err := client.GetTask(t.Context(), &cloudtaskspb.GetTaskRequest{Name: created.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if got := task.GetScheduleTime().AsTime().Sub(now.Now()); got != 2*time.Minute {
		t.Errorf("the next attempt is in %v, want 2m", got)
	}
}

func TestRateLimit(t *testing.T) {
	now := newClock()
	queue := fastQueue("q")
	queue.RateLimits = &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 10, MaxBurstSize: 3}
	s := start(t, Options{Now: now.Now, Queues: []*cloudtaskspb.Queue{queue}}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	for i := range 12 {
		mustCreate(t, client, x.task(fmt.Sprint("t", i)))
	}
	// Before the clock advances, only the burst of 3 is delivered.
	delivered := int64(3)
	eventually(t, s, "a burst", func(c Counts) bool { return c.Succeeded == delivered })
	for _, step := range []struct {
		after time.Duration
		more  int64
	}{
		{50 * time.Millisecond, 0},
		{50 * time.Millisecond, 1},
		{200 * time.Millisecond, 2},
		{10 * time.Second, 3},
	} {
		now.advance(s, step.after)
		delivered += step.more
		eventually(t, s, fmt.Sprint(delivered, " delivered"), func(c Counts) bool { return c.Succeeded == delivered })
		s.core.dispatch() // begins each attempt that the limit allows
		if got := s.counts().Attempts; got != delivered {
			t.Errorf("after another %v there are %d attempts, want %d", step.after, got, delivered)
		}
	}
}

func TestConcurrencyLimit(t *testing.T) {
	queue := fastQueue("q")
	queue.RateLimits.MaxConcurrentDispatches = 4
	s := start(t, Options{Queues: []*cloudtaskspb.Queue{queue}}, nil)
	client := dial(t, s.Addr())
	var mu sync.Mutex
	running, maxRunning := 0, 0
	release := make(chan struct{})
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		running++
		maxRunning = max(maxRunning, running)
		mu.Unlock()
		<-release
		mu.Lock()
		running--
		mu.Unlock()
	})
	for range 20 {
		mustCreate(t, client, x.task(""))
	}
	for range 4 {
		x.next(t)
	}
	s.core.dispatch()
	if got := s.counts(); got.Running != 4 || got.Attempts != 4 {
		t.Errorf("at the limit the counts are %+v, want 4 attempts, all running", got)
	}
	close(release)
	eventually(t, s, "all delivered", func(c Counts) bool { return c.Succeeded == 20 })
	mu.Lock()
	defer mu.Unlock()
	if maxRunning != 4 {
		t.Errorf("up to %d attempts ran at the same time, want 4", maxRunning)
	}
}

func TestDeletedTaskIsNotAttemptedAgain(t *testing.T) {
	release := make(chan struct{})
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		w.WriteHeader(http.StatusInternalServerError)
	})
	s := start(t, Options{}, nil)
	client := dial(t, s.Addr())
	mustCreate(t, client, x.task("t"))
	x.next(t)
	mustDelete(t, client, "t")
	if got := s.counts(); got.Running != 1 || got.Pending != 0 {
		t.Errorf("after the deletion the counts are %+v, want an attempt that still runs", got)
	}
	close(release)
	eventually(t, s, "idle", func(c Counts) bool { return c.Running == 0 })
	s.core.dispatch()
	if got := s.counts(); got.Attempts != 1 || got.Failed != 0 {
		t.Errorf("the counts are %+v, want one attempt and none that failed", got)
	}
}

func TestOldTasksAreDropped(t *testing.T) {
	now := newClock()
	s := start(t, Options{Now: now.Now}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustPause(t, client, "q")
	mustCreate(t, client, x.task("t"))
	now.advance(s, 31*24*time.Hour-2*time.Hour)
	s.core.dispatch()
	if got := s.counts().Pending; got != 1 {
		t.Fatalf("before 31 days there are %d tasks, want 1", got)
	}
	now.advance(s, 3*time.Hour)
	eventually(t, s, "dropped", func(c Counts) bool { return c.Dropped == 1 && c.Pending == 0 })
}

func TestHeapOrder(t *testing.T) {
	q := newQueue(1, complete(fastQueue("q"), true))
	base := time.Unix(1000, 0)
	var tasks []*task
	for i, offset := range []int{5, 3, 9, 3, 1, 7, 5} {
		x := &task{row: int64(i), queue: q, at: base.Add(time.Duration(offset) * time.Second), index: -1}
		x.enqueue()
		tasks = append(tasks, x)
	}
	tasks[2].dequeue()
	tasks[2].dequeue()
	var got []int64
	for len(q.due) > 0 {
		x := q.due[0]
		x.dequeue()
		got = append(got, x.row)
	}
	if want := []int64{4, 1, 3, 0, 6, 5}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
}
