package taskserver

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestCreateTaskChecksTheRequest(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	type request = cloudtaskspb.CreateTaskRequest
	type call = cloudtaskspb.HttpRequest
	named := func(name string) func(*request, *call) {
		return func(r *request, _ *call) { r.Task.Name = name }
	}
	to := func(url string) func(*request, *call) {
		return func(_ *request, h *call) { h.Url = url }
	}
	withDeadline := func(d time.Duration) func(*request, *call) {
		return func(r *request, _ *call) { r.Task.DispatchDeadline = durationpb.New(d) }
	}
	dueIn := func(d time.Duration) func(*request, *call) {
		return func(r *request, _ *call) { r.Task.ScheduleTime = timestamppb.New(time.Now().Add(d)) }
	}
	withHeader := func(name, value string) func(*request, *call) {
		return func(_ *request, h *call) { h.Headers = map[string]string{name: value} }
	}
	withBody := func(method cloudtaskspb.HttpMethod, body []byte) func(*request, *call) {
		return func(_ *request, h *call) { h.HttpMethod, h.Body = method, body }
	}
	tests := []struct {
		name   string
		change func(*request, *call)
		want   codes.Code
	}{
		{"without a change", named(""), codes.OK},
		{"name", named(taskPath("aZ0_-")), codes.OK},
		{"longest name", named(taskPath(strings.Repeat("a", 500))), codes.OK},
		{"name too long", named(taskPath(strings.Repeat("a", 501))), codes.InvalidArgument},
		{"name with a dot", named(taskPath("a.b")), codes.InvalidArgument},
		{"name without an id", named(taskPath("")), codes.InvalidArgument},
		{"name of another queue", named(name("other") + "/tasks/a"), codes.InvalidArgument},
		{"unknown queue", func(r *request, _ *call) { r.Parent = name("none") }, codes.NotFound},
		{"invalid queue name", func(r *request, _ *call) { r.Parent = "q" }, codes.InvalidArgument},
		{"no task", func(r *request, _ *call) { r.Task = nil }, codes.InvalidArgument},
		{"no target", func(r *request, _ *call) { r.Task.MessageType = nil }, codes.InvalidArgument},
		{"App Engine target", func(r *request, _ *call) {
			r.Task.MessageType = &cloudtaskspb.Task_AppEngineHttpRequest{
				AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{},
			}
		}, codes.Unimplemented},
		{"no URL", to(""), codes.InvalidArgument},
		{"scheme other than http", to("ftp://127.0.0.1/"), codes.InvalidArgument},
		{"URL without a host", to("http:///x"), codes.InvalidArgument},
		{"address of another machine", to("http://192.0.2.1/"), codes.InvalidArgument},
		{"name of another machine", to("https://example.com/"), codes.InvalidArgument},
		{"localhost", to("http://localhost:9/"), codes.OK},
		{"loopback address of IPv6", to("http://[::1]:9/"), codes.OK},
		{"longest URL", to("http://127.0.0.1/" + strings.Repeat("a", 2083-17)), codes.OK},
		{"URL too long", to("http://127.0.0.1/" + strings.Repeat("a", 2083-16)), codes.InvalidArgument},
		{"GET with a body", withBody(cloudtaskspb.HttpMethod_GET, []byte("x")), codes.InvalidArgument},
		{"GET without a body", withBody(cloudtaskspb.HttpMethod_GET, nil), codes.OK},
		{"unknown method", withBody(99, nil), codes.InvalidArgument},
		{"invalid header name", withHeader("a b", "c"), codes.InvalidArgument},
		{"invalid header value", withHeader("a", "b\r\nc: d"), codes.InvalidArgument},
		{"headers too large", withHeader("a", strings.Repeat("b", 80<<10)), codes.InvalidArgument},
		{"largest body", withBody(cloudtaskspb.HttpMethod_POST, make([]byte, 1<<20-1000)), codes.OK},
		{"body too large", withBody(cloudtaskspb.HttpMethod_POST, make([]byte, 1<<20)), codes.InvalidArgument},
		{"OAuth token", func(_ *request, h *call) {
			h.AuthorizationHeader = &cloudtaskspb.HttpRequest_OauthToken{OauthToken: &cloudtaskspb.OAuthToken{}}
		}, codes.Unimplemented},
		{"ID token without an account", func(_ *request, h *call) {
			h.AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{}}
		}, codes.InvalidArgument},
		{"latest schedule time", dueIn(30*24*time.Hour - time.Minute), codes.OK},
		{"schedule time too late", dueIn(30*24*time.Hour + time.Minute), codes.InvalidArgument},
		{"shortest deadline", withDeadline(15 * time.Second), codes.OK},
		{"deadline too short", withDeadline(15*time.Second - 1), codes.InvalidArgument},
		{"longest deadline", withDeadline(30 * time.Minute), codes.OK},
		{"deadline too long", withDeadline(30*time.Minute + 1), codes.InvalidArgument},
		{"negative number of attempts", func(r *request, _ *call) {
			r.Task.RetryConfig = &cloudtaskspb.RetryConfig{MaxAttempts: -2}
		}, codes.InvalidArgument},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := later("")
			test.change(r, r.GetTask().GetHttpRequest())
			if _, err := client.CreateTask(t.Context(), r); status.Code(err) != test.want {
				t.Errorf("CreateTask returned %v, want %v", err, test.want)
			}
		})
	}
}

