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
	got, err := client.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: location, Queue: &cloudtaskspb.Queue{
		Name: name("new"), State: cloudtaskspb.Queue_PAUSED, RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 0.5, MaxBurstSize: 77},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := &cloudtaskspb.Queue{
		Name: name("new"), State: cloudtaskspb.Queue_RUNNING,
		RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 0.5, MaxBurstSize: 1, MaxConcurrentDispatches: 1000},
		RetryConfig: &cloudtaskspb.RetryConfig{
			MaxAttempts: 100, MinBackoff: durationpb.New(100 * time.Millisecond), MaxBackoff: durationpb.New(time.Hour), MaxDoublings: 16,
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("CreateQueue (-want +got):\n%s", diff)
	}
	read, err := client.GetQueue(t.Context(), &cloudtaskspb.GetQueueRequest{Name: name("new")})
	if diff := cmp.Diff(want, read, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("GetQueue: %v (-want +got):\n%s", err, diff)
	}
}

func TestQueueErrors(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	create := func(change func(*cloudtaskspb.Queue)) func() error {
		return func() error {
			q := &cloudtaskspb.Queue{Name: name("x"), RateLimits: &cloudtaskspb.RateLimits{}, RetryConfig: &cloudtaskspb.RetryConfig{}}
			change(q)
			_, err := client.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: location, Queue: q})
			return err
		}
	}
	tests := []struct {
		name string
		call func() error
		want codes.Code
	}{
		{"exists", create(func(q *cloudtaskspb.Queue) { q.Name = name("q") }), codes.AlreadyExists},
		{"underscore", create(func(q *cloudtaskspb.Queue) { q.Name = name("a_b") }), codes.InvalidArgument},
		{"too long", create(func(q *cloudtaskspb.Queue) { q.Name = name(strings.Repeat("a", 101)) }), codes.InvalidArgument},
		{"as long as may be", create(func(q *cloudtaskspb.Queue) { q.Name = name(strings.Repeat("a", 100)) }), codes.OK},
		{"elsewhere", create(func(q *cloudtaskspb.Queue) { q.Name = "projects/p/locations/l/queues/x" }), codes.InvalidArgument},
		{"too fast", create(func(q *cloudtaskspb.Queue) { q.RateLimits.MaxDispatchesPerSecond = 501 }), codes.InvalidArgument},
		{"negative rate", create(func(q *cloudtaskspb.Queue) { q.RateLimits.MaxDispatchesPerSecond = -1 }), codes.InvalidArgument},
		{"too many at once", create(func(q *cloudtaskspb.Queue) { q.RateLimits.MaxConcurrentDispatches = 5001 }), codes.InvalidArgument},
		{"attempts", create(func(q *cloudtaskspb.Queue) { q.RetryConfig.MaxAttempts = -2 }), codes.InvalidArgument},
		{"backoff", create(func(q *cloudtaskspb.Queue) { q.RetryConfig = config(time.Minute, time.Second, 1) }), codes.InvalidArgument},
		{"target", create(func(q *cloudtaskspb.Queue) { q.HttpTarget = &cloudtaskspb.HttpTarget{} }), codes.Unimplemented},
		{"get nothing", func() error {
			_, err := client.GetQueue(t.Context(), &cloudtaskspb.GetQueueRequest{Name: name("none")})
			return err
		}, codes.NotFound},
		{"pause nothing", func() error {
			_, err := client.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: name("none")})
			return err
		}, codes.NotFound},
		{"delete nothing", func() error {
			return client.DeleteQueue(t.Context(), &cloudtaskspb.DeleteQueueRequest{Name: name("none")})
		}, codes.NotFound},
		{"unknown field", func() error {
			_, err := client.UpdateQueue(t.Context(), &cloudtaskspb.UpdateQueueRequest{
				Queue: &cloudtaskspb.Queue{Name: name("q")}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"retry_config.what"}}})
			return err
		}, codes.InvalidArgument},
		{"IAM", func() error {
			_, err := client.GetIamPolicy(t.Context(), &iampb.GetIamPolicyRequest{Resource: name("q")})
			return err
		}, codes.Unimplemented},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.call()
			if status.Code(err) != test.want {
				t.Errorf("= %v, want %v", err, test.want)
			}
			if test.want == codes.Unimplemented && !strings.Contains(err.Error(), "local Cloud Tasks server") {
				t.Errorf("the error does not say why: %v", err)
			}
		})
	}
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
	made := update(&cloudtaskspb.Queue{Name: name("u"), RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 7}})
	if made.GetRateLimits().GetMaxDispatchesPerSecond() != 7 || made.GetRetryConfig().GetMaxAttempts() != 100 {
		t.Errorf("an update of nothing made %v", made)
	}
	if _, err := client.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: name("u")}); err != nil {
		t.Fatal(err)
	}
	got := update(&cloudtaskspb.Queue{
		Name: name("u"), RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 9, MaxConcurrentDispatches: 3},
		RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 4, MaxDoublings: 2},
	}, "rate_limits.max_concurrent_dispatches", "retry_config.max_attempts", "state")
	if got.GetRateLimits().GetMaxDispatchesPerSecond() != 7 || got.GetRateLimits().GetMaxConcurrentDispatches() != 3 ||
		got.GetRetryConfig().GetMaxAttempts() != 4 || got.GetRetryConfig().GetMaxDoublings() != 16 || got.GetState() != cloudtaskspb.Queue_PAUSED {
		t.Errorf("a masked update gave %v", got)
	}
	got = update(&cloudtaskspb.Queue{Name: name("u")})
	if got.GetRateLimits().GetMaxDispatchesPerSecond() != 500 || got.GetRetryConfig().GetMaxAttempts() != 100 || got.GetState() != cloudtaskspb.Queue_PAUSED {
		t.Errorf("an update without a mask gave %v", got)
	}
	// The queue of Options is faster than an update may make it; what does not touch its rate leaves it so.
	got = update(&cloudtaskspb.Queue{Name: name("q"), RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 4}}, "retry_config.max_attempts")
	if got.GetRateLimits().GetMaxDispatchesPerSecond() != 100000 || got.GetRetryConfig().GetMaxAttempts() != 4 {
		t.Errorf("an update of the retries gave %v", got)
	}
}

