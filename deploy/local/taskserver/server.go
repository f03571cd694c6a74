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

// Options say how a server is to run.
type Options struct {
	// Dir is where tasks.db is kept; it is created if need be. One server at a time may use it.
	Dir string
	// Addr is the loopback address to listen on. "" means 127.0.0.1 and a free port.
	Addr string
	// Queues are made, or brought to the given rate limits and retry configuration, before anything is delivered. Whether an existing queue is paused
	// stays as it was. Unlike over gRPC, rates and concurrency may be above Google's limits, and max_burst_size counts.
	Queues []*cloudtaskspb.Queue
	// Logger is told of failed attempts, of tasks that are given up and of the journal's faults. Nil: slog.Default.
	Logger *slog.Logger
	// Signer returns the ID token for a task with an oidc_token. Nil: such tasks carry no Authorization header. When it fails, the attempt has failed.
	Signer func(ctx context.Context, serviceAccount, audience string) (string, error)
	// Now is the clock by which tasks are due, names become free and rates are counted; nil: time.Now. Deadlines of attempts go by real time.
	Now func() time.Time
	// AnyTarget allows tasks to call other machines.
	AnyTarget bool
	// NamesTaken is how long the name of a task that was executed or deleted stays taken. Zero: 24 hours.
	NamesTaken time.Duration
}

// Counts tell what happened to the tasks of a queue since the server was opened.
type Counts struct {
	Pending   int   // tasks there now, those being attempted included
	Running   int   // attempts under way now
	Created   int64 // tasks created
	Attempts  int64 // attempts begun
	Succeeded int64 // tasks that ended with a 2xx
	Failed    int64 // attempts that failed
	Dropped   int64 // tasks given up: their retries were exhausted, or they were 31 days old
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

// Open starts a server, with the queues and tasks that are in opts.Dir: what was being attempted when the last one ended is
// delivered again. It fails if the address is not on loopback or is taken, if Dir cannot be used or another server uses it, or
// if a queue is not valid.
func Open(opts Options) (*Server, error) { return open(opts, func(*core) {}) }

// open is Open with a word in before anything is dispatched.
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
	s := &Server{core: c, listener: listener, grpc: grpc.NewServer(grpc.UnaryInterceptor(nameMissing))}
	cloudtaskspb.RegisterCloudTasksServer(s.grpc, c)
	adjust(c)
	c.start()
	s.serving.Go(func() {
		if err := s.grpc.Serve(listener); err != nil {
			c.log.Error("the task server stopped serving", "error", err)
		}
	})
	return s, nil
}

// missing are the methods that the service has and this server does not.
var missing = map[string]bool{
	"GetIamPolicy": true, "SetIamPolicy": true, "TestIamPermissions": true,
	"BatchCreateTasks": true, "BatchDeleteTasks": true, "UpdateCmekConfig": true, "GetCmekConfig": true,
}

// nameMissing has the methods that are not there say so, with their names.
func nameMissing(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if method := path.Base(info.FullMethod); missing[method] {
		return nil, unimplemented(method)
	}
	return handler(ctx, req)
}

// Addr returns the host and port on which s listens, for CLOUD_TASKS_EMULATOR_HOST.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Counts returns what happened in each queue, by its full name.
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

// Err returns why nothing is delivered or accepted any more: a fault of the journal. Nil: all is well.
func (s *Server) Err() error {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	return s.core.err
}

// Close stops dispatching, waits until the attempts under way have ended or ctx ends, then stops serving and releases everything.
// While it waits the server still answers, so that what is running can create and delete tasks. Attempts that are cut by the end of ctx are
// delivered again by the next server. The error is that of the journal, or the context's if attempts were cut. Further calls return the same.
func (s *Server) Close(ctx context.Context) error {
	s.close.Do(func() {
		cut := s.core.drain(ctx)
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
		s.closeErr = errors.Join(s.core.journal.close(), cut)
	})
	return s.closeErr
}

// failed is what every call gets once the journal has failed.
func failed(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	return status.Errorf(codes.Internal, "the task server cannot keep this: %v", err)
}
