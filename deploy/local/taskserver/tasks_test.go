package taskserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestCreateTaskChecks(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	type request = cloudtaskspb.CreateTaskRequest
	type call = cloudtaskspb.HttpRequest
	named := func(name string) func(*request, *call) { return func(r *request, _ *call) { r.Task.Name = name } }
	to := func(url string) func(*request, *call) { return func(_ *request, h *call) { h.Url = url } }
	within := func(d time.Duration) func(*request, *call) {
		return func(r *request, _ *call) { r.Task.DispatchDeadline = durationpb.New(d) }
	}
	due := func(d time.Duration) func(*request, *call) {
		return func(r *request, _ *call) { r.Task.ScheduleTime = timestamppb.New(time.Now().Add(d)) }
	}
	header := func(name, value string) func(*request, *call) {
		return func(_ *request, h *call) { h.Headers = map[string]string{name: value} }
	}
	tests := []struct {
		name   string
		change func(*request, *call)
		want   codes.Code
	}{
		{"as it is", named(""), codes.OK},
		{"name", named(name("q") + "/tasks/aZ0_-"), codes.OK},
		{"longest name", named(name("q") + "/tasks/" + strings.Repeat("a", 500)), codes.OK},
		{"name too long", named(name("q") + "/tasks/" + strings.Repeat("a", 501)), codes.InvalidArgument},
		{"name with a dot", named(name("q") + "/tasks/a.b"), codes.InvalidArgument},
		{"empty id", named(name("q") + "/tasks/"), codes.InvalidArgument},
		{"name of another queue", named(name("other") + "/tasks/a"), codes.InvalidArgument},
		{"no such queue", func(r *request, _ *call) { r.Parent = name("none") }, codes.NotFound},
		{"no queue", func(r *request, _ *call) { r.Parent = "q" }, codes.InvalidArgument},
		{"no task", func(r *request, _ *call) { r.Task = nil }, codes.InvalidArgument},
		{"no target", func(r *request, _ *call) { r.Task.MessageType = nil }, codes.InvalidArgument},
		{"App Engine", func(r *request, _ *call) {
			r.Task.MessageType = &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{}}
		}, codes.Unimplemented},
		{"no URL", to(""), codes.InvalidArgument},
		{"other scheme", to("ftp://127.0.0.1/"), codes.InvalidArgument},
		{"no host", to("http:///x"), codes.InvalidArgument},
		{"another machine", to("http://192.0.2.1/"), codes.InvalidArgument},
		{"another machine by name", to("https://example.com/"), codes.InvalidArgument},
		{"this machine by name", to("http://localhost:9/"), codes.OK},
		{"this machine, IPv6", to("http://[::1]:9/"), codes.OK},
		{"longest URL", to("http://127.0.0.1/" + strings.Repeat("a", 2083-17)), codes.OK},
		{"URL too long", to("http://127.0.0.1/" + strings.Repeat("a", 2083-16)), codes.InvalidArgument},
		{"GET with a body", func(_ *request, h *call) { h.HttpMethod = cloudtaskspb.HttpMethod_GET }, codes.InvalidArgument},
		{"GET", func(_ *request, h *call) { h.HttpMethod, h.Body = cloudtaskspb.HttpMethod_GET, nil }, codes.OK},
		{"unknown method", func(_ *request, h *call) { h.HttpMethod = 99 }, codes.InvalidArgument},
		{"header name", header("a b", "c"), codes.InvalidArgument},
		{"header value", header("a", "b\r\nc: d"), codes.InvalidArgument},
		{"headers too large", header("a", strings.Repeat("b", 80<<10)), codes.InvalidArgument},
		{"large body", func(_ *request, h *call) { h.Body = make([]byte, 1<<20-1000) }, codes.OK},
		{"too large", func(_ *request, h *call) { h.Body = make([]byte, 1<<20) }, codes.InvalidArgument},
		{"OAuth", func(_ *request, h *call) {
			h.AuthorizationHeader = &cloudtaskspb.HttpRequest_OauthToken{OauthToken: &cloudtaskspb.OAuthToken{}}
		}, codes.Unimplemented},
		{"token of nobody", func(_ *request, h *call) {
			h.AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{}}
		}, codes.InvalidArgument},
		{"almost too late", due(30*24*time.Hour - time.Minute), codes.OK},
		{"too late", due(30*24*time.Hour + time.Minute), codes.InvalidArgument},
		{"shortest deadline", within(15 * time.Second), codes.OK},
		{"deadline too short", within(15*time.Second - 1), codes.InvalidArgument},
		{"longest deadline", within(30 * time.Minute), codes.OK},
		{"deadline too long", within(30*time.Minute + 1), codes.InvalidArgument},
		{"retries", func(r *request, _ *call) { r.Task.RetryConfig = &cloudtaskspb.RetryConfig{MaxAttempts: -2} }, codes.InvalidArgument},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := (&target{url: "http://127.0.0.1:9"}).taskAt("", time.Now().Add(time.Hour))
			test.change(r, r.GetTask().GetHttpRequest())
			if _, err := client.CreateTask(t.Context(), r); status.Code(err) != test.want {
				t.Errorf("CreateTask: %v, want %v", err, test.want)
			}
		})
	}
}

