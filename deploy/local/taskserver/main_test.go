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

// childDir makes this program a server on the named directory instead of a test, so that it can be killed.
const childDir = "TASKSERVER_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func child(dir string) {
	s, err := Open(Options{Dir: dir, Queues: []*cloudtaskspb.Queue{fastQueue("q")}, Logger: slog.New(slog.DiscardHandler)})
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
	patience = 20 * time.Second // for what must happen; only failures take it
)

func name(queue string) string { return location + "/queues/" + queue }

// fastQueue returns a queue that repeats at once.
func fastQueue(id string) *cloudtaskspb.Queue {
	return &cloudtaskspb.Queue{
		Name:       name(id),
		RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 100000, MaxConcurrentDispatches: 1000},
		RetryConfig: &cloudtaskspb.RetryConfig{
			MaxAttempts: -1, MinBackoff: durationpb.New(time.Millisecond), MaxBackoff: durationpb.New(5 * time.Millisecond),
		},
	}
}

// clock is one that a test moves.
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

// advance moves the clock and has the server look at it.
func (c *clock) advance(s *Server, d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	s.core.poke()
}

// start opens a server that ends with the test, with a queue "q" that repeats at once unless queues are given.
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

// abandon ends s as the death of its process would: nothing more is written, no attempt is finished.
func (s *Server) abandon(t *testing.T) {
	t.Helper()
	s.close.Do(func() {
		s.core.mu.Lock()
		s.core.stopping = true
		s.core.mu.Unlock()
		s.closeErr = s.core.journal.abandon()
		close(s.core.stop)
		s.core.scheduler.Wait()
		s.core.cut()
		s.core.attempts.Wait()
		s.core.client.CloseIdleConnections()
		s.grpc.Stop()
		s.serving.Wait()
	})
	if s.closeErr != nil {
		t.Fatalf("abandon: %v", s.closeErr)
	}
}

// got is a request that a target received.
type got struct {
	header http.Header
	method string
	path   string
	body   string
	at     time.Time
}

func (g got) retries() string { return g.header.Get("X-CloudTasks-TaskRetryCount") }
func (g got) task() string    { return g.header.Get("X-CloudTasks-TaskName") }

// target is an HTTP server that tasks call.
type target struct {
	url      string
	requests chan got
}

// newTarget starts a target that hands each request to requests and then to answer; nil answers 200.
func newTarget(t *testing.T, answer http.HandlerFunc) *target {
	t.Helper()
	x := &target{requests: make(chan got, 10000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		x.requests <- got{r.Header, r.Method, r.URL.Path, string(body), time.Now()}
		if answer != nil {
			answer(w, r)
		}
	}))
	x.url = server.URL
	t.Cleanup(server.Close)
	return x
}

func (x *target) next(t *testing.T) got {
	t.Helper()
	select {
	case g := <-x.requests:
		return g
	case <-time.After(patience):
		t.Fatalf("no delivery within %v", patience)
		return got{}
	}
}

// task returns a request for a task of queue "q" that calls x; id may be "".
func (x *target) task(id string) *cloudtaskspb.CreateTaskRequest {
	task := &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
		Url: x.url + "/work", Body: []byte("payload"),
	}}}
	if id != "" {
		task.Name = name("q") + "/tasks/" + id
	}
	return &cloudtaskspb.CreateTaskRequest{Parent: name("q"), Task: task}
}

func (x *target) taskAt(id string, at time.Time) *cloudtaskspb.CreateTaskRequest {
	r := x.task(id)
	r.Task.ScheduleTime = timestamppb.New(at)
	return r
}

func mustCreate(t *testing.T, client *apiv2.Client, r *cloudtaskspb.CreateTaskRequest) *cloudtaskspb.Task {
	t.Helper()
	task, err := client.CreateTask(t.Context(), r)
	if err != nil {
		t.Fatalf("CreateTask: %v", err)
	}
	return task
}

// eventually waits until the counts of queue "q" are as they should be.
func eventually(t *testing.T, s *Server, want string, is func(Counts) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(s.Counts()[name("q")]); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s within %v: %+v", want, patience, s.Counts()[name("q")])
		}
	}
}

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
