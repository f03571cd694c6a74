package taskserver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/iam/apiv1/iampb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

func TestQueueDefaults(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	got, err := client.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{
		Parent: location,
		Queue: &cloudtaskspb.Queue{
			Name:       name("new"),
			State:      cloudtaskspb.Queue_PAUSED,
			RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 0.5, MaxBurstSize: 77},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &cloudtaskspb.Queue{
		Name:  name("new"),
		State: cloudtaskspb.Queue_RUNNING,
		RateLimits: &cloudtaskspb.RateLimits{
			MaxDispatchesPerSecond:  0.5,
			MaxBurstSize:            1,
			MaxConcurrentDispatches: 1000,
		},
		RetryConfig: &cloudtaskspb.RetryConfig{
			MaxAttempts:  100,
			MinBackoff:   durationpb.New(100 * time.Millisecond),
			MaxBackoff:   durationpb.New(time.Hour),
			MaxDoublings: 16,
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("CreateQueue (-want +got):\n%s", diff)
	}
	read, err := client.GetQueue(t.Context(), &cloudtaskspb.GetQueueRequest{Name: name("new")})
	if diff := cmp.Diff(want, read, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("GetQueue returned %v (-want +got):\n%s", err, diff)
	}
}

// wantCode fails the test if an error has another code. An Unimplemented error must name the
// server.
func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("returned %v, want %v", err, want)
	}
	if want == codes.Unimplemented && !strings.Contains(err.Error(), "local Cloud Tasks server") {
		t.Errorf("returned %v, want an error that names the local Cloud Tasks server", err)
	}
}

func TestCreateQueueChecksTheQueue(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	named := func(name string) func(*cloudtaskspb.Queue) {
		return func(q *cloudtaskspb.Queue) { q.Name = name }
	}
	withRate := func(rate float64) func(*cloudtaskspb.Queue) {
		return func(q *cloudtaskspb.Queue) { q.RateLimits.MaxDispatchesPerSecond = rate }
	}
	withRetry := func(c *cloudtaskspb.RetryConfig) func(*cloudtaskspb.Queue) {
		return func(q *cloudtaskspb.Queue) { q.RetryConfig = c }
	}
	for _, test := range []struct {
		name   string
		change func(*cloudtaskspb.Queue)
		want   codes.Code
	}{
		{"existing name", named(name("q")), codes.AlreadyExists},
		{"underscore in the name", named(name("a_b")), codes.InvalidArgument},
		{"name too long", named(name(strings.Repeat("a", 101))), codes.InvalidArgument},
		{"longest name", named(name(strings.Repeat("a", 100))), codes.OK},
		{"name in another location", named("projects/p/locations/l/queues/x"), codes.InvalidArgument},
		{"rate too high", withRate(501), codes.InvalidArgument},
		{"negative rate", withRate(-1), codes.InvalidArgument},
		{"concurrency too high", func(q *cloudtaskspb.Queue) {
			q.RateLimits.MaxConcurrentDispatches = 5001
		}, codes.InvalidArgument},
		{
			"negative number of attempts", withRetry(&cloudtaskspb.RetryConfig{MaxAttempts: -2}),
			codes.InvalidArgument,
		},
		{"minimum above the maximum back-off", withRetry(config(time.Minute, time.Second, 1)), codes.InvalidArgument},
		{"HTTP target", func(q *cloudtaskspb.Queue) {
			q.HttpTarget = &cloudtaskspb.HttpTarget{}
		}, codes.Unimplemented},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := &cloudtaskspb.Queue{
				Name:        name("x"),
				RateLimits:  &cloudtaskspb.RateLimits{},
				RetryConfig: &cloudtaskspb.RetryConfig{},
			}
			test.change(q)
			_, err := client.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: location, Queue: q})
			wantCode(t, err, test.want)
		})
	}
}

func TestErrorsOfQueueCalls(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	t.Run("get an unknown queue", func(t *testing.T) {
		_, err := client.GetQueue(t.Context(), &cloudtaskspb.GetQueueRequest{Name: name("none")})
		wantCode(t, err, codes.NotFound)
	})
	t.Run("pause an unknown queue", func(t *testing.T) {
		_, err := client.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: name("none")})
		wantCode(t, err, codes.NotFound)
	})
	t.Run("delete an unknown queue", func(t *testing.T) {
		err := client.DeleteQueue(t.Context(), &cloudtaskspb.DeleteQueueRequest{Name: name("none")})
		wantCode(t, err, codes.NotFound)
	})
	t.Run("update an unknown field", func(t *testing.T) {
		_, err := client.UpdateQueue(t.Context(), &cloudtaskspb.UpdateQueueRequest{
			Queue:      &cloudtaskspb.Queue{Name: name("q")},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"retry_config.what"}},
		})
		wantCode(t, err, codes.InvalidArgument)
	})
	t.Run("get an IAM policy", func(t *testing.T) {
		_, err := client.GetIamPolicy(t.Context(), &iampb.GetIamPolicyRequest{Resource: name("q")})
		wantCode(t, err, codes.Unimplemented)
	})
}