func TestListQueues(t *testing.T) {
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
		t.Errorf("ListQueues = %v, want %v", got, want)
	}
}

func TestPauseResume(t *testing.T) {
	s := start(t, Options{}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	if _, err := client.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: name("q")}); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, client, x.task("while-paused"))
	// RunTask does not care, and by its delivery the scheduler had its chance with the other.
	mustCreate(t, client, x.task("forced"))
	if _, err := client.RunTask(t.Context(), &cloudtaskspb.RunTaskRequest{Name: name("q") + "/tasks/forced"}); err != nil {
		t.Fatal(err)
	}
	if g := x.next(t); g.task() != "forced" {
		t.Errorf("a paused queue delivered %s", g.task())
	}
	if got := s.Counts()[name("q")]; got.Attempts != 1 {
		t.Errorf("a paused queue attempted: %+v", got)
	}
	if _, err := client.ResumeQueue(t.Context(), &cloudtaskspb.ResumeQueueRequest{Name: name("q")}); err != nil {
		t.Fatal(err)
	}
	if g := x.next(t); g.task() != "while-paused" {
		t.Errorf("the resumed queue delivered %s", g.task())
	}
}

func TestPurgeKeepsNamesTaken(t *testing.T) {
	s := start(t, Options{}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	for i := range 20 {
		mustCreate(t, client, x.taskAt(fmt.Sprint("t", i), time.Now().Add(time.Hour)))
	}
	q, err := client.PurgeQueue(t.Context(), &cloudtaskspb.PurgeQueueRequest{Name: name("q")})
	if err != nil || q.GetPurgeTime() == nil {
		t.Fatalf("PurgeQueue = %v, %v", q, err)
	}
	if got := s.Counts()[name("q")]; got.Pending != 0 || got.Deleted != 20 {
		t.Errorf("after the purge: %+v", got)
	}
	if _, err := client.CreateTask(t.Context(), x.task("t3")); status.Code(err) != codes.AlreadyExists {
		t.Errorf("creating a purged name: %v, want AlreadyExists", err)
	}
	mustCreate(t, client, x.task("after"))
	if g := x.next(t); g.task() != "after" {
		t.Errorf("delivered %s", g.task())
	}
}

func TestDeleteQueueDeletesItsTasks(t *testing.T) {
	s := start(t, Options{}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustCreate(t, client, x.taskAt("t", time.Now().Add(time.Hour)))
	if err := client.DeleteQueue(t.Context(), &cloudtaskspb.DeleteQueueRequest{Name: name("q")}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateTask(t.Context(), x.task("t")); status.Code(err) != codes.NotFound {
		t.Errorf("creating in a deleted queue: %v, want NotFound", err)
	}
	if _, err := client.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: location, Queue: &cloudtaskspb.Queue{Name: name("q")}}); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, client, x.task("t"))
	if g := x.next(t); g.task() != "t" {
		t.Errorf("delivered %s", g.task())
	}
}