func TestTaskViews(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	at := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	created := mustCreate(t, client, (&target{url: "http://127.0.0.1:9"}).taskAt("t", at))
	if created.GetView() != cloudtaskspb.Task_BASIC || len(created.GetHttpRequest().GetBody()) > 0 || !created.GetScheduleTime().AsTime().Equal(at) ||
		created.GetDispatchDeadline().AsDuration() != 10*time.Minute || created.GetCreateTime() == nil {
		t.Errorf("CreateTask = %v", created)
	}
	full, err := client.GetTask(t.Context(), &cloudtaskspb.GetTaskRequest{Name: created.GetName(), ResponseView: cloudtaskspb.Task_FULL})
	if err != nil || string(full.GetHttpRequest().GetBody()) != "payload" || full.GetView() != cloudtaskspb.Task_FULL {
		t.Errorf("GetTask = %v, %v", full, err)
	}
}

func TestGeneratedNamesAreTaskNames(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	seen := map[string]bool{}
	for range 50 {
		task := mustCreate(t, client, (&target{url: "http://127.0.0.1:9"}).taskAt("", time.Now().Add(time.Hour)))
		if !taskName.MatchString(task.GetName()) || seen[task.GetName()] {
			t.Fatalf("generated the name %q", task.GetName())
		}
		seen[task.GetName()] = true
	}
}

