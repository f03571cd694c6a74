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

func TestOpenRejectsInvalidOptions(t *testing.T) {
	used := t.TempDir()
	start(t, Options{Dir: used}, nil)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		opts Options
		want string
	}{
		{"no directory", Options{}, "Dir is missing"},
		{"all interfaces", Options{Dir: t.TempDir(), Addr: "0.0.0.0:0"}, "not a loopback address"},
		{"no host", Options{Dir: t.TempDir(), Addr: ":0"}, "not a loopback address"},
		{"another machine", Options{Dir: t.TempDir(), Addr: "192.0.2.1:0"}, "not a loopback address"},
		{"directory in use", Options{Dir: used}, "another process is using it"},
		{"file as directory", Options{Dir: file}, "not a directory"},
		{
			"invalid queue",
			Options{Dir: t.TempDir(), Queues: []*cloudtaskspb.Queue{{Name: "q"}}},
			"Queue name must be formatted",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := Open(test.opts)
			if err == nil {
				_ = s.Close(context.Background())
				t.Fatalf("Open succeeded, want an error with %q", test.want)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("Open returned %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestCloseWaitsForRunningAttempts(t *testing.T) {
	release := make(chan struct{})
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) { <-release })
	s := start(t, Options{}, nil)
	client := dial(t, s.Addr())
	mustCreate(t, client, x.task("t"))
	x.next(t)
	closed := make(chan error, 1)
	go func() { closed <- s.Close(context.Background()) }()
	// While Close waits, tasks can be created and deleted.
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
		t.Fatalf("Close returned %v before the attempt ended", err)
	default:
	}
	close(release)
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if got := s.counts(); got.Succeeded != 1 || got.Pending != 1 {
		t.Errorf("after Close the counts are %+v, want one task that succeeded and one pending", got)
	}
}

func TestCloseAbortsAttemptsWhenItsContextEnds(t *testing.T) {
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
		t.Errorf("Close returned %v, want the error of its context", err)
	}
	start(t, Options{Dir: dir}, nil)
	x.next(t).want(t, "t", "1")
}

func TestJournalErrorStopsTheServer(t *testing.T) {
	s := start(t, Options{}, nil)
	client, x := dial(t, s.Addr()), newTarget(t, nil)
	mustCreate(t, client, x.taskAt("before", time.Now().Add(time.Hour)))
	// An invalid statement fails, as any statement does when the disk is full.
	if err := s.core.journal.add(op{insertTask, []any{1, nil, nil, nil}}).wait(t.Context()); err == nil {
		t.Fatal("the journal accepted an invalid statement")
	}
	_, err := client.CreateTask(t.Context(), x.task("after"))
	if status.Code(err) != codes.Internal || s.Err() == nil {
		t.Errorf("CreateTask returned %v and Err %v, want Internal and the journal's error", err, s.Err())
	}
	// An attempt may have begun before the error was seen. It is not sent, because it could not be
	// written.
	eventually(t, s, "idle", func(c Counts) bool { return c.Running == 0 })
	began := s.counts().Attempts
	s.core.dispatch()
	if got := s.counts().Attempts; got != began || len(x.deliveries) > 0 {
		t.Errorf("after the error there are %d attempts and %d deliveries, want %d and none",
			got, len(x.deliveries), began)
	}
}