func TestOnlyTheFullViewHasTheBody(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	at := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	basic := mustCreate(t, client, (&target{url: "http://127.0.0.1:9"}).taskAt("t", at))
	if basic.GetView() != cloudtaskspb.Task_BASIC || len(basic.GetHttpRequest().GetBody()) > 0 ||
		!basic.GetScheduleTime().AsTime().Equal(at) || basic.GetCreateTime() == nil ||
		basic.GetDispatchDeadline().AsDuration() != 10*time.Minute {
		t.Errorf("CreateTask returned %v, want the basic view of a task that is due at %v", basic, at)
	}
	full, err := client.GetTask(t.Context(), &cloudtaskspb.GetTaskRequest{
		Name: basic.GetName(), ResponseView: cloudtaskspb.Task_FULL,
	})
	if err != nil || full.GetView() != cloudtaskspb.Task_FULL || string(full.GetHttpRequest().GetBody()) != "payload" {
		t.Errorf("GetTask returned %v, %v; want the full view with the body", full, err)
	}
}

func TestGeneratedNamesAreTaskNames(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	seen := map[string]bool{}
	for range 50 {
		task := mustCreate(t, client, later(""))
		if !taskName.MatchString(task.GetName()) || seen[task.GetName()] {
			t.Fatalf("the server generated the name %q, want a valid new one", task.GetName())
		}
		seen[task.GetName()] = true
	}
}

func TestListTasksReturnsPages(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	var want []string
	for i := range 25 {
		want = append(want, mustCreate(t, client, later(fmt.Sprint("t", i))).GetName())
	}
	var got []string
	it := client.ListTasks(t.Context(), &cloudtaskspb.ListTasksRequest{Parent: name("q"), PageSize: 10})
	pages := map[string]bool{}
	for task, err := it.Next(); !errors.Is(err, iterator.Done); task, err = it.Next() {
		if err != nil {
			t.Fatal(err)
		}
		pages[it.PageInfo().Token] = true
		got = append(got, task.GetName())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ListTasks (-want +got):\n%s", diff)
	}
	if len(pages) != 3 {
		t.Errorf("ListTasks returned %d pages, want 3", len(pages))
	}
	for _, r := range []*cloudtaskspb.ListTasksRequest{
		{Parent: name("q"), PageToken: "x"},
		{Parent: name("q"), PageSize: 1001},
	} {
		if _, err := client.ListTasks(t.Context(), r).Next(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("ListTasks of %v returned %v, want InvalidArgument", r, err)
		}
	}
}

