package taskserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"sync"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Options configure a server. Only Dir is required.
type Options struct {
	// Dir is the directory of tasks.db. It is created if it does not exist. Only one server at a
	// time can use it.
	Dir string

	// Addr is the loopback address to listen on. Empty means a free port of 127.0.0.1.
	Addr string

	// Queues are created before anything is delivered. If a queue exists, it gets the given rate
	// limits and retry configuration, but stays paused if it was paused. Unlike over gRPC, rates
	// and concurrency may exceed Google's limits, and max_burst_size is used.
	Queues []*cloudtaskspb.Queue

	// Logger gets failed attempts, dropped tasks and errors of the journal. It is slog.Default() if
	// nil.
	Logger *slog.Logger

	// Signer returns the ID token for a task with an oidc_token. If Signer fails, the attempt
	// fails. Without a Signer, such tasks are sent without an Authorization header.
	Signer func(ctx context.Context, serviceAccount, audience string) (string, error)

	// Now is the clock for schedule times, taken names and rates. It is time.Now if nil. Deadlines
	// of attempts always use real time.
	Now func() time.Time

	// AnyTarget allows tasks whose targets are on other machines.
	AnyTarget bool

	// NamesTaken is the time for which the name of an executed or deleted task stays taken. It is
	// 24 hours if zero.
	NamesTaken time.Duration
}

// Counts count the tasks and attempts of a queue. All but Pending and Running count since the
// server was opened.
type Counts struct {
	Pending   int   // current tasks, including those with a running attempt
	Running   int   // running attempts
	Created   int64 // tasks created
	Attempts  int64 // attempts begun
	Succeeded int64 // tasks that ended with a 2xx
	Failed    int64 // attempts that failed
	Dropped   int64 // tasks dropped because their retries were exhausted or they were 31 days old
	Deleted   int64 // tasks deleted or purged
}

// Server is a Cloud Tasks server. Its methods are safe for concurrent use.
type Server struct {
	core     *core
	grpc     *grpc.Server
	listener net.Listener
	serving  sync.WaitGroup
	close    sync.Once
	closeErr error
}

// Open starts a server with the queues and tasks in opts.Dir. A task whose attempt was interrupted
// by the end of the last server is delivered again. Open fails if the address is not on loopback or
// is in use, if Dir cannot be used or another server uses it, or if a queue is invalid.
func Open(opts Options) (*Server, error) { return open(opts, func(*core) {}) }

// open is Open for tests: adjust can change the core before anything is dispatched.
func open(opts Options, adjust func(*core)) (*Server, error) {
	if opts.Dir == "" {
		return nil, errors.New("taskserver: Dir is missing")
	}
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if !loopbackAddr(opts.Addr) {
		return nil, fmt.Errorf("taskserver: %s is not a loopback address", opts.Addr)
	}
	c, err := openCore(opts)
	if err != nil {
		return nil, fmt.Errorf("taskserver: %w", err)
	}
	listener, err := net.Listen("tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("taskserver: %w", errors.Join(err, c.journal.close()))
	}
	s := &Server{core: c, listener: listener, grpc: grpc.NewServer(grpc.UnaryInterceptor(rejectUnsupported))}
	cloudtaskspb.RegisterCloudTasksServer(s.grpc, c)
	adjust(c)
	c.start()
	s.serving.Go(func() {
		if err := s.grpc.Serve(listener); err != nil {
			c.log.Error("task server stopped serving", "error", err)
		}
	})
	return s, nil
}

// unsupported are the methods of the real service that this server does not implement.
var unsupported = map[string]bool{
	"GetIamPolicy":       true,
	"SetIamPolicy":       true,
	"TestIamPermissions": true,
	"BatchCreateTasks":   true,
	"BatchDeleteTasks":   true,
	"UpdateCmekConfig":   true,
	"GetCmekConfig":      true,
}

// rejectUnsupported answers unsupported methods with an error that names the method.
func rejectUnsupported(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	if method := path.Base(info.FullMethod); unsupported[method] {
		return nil, unimplemented(method)
	}
	return handler(ctx, req)
}

// Addr returns the server's host:port, which is the value for CLOUD_TASKS_EMULATOR_HOST.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Counts returns the counts of each queue, by the queue's full name.
func (s *Server) Counts() map[string]Counts {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	all := make(map[string]Counts, len(s.core.queues))
	for name, q := range s.core.queues {
		counts := q.counts
		counts.Pending, counts.Running = len(q.tasks), q.running
		all[name] = counts
	}
	return all
}

// Err returns the error with which the journal failed, or nil. After such an error the server
// neither delivers nor accepts tasks.
func (s *Server) Err() error {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	return s.core.err
}

// Close stops dispatching, waits for the running attempts, and then closes the server. While it
// waits, the server still answers, so that the targets of running attempts can create and delete
// tasks. When ctx ends, Close aborts the attempts, and the next server delivers their tasks again.
// Close returns an error of the journal, and the error of ctx if attempts were aborted. Further
// calls return the same error.
func (s *Server) Close(ctx context.Context) error {
	s.close.Do(func() {
		aborted := s.core.drain(ctx)
		stopped := make(chan struct{})
		go func() {
			s.grpc.GracefulStop()
			close(stopped)
		}()
		grace, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		select {
		case <-stopped:
		case <-grace.Done():
			s.grpc.Stop()
			<-stopped
		}
		s.serving.Wait()
		s.closeErr = errors.Join(s.core.journal.close(), aborted)
	})
	return s.closeErr
}

// journalError returns the gRPC status for an error of the journal or of the call's context.
func journalError(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	return status.Errorf(codes.Internal, "the task server cannot write its journal: %v", err)
}
