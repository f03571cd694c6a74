package taskserver

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestOpenRefuses(t *testing.T) {
	used := t.TempDir()
	start(t, Options{Dir: used}, nil)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		opts Options
		want string
	}{
		"no directory":            {Options{}, "Dir is missing"},
		"all interfaces":          {Options{Dir: t.TempDir(), Addr: "0.0.0.0:0"}, "not a loopback address"},
		"no host":                 {Options{Dir: t.TempDir(), Addr: ":0"}, "not a loopback address"},
		"another machine":         {Options{Dir: t.TempDir(), Addr: "192.0.2.1:0"}, "not a loopback address"},
		"a directory in use":      {Options{Dir: used}, "another process is using it"},
		"a file as directory":     {Options{Dir: file}, "not a directory"},
		"a queue that is invalid": {Options{Dir: t.TempDir(), Queues: []*cloudtaskspb.Queue{{Name: "q"}}}, "Queue name must be formatted"},
	} {
		s, err := Open(test.opts)
		if err == nil {
			_ = s.Close(context.Background())
			t.Errorf("%s: Open accepted it", what)
		} else if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", what, err, test.want)
		}
	}
}

func TestCloseWaitsForWhatIsRunning(t *testing.T) {
	release := make(chan struct{})
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) { <-release })
	s := start(t, Options{}, nil)
	client := dial(t, s.Addr())
	mustCreate(t, client, x.task("t"))
	x.next(t)
	closed := make(chan error, 1)
	go func() { closed <- s.Close(context.Background()) }()
	// What is running can still create and delete.
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s.core.mu.Lock()
		stopping := s.core.stopping
		s.core.mu.Unlock()
		if stopping {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("Close does not stop dispatching")
		}
	}
	mustCreate(t, client, x.taskAt("next", time.Now().Add(time.Hour)))
	select {
	case err := <-closed:
		t.Fatalf("Close returned %v while an attempt was under way", err)
	default:
	}
	close(release)
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if got := s.Counts()[name("q")]; got.Succeeded != 1 || got.Pending != 1 {
		t.Errorf("after Close: %+v", got)
	}
}

func TestCloseCutsWhatDoesNotEnd(t *testing.T) {
	dir := t.TempDir()
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-CloudTasks-TaskRetryCount") == "0" {
			<-r.Context().Done()
		}
	})
	s, err := open(Options{Dir: dir, Queues: []*cloudtaskspb.Queue{fastQueue("q")}}, func(*core) {})
	if err != nil {
		t.Fatal(err)
	}
	mustCreate(t, dial(t, s.Addr()), x.task("t"))
	x.next(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v, want the context's error", err)
	}
	start(t, Options{Dir: dir}, nil)
	if g := x.next(t); g.task() != "t" || g.retries() != "1" {
		t.Errorf("the next server delivered %s, retry %s", g.task(), g.retries())
	}
}

func TestJournalFaultStopsTheServer(t *testing.T) {
	s := start(t, Options{}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustCreate(t, client, x.taskAt("before", time.Now().Add(time.Hour)))
	// A statement that cannot work, as a full disk would make it.
	if err := s.core.journal.add(op{insertTask, []any{1, nil, nil, nil}}).wait(t.Context()); err == nil {
		t.Fatal("the journal took nonsense")
	}
	_, err := client.CreateTask(t.Context(), x.task("after"))
	if status.Code(err) != codes.Internal || s.Err() == nil {
		t.Errorf("CreateTask: %v, Err: %v; want Internal and the fault", err, s.Err())
	}
	// An attempt may have begun before the fault was seen, but it cannot be written down, so it is not sent.
	eventually(t, s, "idle", func(c Counts) bool { return c.Running == 0 })
	began := s.Counts()[name("q")].Attempts
	s.core.dispatch()
	if got := s.Counts()[name("q")].Attempts; got != began || len(x.requests) > 0 {
		t.Errorf("after the journal failed: %d attempts, then %d; %d deliveries", began, got, len(x.requests))
	}
}
