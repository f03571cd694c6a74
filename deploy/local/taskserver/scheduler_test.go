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

func TestScheduleTimeIsKept(t *testing.T) {
	now := newClock()
	s := start(t, Options{Now: now.Now}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustCreate(t, client, x.taskAt("late", now.Now().Add(10*time.Second)))
	mustCreate(t, client, x.taskAt("early", now.Now().Add(5*time.Second)))
	mustCreate(t, client, x.taskAt("past", now.Now().Add(-time.Hour)))
	for _, want := range []string{"past", "early", "late"} {
		if g := x.next(t); g.task() != want {
			t.Errorf("delivered %s, want %s", g.task(), want)
		}
		eventually(t, s, "idle", func(c Counts) bool { return c.Running == 0 })
		if len(x.requests) > 0 {
			t.Fatalf("something was delivered too early, after %s", want)
		}
		now.advance(s, 5*time.Second)
	}
}

// The back-off between deliveries, by the server's own clock, as it is written in the task.
func TestRetriesFollowTheBackoff(t *testing.T) {
	now := newClock()
	queue := fastQueue("q")
	queue.RetryConfig = &cloudtaskspb.RetryConfig{
		MaxAttempts: 6, MinBackoff: durationpb.New(10 * time.Second), MaxBackoff: durationpb.New(100 * time.Second), MaxDoublings: 2,
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
			t.Errorf("after attempt %d: %d dispatched, %d responded", i+1, task.GetDispatchCount(), task.GetResponseCount())
		}
		now.advance(s, want*time.Second)
	}
	x.next(t)
	eventually(t, s, "given up", func(c Counts) bool { return c.Dropped == 1 && c.Pending == 0 && c.Attempts == 6 })
	if _, err := client.CreateTask(t.Context(), x.task("t")); status.Code(err) != codes.AlreadyExists {
		t.Errorf("the name of a task that was given up: %v, want AlreadyExists", err)
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
	// The clock stands still: the bucket of 3 is all there is.
	delivered := int64(3)
	eventually(t, s, "the burst", func(c Counts) bool { return c.Succeeded == delivered })
	for _, step := range []struct {
		after time.Duration
		more  int64
	}{{50 * time.Millisecond, 0}, {50 * time.Millisecond, 1}, {200 * time.Millisecond, 2}, {10 * time.Second, 3}} {
		now.advance(s, step.after)
		delivered += step.more
		eventually(t, s, fmt.Sprint(delivered, " delivered"), func(c Counts) bool { return c.Succeeded == delivered })
		s.core.dispatch() // whatever may begin, begins here
		if got := s.Counts()[name("q")].Attempts; got != delivered {
			t.Errorf("%v later there are %d attempts, want %d", step.after, got, delivered)
		}
	}
}

func TestConcurrencyLimit(t *testing.T) {
	queue := fastQueue("q")
	queue.RateLimits.MaxConcurrentDispatches = 4
	s := start(t, Options{Queues: []*cloudtaskspb.Queue{queue}}, nil)
	client := dial(t, s.Addr())
	var mu sync.Mutex
	running, most := 0, 0
	release := make(chan struct{})
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		running++
		most = max(most, running)
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
	if got := s.Counts()[name("q")]; got.Running != 4 || got.Attempts != 4 {
		t.Errorf("with the limit reached: %+v", got)
	}
	close(release)
	eventually(t, s, "all delivered", func(c Counts) bool { return c.Succeeded == 20 })
	mu.Lock()
	defer mu.Unlock()
	if most != 4 {
		t.Errorf("at most %d at once, want 4", most)
	}
}

func TestDeletingARunningTaskDoesNotStopIt(t *testing.T) {
	release := make(chan struct{})
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		w.WriteHeader(http.StatusInternalServerError)
	})
	s := start(t, Options{}, nil)
	client := dial(t, s.Addr())
	task := mustCreate(t, client, x.task("t"))
	x.next(t)
	if err := client.DeleteTask(t.Context(), &cloudtaskspb.DeleteTaskRequest{Name: task.GetName()}); err != nil {
		t.Fatal(err)
	}
	if got := s.Counts()[name("q")]; got.Running != 1 || got.Pending != 0 {
		t.Errorf("after the deletion: %+v", got)
	}
	close(release)
	eventually(t, s, "idle", func(c Counts) bool { return c.Running == 0 })
	s.core.dispatch()
	if got := s.Counts()[name("q")]; got.Attempts != 1 || got.Failed != 0 {
		t.Errorf("the deleted task went on: %+v", got)
	}
}

func TestOldTasksAreDropped(t *testing.T) {
	now := newClock()
	s := start(t, Options{Now: now.Now}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	if _, err := client.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: name("q")}); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, client, x.task("t"))
	now.advance(s, 31*24*time.Hour-2*time.Hour)
	s.core.dispatch()
	if got := s.Counts()[name("q")].Pending; got != 1 {
		t.Fatalf("%d tasks before 31 days have passed, want 1", got)
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
		x.wait()
		tasks = append(tasks, x)
	}
	tasks[2].unwait()
	tasks[2].unwait()
	var got []int64
	for len(q.due) > 0 {
		x := q.due[0]
		x.unwait()
		got = append(got, x.row)
	}
	if want := []int64{4, 1, 3, 0, 6, 5}; !slices.Equal(got, want) {
		t.Errorf("order = %v, want %v", got, want)
	}
}