func TestNamesAreFreeAfterADay(t *testing.T) {
	now := newClock()
	s := start(t, Options{Now: now.Now}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustCreate(t, client, x.task("executed"))
	x.next(t)
	eventually(t, s, "executed", func(c Counts) bool { return c.Succeeded == 1 })
	mustCreate(t, client, x.taskAt("deleted", now.Now().Add(time.Hour)))
	mustDelete(t, client, "deleted")
	wantTaken := func(want bool) {
		t.Helper()
		for _, id := range []string{"executed", "deleted"} {
			_, err := client.CreateTask(t.Context(), x.taskAt(id, now.Now().Add(time.Hour)))
			if got := status.Code(err) == codes.AlreadyExists; got != want {
				t.Errorf("at %v CreateTask of %s returned %v; want the name taken: %t", now.Now(), id, err, want)
			}
		}
	}
	wantTaken(true)
	now.advance(s, 24*time.Hour-time.Second)
	wantTaken(true)
	now.advance(s, 2*time.Second)
	wantTaken(false)
}

func TestErrorsForMissingTasks(t *testing.T) {
	s := start(t, Options{}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustCreate(t, client, x.task("done"))
	x.next(t)
	eventually(t, s, "executed", func(c Counts) bool { return c.Succeeded == 1 })
	for _, test := range []struct {
		name, id, text string
		code           codes.Code
	}{
		{"executed", "done", "though a task with this name existed recently", codes.NotFound},
		{"never created", "never", "Requested entity was not found", codes.NotFound},
		{"invalid name", "no.name", "must be formatted", codes.InvalidArgument},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, getErr := client.GetTask(t.Context(), &cloudtaskspb.GetTaskRequest{Name: taskPath(test.id)})
			_, runErr := client.RunTask(t.Context(), &cloudtaskspb.RunTaskRequest{Name: taskPath(test.id)})
			deleteErr := client.DeleteTask(t.Context(), &cloudtaskspb.DeleteTaskRequest{Name: taskPath(test.id)})
			for call, err := range map[string]error{"GetTask": getErr, "RunTask": runErr, "DeleteTask": deleteErr} {
				if status.Code(err) != test.code || !strings.Contains(err.Error(), test.text) {
					t.Errorf("%s returned %v, want %v with %q", call, err, test.code, test.text)
				}
			}
		})
	}
}

func TestRunTaskBeginsAnAttemptImmediately(t *testing.T) {
	release := make(chan struct{})
	x := newTarget(t, func(http.ResponseWriter, *http.Request) { <-release })
	s := start(t, Options{}, nil)
	client := dial(t, s.Addr())
	created := mustCreate(t, client, x.taskAt("later", time.Now().Add(time.Hour)))
	task, err := client.RunTask(t.Context(), &cloudtaskspb.RunTaskRequest{Name: created.GetName()})
	if err != nil || task.GetDispatchCount() != 1 || task.GetResponseCount() != 0 ||
		task.GetFirstAttempt().GetDispatchTime() == nil {
		t.Errorf("RunTask returned %v, %v; want a task with one attempt and no response", task, err)
	}
	x.next(t)
	s.core.dispatch()
	if got := s.counts(); got.Attempts != 1 || got.Running != 1 {
		t.Errorf("counts are %+v, want one attempt: the scheduler must not attempt the task too", got)
	}
	close(release)
	eventually(t, s, "executed", func(c Counts) bool { return c.Pending == 0 && c.Succeeded == 1 })
}

// RunTask begins a second attempt of a task. Its success removes the task, and the outcome of the
// first attempt is ignored.
func TestRunTaskDuringAnAttempt(t *testing.T) {
	release := make(chan struct{})
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-CloudTasks-TaskRetryCount") == "0" {
			<-release
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s := start(t, Options{}, nil)
	client := dial(t, s.Addr())
	task := mustCreate(t, client, x.task("t"))
	x.next(t)
	if _, err := client.RunTask(t.Context(), &cloudtaskspb.RunTaskRequest{Name: task.GetName()}); err != nil {
		t.Fatal(err)
	}
	x.next(t).want(t, "t", "1")
	eventually(t, s, "executed", func(c Counts) bool { return c.Succeeded == 1 && c.Pending == 0 && c.Running == 1 })
	close(release)
	eventually(t, s, "idle", func(c Counts) bool { return c.Running == 0 })
	s.core.dispatch()
	if got := s.counts(); got.Attempts != 2 || got.Failed != 0 {
		t.Errorf("counts are %+v, want two attempts and none that failed", got)
	}
}

func TestConcurrentCreatesOfOneName(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	var created, rejected atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := client.CreateTask(t.Context(), later("one"))
			switch status.Code(err) {
			case codes.OK:
				created.Add(1)
			case codes.AlreadyExists:
				rejected.Add(1)
			}
		})
	}
	wg.Wait()
	if created.Load() != 1 || rejected.Load() != 49 {
		t.Errorf("%d calls created the task and %d got AlreadyExists, want 1 and 49", created.Load(), rejected.Load())
	}
}