func TestUpdateQueue(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	update := func(q *cloudtaskspb.Queue, paths ...string) *cloudtaskspb.Queue {
		t.Helper()
		r := &cloudtaskspb.UpdateQueueRequest{Queue: q}
		if paths != nil {
			r.UpdateMask = &fieldmaskpb.FieldMask{Paths: paths}
		}
		got, err := client.UpdateQueue(t.Context(), r)
		if err != nil {
			t.Fatalf("UpdateQueue %v: %v", paths, err)
		}
		return got
	}
	got := update(&cloudtaskspb.Queue{
		Name: name("u"), RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 7},
	})
	if got.GetRateLimits().GetMaxDispatchesPerSecond() != 7 || got.GetRetryConfig().GetMaxAttempts() != 100 {
		t.Errorf("an update of an unknown queue returned %v, want a new queue with rate 7 and 100 attempts", got)
	}
	mustPause(t, client, "u")
	got = update(&cloudtaskspb.Queue{
		Name:        name("u"),
		RateLimits:  &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 9, MaxConcurrentDispatches: 3},
		RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 4, MaxDoublings: 2},
	}, "rate_limits.max_concurrent_dispatches", "retry_config.max_attempts", "state")
	if limits, retry := got.GetRateLimits(), got.GetRetryConfig(); limits.GetMaxDispatchesPerSecond() != 7 ||
		limits.GetMaxConcurrentDispatches() != 3 || retry.GetMaxAttempts() != 4 || retry.GetMaxDoublings() != 16 ||
		got.GetState() != cloudtaskspb.Queue_PAUSED {
		t.Errorf("an update with a mask returned %v, want only the concurrency and attempts changed", got)
	}
	got = update(&cloudtaskspb.Queue{Name: name("u")})
	if got.GetRateLimits().GetMaxDispatchesPerSecond() != 500 || got.GetRetryConfig().GetMaxAttempts() != 100 ||
		got.GetState() != cloudtaskspb.Queue_PAUSED {
		t.Errorf("an update without a mask returned %v, want the defaults in a paused queue", got)
	}
	// The rate of a queue from Options is above Google's limit. Updates of other fields keep it.
	got = update(&cloudtaskspb.Queue{
		Name: name("q"), RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 4},
	}, "retry_config.max_attempts")
	if got.GetRateLimits().GetMaxDispatchesPerSecond() != 100000 || got.GetRetryConfig().GetMaxAttempts() != 4 {
		t.Errorf("an update of the attempts returned %v, want rate 100000 and 4 attempts", got)
	}
}

func TestListQueuesReturnsOneLocationInOrder(t *testing.T) {
	client := dial(t, start(t, Options{Queues: []*cloudtaskspb.Queue{
		fastQueue("c"), fastQueue("a"), fastQueue("b"), {Name: "projects/other/locations/us-central1/queues/z"},
	}}, nil).Addr())
	var got []string
	it := client.ListQueues(t.Context(), &cloudtaskspb.ListQueuesRequest{Parent: location, PageSize: 2})
	for q, err := it.Next(); !errors.Is(err, iterator.Done); q, err = it.Next() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, q.GetName())
	}
	if want := []string{name("a"), name("b"), name("c")}; !slices.Equal(got, want) {
		t.Errorf("ListQueues returned %v, want %v", got, want)
	}
}

func TestPausedQueueDeliversNothing(t *testing.T) {
	s := start(t, Options{}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustPause(t, client, "q")
	mustCreate(t, client, x.task("while-paused"))
	// RunTask ignores the pause. Its delivery shows that the scheduler had time for the other task.
	mustCreate(t, client, x.task("forced"))
	if _, err := client.RunTask(t.Context(), &cloudtaskspb.RunTaskRequest{Name: taskPath("forced")}); err != nil {
		t.Fatal(err)
	}
	x.next(t).want(t, "forced", "0")
	if got := s.counts().Attempts; got != 1 {
		t.Errorf("a paused queue made %d attempts, want only the forced one", got)
	}
	mustResume(t, client, "q")
	x.next(t).want(t, "while-paused", "0")
}

func TestPurgeKeepsNamesTaken(t *testing.T) {
	s := start(t, Options{}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	for i := range 20 {
		mustCreate(t, client, later(fmt.Sprint("t", i)))
	}
	q, err := client.PurgeQueue(t.Context(), &cloudtaskspb.PurgeQueueRequest{Name: name("q")})
	if err != nil || q.GetPurgeTime() == nil {
		t.Fatalf("PurgeQueue returned %v, %v; want a queue with a purge time", q, err)
	}
	if got := s.counts(); got.Pending != 0 || got.Deleted != 20 {
		t.Errorf("after the purge the counts are %+v, want 20 deleted tasks", got)
	}
	if _, err := client.CreateTask(t.Context(), x.task("t3")); status.Code(err) != codes.AlreadyExists {
		t.Errorf("CreateTask with a purged name returned %v, want AlreadyExists", err)
	}
	mustCreate(t, client, x.task("after"))
	x.next(t).want(t, "after", "0")
}

func TestDeleteQueueDeletesItsTasks(t *testing.T) {
	s := start(t, Options{}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustCreate(t, client, later("t"))
	if err := client.DeleteQueue(t.Context(), &cloudtaskspb.DeleteQueueRequest{Name: name("q")}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateTask(t.Context(), x.task("t")); status.Code(err) != codes.NotFound {
		t.Errorf("CreateTask in a deleted queue returned %v, want NotFound", err)
	}
	if _, err := client.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{
		Parent: location, Queue: &cloudtaskspb.Queue{Name: name("q")},
	}); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, client, x.task("t"))
	x.next(t).want(t, "t", "0")
}
