package taskserver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	apiv2 "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"go.uber.org/goleak"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// childDir is the variable with the directory of a child process. If it is set, this program runs a
// server instead of the tests. The tests kill that process.
const childDir = "TASKSERVER_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func child(dir string) {
	s, err := Open(Options{
		Dir:    dir,
		Queues: []*cloudtaskspb.Queue{fastQueue("q")},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(s.Addr())
	interrupted, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-interrupted.Done()
	_ = s.Close(context.Background())
}

const (
	location = "projects/demo-p/locations/us-central1"
	patience = 20 * time.Second // the limit for each wait; only a failing test takes so long
)

func name(queue string) string { return location + "/queues/" + queue }

// fastQueue returns a queue that repeats failed attempts almost immediately.
func fastQueue(id string) *cloudtaskspb.Queue {
	return &cloudtaskspb.Queue{
		Name:       name(id),
		RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 100000, MaxConcurrentDispatches: 1000},
		RetryConfig: &cloudtaskspb.RetryConfig{
			MaxAttempts: -1,
			MinBackoff:  durationpb.New(time.Millisecond),
			MaxBackoff:  durationpb.New(5 * time.Millisecond),
		},
	}
}

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// advance moves the clock forward and has the scheduler check the queues.
func (c *clock) advance(s *Server, d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	s.core.wakeScheduler()
}

// start opens a server that is closed at the end of the test. If opts has no queues, the server has
// the fast queue "q".
func start(t *testing.T, opts Options, adjust func(*core)) *Server {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	if opts.Queues == nil {
		opts.Queues = []*cloudtaskspb.Queue{fastQueue("q")}
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	if adjust == nil {
		adjust = func(*core) {}
	}
	s, err := open(opts, adjust)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// dial returns Google's client, connected to addr.
func dial(t testing.TB, addr string) *apiv2.Client {
	t.Helper()
	client, err := apiv2.NewClient(context.Background(), option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatalf("NewClient: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// abandon ends s as a crash would: it writes nothing more, and the running attempts have no
// outcome.
func (s *Server) abandon(t *testing.T) {
	t.Helper()
	s.close.Do(func() {
		s.core.mu.Lock()
		s.core.stopping = true
		s.core.mu.Unlock()
		s.closeErr = s.core.journal.abandon()
		close(s.core.stop)
		s.core.scheduler.Wait()
		s.core.abort()
		s.core.attempts.Wait()
		s.core.client.CloseIdleConnections()
		s.grpc.Stop()
		s.serving.Wait()
	})
	if s.closeErr != nil {
		t.Fatalf("abandon: %v", s.closeErr)
	}
}

// delivery is a request that a target received.
type delivery struct {
	header http.Header
	method string
	path   string
	body   string
}

func (d delivery) retries() string { return d.header.Get("X-CloudTasks-TaskRetryCount") }
func (d delivery) task() string    { return d.header.Get("X-CloudTasks-TaskName") }

// want fails the test if the delivery is of another task or has another retry count.
func (d delivery) want(t *testing.T, task, retries string) {
	t.Helper()
	if d.task() != task || d.retries() != retries {
		t.Errorf("delivered %s with retry count %s, want %s with %s", d.task(), d.retries(), task, retries)
	}
}

// wantHeaders compares headers with the wanted ones, by name.
func (d delivery) wantHeaders(t *testing.T, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := d.header.Get(name); got != value {
			t.Errorf("%s is delivered with %s %q, want %q", d.task(), name, got, value)
		}
	}
}

// target is an HTTP server that tasks call.
type target struct {
	url        string
	deliveries chan delivery
}

// newTarget starts a target that records each request and then answers it with answer, or with 200
// if answer is nil.
func newTarget(t *testing.T, answer http.HandlerFunc) *target {
	t.Helper()
	x := &target{deliveries: make(chan delivery, 10000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		x.deliveries <- delivery{r.Header, r.Method, r.URL.Path, string(body)}
		if answer != nil {
			answer(w, r)
		}
	}))
	x.url = server.URL
	t.Cleanup(server.Close)
	return x
}

// next waits for the next delivery.
func (x *target) next(t *testing.T) delivery {
	t.Helper()
	select {
	case d := <-x.deliveries:
		return d
	case <-time.After(patience):
		t.Fatalf("no delivery within %v", patience)
		return delivery{}
	}
}

// task returns a request to create a task in queue "q" that calls x. Without an id the server
// generates one.
func (x *target) task(id string) *cloudtaskspb.CreateTaskRequest {
	task := &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
		Url: x.url + "/work", Body: []byte("payload"),
	}}}
	if id != "" {
		task.Name = taskPath(id)
	}
	return &cloudtaskspb.CreateTaskRequest{Parent: name("q"), Task: task}
}

func (x *target) taskAt(id string, at time.Time) *cloudtaskspb.CreateTaskRequest {
	r := x.task(id)
	r.Task.ScheduleTime = timestamppb.New(at)
	return r
}

// later returns a request to create a task that is due in an hour of real time.
func later(id string) *cloudtaskspb.CreateTaskRequest {
	return (&target{url: "http://127.0.0.1:9"}).taskAt(id, time.Now().Add(time.Hour))
}

func taskPath(id string) string { return name("q") + "/tasks/" + id }

func mustCreate(t *testing.T, client *apiv2.Client, r *cloudtaskspb.CreateTaskRequest) *cloudtaskspb.Task {
	t.Helper()
	task, err := client.CreateTask(t.Context(), r)
	if err != nil {
		t.Fatalf("CreateTask: %v", err)
	}
	return task
}

func mustDelete(t *testing.T, client *apiv2.Client, id string) {
	t.Helper()
	if err := client.DeleteTask(t.Context(), &cloudtaskspb.DeleteTaskRequest{Name: taskPath(id)}); err != nil {
		t.Fatalf("DeleteTask: %v", err)
	}
}

func mustPause(t *testing.T, client *apiv2.Client, queue string) {
	t.Helper()
	if _, err := client.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: name(queue)}); err != nil {
		t.Fatalf("PauseQueue: %v", err)
	}
}

func mustResume(t *testing.T, client *apiv2.Client, queue string) {
	t.Helper()
	if _, err := client.ResumeQueue(t.Context(), &cloudtaskspb.ResumeQueueRequest{Name: name(queue)}); err != nil {
		t.Fatalf("ResumeQueue: %v", err)
	}
}

// counts returns the counts of queue "q".
func (s *Server) counts() Counts { return s.Counts()[name("q")] }

// eventually waits until a condition holds for the counts of queue "q".
func eventually(t *testing.T, s *Server, condition string, holds func(Counts) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(s.counts()); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s within %v: %+v", condition, patience, s.counts())
		}
	}
}

// copyFile copies a file to a directory. It does nothing if the file does not exist.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, filepath.Base(from)), data, 0o600); err != nil {
		t.Fatal(err)
	}
}