func TestListTasksPages(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	var want []string
	for i := range 25 {
		want = append(want, mustCreate(t, client, (&target{url: "http://127.0.0.1:9"}).taskAt(fmt.Sprint("t", i), time.Now().Add(time.Hour))).GetName())
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
	if !slices.Equal(got, want) {
		t.Errorf("ListTasks = %v, want %v", got, want)
	}
	if len(pages) != 3 {
		t.Errorf("%d pages, want 3", len(pages))
	}
	for what, r := range map[string]*cloudtaskspb.ListTasksRequest{
		"page_token": {Parent: name("q"), PageToken: "x"}, "page_size": {Parent: name("q"), PageSize: 1001},
	} {
		if _, err := client.ListTasks(t.Context(), r).Next(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("with a wrong %s: %v, want InvalidArgument", what, err)
		}
	}
}

func TestNamesBecomeFreeAfterADay(t *testing.T) {
	now := newClock()
	s := start(t, Options{Now: now.Now}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustCreate(t, client, x.task("executed"))
	x.next(t)
	eventually(t, s, "executed", func(c Counts) bool { return c.Succeeded == 1 })
	mustCreate(t, client, x.taskAt("deleted", now.Now().Add(time.Hour)))
	if err := client.DeleteTask(t.Context(), &cloudtaskspb.DeleteTaskRequest{Name: name("q") + "/tasks/deleted"}); err != nil {
		t.Fatal(err)
	}
	taken := func(want bool) {
		t.Helper()
		for _, id := range []string{"executed", "deleted"} {
			_, err := client.CreateTask(t.Context(), x.taskAt(id, now.Now().Add(time.Hour)))
			if got := status.Code(err) == codes.AlreadyExists; got != want {
				t.Errorf("after %v: creating %s: %v", now.Now(), id, err)
			}
		}
	}
	taken(true)
	now.advance(s, 24*time.Hour-time.Second)
	taken(true)
	now.advance(s, 2*time.Second)
	taken(false)
}

func TestErrorsOfTasksThatAreNotThere(t *testing.T) {
	s := start(t, Options{}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustCreate(t, client, x.task("done"))
	x.next(t)
	eventually(t, s, "executed", func(c Counts) bool { return c.Succeeded == 1 })
	for _, test := range []struct {
		id, text string
		code     codes.Code
	}{
		{"done", "though a task with this name existed recently", codes.NotFound},
		{"never", "Requested entity was not found", codes.NotFound},
		{"no.name", "must be formatted", codes.InvalidArgument},
	} {
		full := name("q") + "/tasks/" + test.id
		_, get := client.GetTask(t.Context(), &cloudtaskspb.GetTaskRequest{Name: full})
		_, run := client.RunTask(t.Context(), &cloudtaskspb.RunTaskRequest{Name: full})
		for call, err := range map[string]error{"Get": get, "Run": run, "Delete": client.DeleteTask(t.Context(), &cloudtaskspb.DeleteTaskRequest{Name: full})} {
			if status.Code(err) != test.code || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%sTask %s: %v", call, test.id, err)
			}
		}
	}
}

func TestRunTask(t *testing.T) {
	release := make(chan struct{})
	x := newTarget(t, func(http.ResponseWriter, *http.Request) { <-release })
	s := start(t, Options{}, nil)
	client := dial(t, s.Addr())
	created := mustCreate(t, client, x.taskAt("later", time.Now().Add(time.Hour)))
	task, err := client.RunTask(t.Context(), &cloudtaskspb.RunTaskRequest{Name: created.GetName()})
	if err != nil || task.GetDispatchCount() != 1 || task.GetResponseCount() != 0 || task.GetFirstAttempt().GetDispatchTime() == nil {
		t.Errorf("RunTask = %v, %v", task, err)
	}
	x.next(t)
	s.core.dispatch()
	if got := s.Counts()[name("q")]; got.Attempts != 1 || got.Running != 1 {
		t.Errorf("the scheduler attempts it as well: %+v", got)
	}
	close(release)
	eventually(t, s, "gone", func(c Counts) bool { return c.Pending == 0 && c.Succeeded == 1 })
}

// RunTask attempts even what is being attempted. The first success ends the task; what the other says then is nothing.
func TestRunTaskThatIsRunning(t *testing.T) {
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
	if g := x.next(t); g.retries() != "1" {
		t.Errorf("the forced delivery is retry %s", g.retries())
	}
	eventually(t, s, "executed", func(c Counts) bool { return c.Succeeded == 1 && c.Pending == 0 && c.Running == 1 })
	close(release)
	eventually(t, s, "idle", func(c Counts) bool { return c.Running == 0 })
	s.core.dispatch()
	if got := s.Counts()[name("q")]; got.Attempts != 2 || got.Failed != 0 {
		t.Errorf("the executed task went on: %+v", got)
	}
}

func TestManyCreatesOfOneName(t *testing.T) {
	client := dial(t, start(t, Options{}, nil).Addr())
	var created, refused atomic.Int64
	var wg sync.WaitGroup
	at := time.Now().Add(time.Hour)
	for range 50 {
		wg.Go(func() {
			_, err := client.CreateTask(t.Context(), (&target{url: "http://127.0.0.1:9"}).taskAt("one", at))
			switch status.Code(err) {
			case codes.OK:
				created.Add(1)
			case codes.AlreadyExists:
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if created.Load() != 1 || refused.Load() != 49 {
		t.Errorf("%d created, %d were told that it exists; want 1 and 49", created.Load(), refused.Load())
	}
}
