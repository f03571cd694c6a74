package cloudtasks

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/casewatch/casewatch/shared/queue"
)

// scripted responds to each call with the next of its errors, and with success after the last one.
type scripted struct {
	cloudtaskspb.UnimplementedCloudTasksServer
	mu      sync.Mutex
	answers []error
	calls   int
	names   []string
	hang    chan struct{} // if it is not nil, calls wait for it
}

func (s *scripted) answer(ctx context.Context, name string) error {
	s.mu.Lock()
	s.calls++
	s.names = append(s.names, name)
	var err error
	if len(s.answers) > 0 {
		err, s.answers = s.answers[0], s.answers[1:]
	}
	hang := s.hang
	s.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (s *scripted) CreateTask(ctx context.Context, r *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	return r.GetTask(), s.answer(ctx, r.GetTask().GetName())
}

func (s *scripted) GetTask(ctx context.Context, r *cloudtaskspb.GetTaskRequest) (*cloudtaskspb.Task, error) {
	return &cloudtaskspb.Task{Name: r.GetName()}, s.answer(ctx, r.GetName())
}

func (s *scripted) DeleteTask(ctx context.Context, r *cloudtaskspb.DeleteTaskRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, s.answer(ctx, r.GetName())
}

func (s *scripted) made() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func serve(t *testing.T, s *scripted) *Queue {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	cloudtaskspb.RegisterCloudTasksServer(server, s)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	cfg := sampleConfig()
	cfg.EmulatorHost = listener.Addr().String()
	q, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	q.backoff = time.Millisecond
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		server.Stop()
		serving.Wait()
	})
	return q
}

var sampleTask = queue.Task{Kind: queue.Check, CaseID: "secret-case", Run: 1, Seq: 1, CreatedAt: time.Unix(1, 0)}

func TestAnswers(t *testing.T) {
	fails := func(all ...codes.Code) (errs []error) {
		for _, c := range all {
			errs = append(errs, status.Error(c, "scripted"))
		}
		return errs
	}
	create := func(q *Queue) (bool, error) { return q.Create(context.Background(), sampleTask) }
	exists := func(q *Queue) (bool, error) { return q.Exists(context.Background(), sampleTask) }
	remove := func(q *Queue) (bool, error) { return false, q.Delete(context.Background(), sampleTask) }
	tests := []struct {
		name    string
		call    func(*Queue) (bool, error)
		answers []error
		want    bool
		code    codes.Code // of the error
		calls   int
	}{
		{"create", create, nil, true, codes.OK, 1},
		{"create a duplicate", create, fails(codes.AlreadyExists), false, codes.OK, 1},
		{"create after a lost response", create, fails(codes.Unavailable, codes.AlreadyExists), false, codes.OK, 2},
		{"create after transient errors", create,
			fails(codes.Internal, codes.Aborted, codes.ResourceExhausted), true, codes.OK, 4},
		{"create after a deadline", create, fails(codes.DeadlineExceeded), true, codes.OK, 2},
		{"create fails every time", create,
			fails(codes.Unavailable, codes.Unavailable, codes.Unavailable, codes.Unavailable), false,
			codes.Unavailable, 4},
		{"create in a missing queue", create, fails(codes.NotFound), false, codes.NotFound, 1},
		{"create without permission", create, fails(codes.PermissionDenied), false, codes.PermissionDenied, 1},
		{"create invalid", create, fails(codes.InvalidArgument), false, codes.InvalidArgument, 1},
		{"create in a deleted queue", create, fails(codes.FailedPrecondition), false, codes.FailedPrecondition, 1},
		{"exists", exists, nil, true, codes.OK, 1},
		{"does not exist", exists, fails(codes.NotFound), false, codes.OK, 1},
		{"exists after an error", exists, fails(codes.Unavailable, codes.NotFound), false, codes.OK, 2},
		{"exists without permission", exists, fails(codes.PermissionDenied), false, codes.PermissionDenied, 1},
		{"delete", remove, nil, false, codes.OK, 1},
		{"delete nothing", remove, fails(codes.NotFound), false, codes.OK, 1},
		{"delete after an error", remove, fails(codes.Unavailable), false, codes.OK, 2},
		{"delete without permission", remove, fails(codes.PermissionDenied), false, codes.PermissionDenied, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := &scripted{answers: test.answers}
			got, err := test.call(serve(t, server))
			if got != test.want || status.Code(err) != test.code {
				t.Errorf("= %t, %v; want %t and the code %v", got, err, test.want, test.code)
			}
			if n := server.made(); n != test.calls {
				t.Errorf("%d calls were made, want %d", n, test.calls)
			}
			for _, name := range server.names {
				if name != sampleConfig().taskName(sampleTask) {
					t.Errorf("a call was for the task %s", name)
				}
			}
			if err != nil &&
				(!strings.Contains(err.Error(), sampleTask.Name()) || strings.Contains(err.Error(), "secret-case")) {
				t.Errorf("the error lacks the task's name or shows its body: %v", err)
			}
		})
	}
}

func TestHangingAttemptIsCancelledAndRetried(t *testing.T) {
	server := &scripted{hang: make(chan struct{})}
	q := serve(t, server)
	q.timeout = 20 * time.Millisecond
	_, err := q.Create(t.Context(), sampleTask)
	if status.Code(err) != codes.DeadlineExceeded || server.made() != maxAttempts {
		t.Errorf("after %d calls: %v, want DeadlineExceeded after %d", server.made(), err, maxAttempts)
	}
}

func TestCallsEndWithTheContext(t *testing.T) {
	t.Run("while waiting for an answer", func(t *testing.T) {
		server := &scripted{hang: make(chan struct{})}
		q := serve(t, server)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := q.Create(ctx, sampleTask); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Create: %v, want the context's error", err)
		}
	})
	t.Run("between two attempts", func(t *testing.T) {
		server := &scripted{answers: []error{status.Error(codes.Unavailable, "scripted")}}
		q := serve(t, server)
		q.backoff = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		err := q.Delete(ctx, sampleTask)
		if !errors.Is(err, context.DeadlineExceeded) || server.made() > 1 {
			t.Errorf("after %d calls: %v, want the context's error after one", server.made(), err)
		}
	})
}

func TestNothingListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := sampleConfig()
	cfg.EmulatorHost = listener.Addr().String()
	_ = listener.Close()
	q, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	q.backoff = time.Millisecond
	if created, err := q.Create(t.Context(), sampleTask); created || status.Code(err) != codes.Unavailable {
		t.Errorf("Create = %t, %v, want Unavailable", created, err)
	}
}
