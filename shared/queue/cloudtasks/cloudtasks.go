// Package cloudtasks keeps wake-ups as named tasks of Google Cloud Tasks, over gRPC.
package cloudtasks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	apiv2 "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/queue"
)

// A call is tried at most maxAttempts times, each for at most attemptTimeout, with a wait of
// firstBackoff in between that doubles, give or take a half. All of it ends with the caller's
// context.
const (
	maxAttempts    = 4
	attemptTimeout = 5 * time.Second
	firstBackoff   = 100 * time.Millisecond
)

// Queue is a [queue.Queue] on Cloud Tasks. Its methods are safe for concurrent use.
type Queue struct {
	cfg     Config
	client  *apiv2.Client
	timeout time.Duration
	backoff time.Duration
}

var _ queue.Queue = (*Queue)(nil)

// New returns a Queue on the queues that cfg names; they must exist, which is not checked here. It
// opens no connection: the first call does, and every later one comes back to a connection that was
// lost. ctx is for the credentials' lookup only. The error names every fault of cfg at once, or
// says that there are no credentials.
func New(ctx context.Context, cfg Config) (*Queue, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("cloudtasks: %w", err)
	}
	var opts []option.ClientOption
	if cfg.EmulatorHost != "" {
		opts = append(opts,
			option.WithEndpoint(cfg.EmulatorHost),
			option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	}
	client, err := apiv2.NewClient(context.WithoutCancel(ctx), opts...)
	if err != nil {
		return nil, fmt.Errorf("cloudtasks: opening the client: %w", err)
	}
	// The client's own repeats are bounded by nothing but the context, and leave CreateTask out:
	// ours are in call.
	client.CallOptions.CreateTask = nil
	client.CallOptions.DeleteTask = nil
	client.CallOptions.GetTask = nil
	return &Queue{cfg: cfg, client: client, timeout: attemptTimeout, backoff: firstBackoff}, nil
}

// Close releases the connection. No other method may be called after or during it.
func (q *Queue) Close() error {
	if err := q.client.Close(); err != nil {
		return fmt.Errorf("cloudtasks: closing the client: %w", err)
	}
	return nil
}

// Create schedules t. It returns false, nil if Cloud Tasks has a task of its name or had one in the
// last hours (it keeps names up to 24 hours,
// https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create).
// The same comes back when an attempt whose answer was lost had created it: the task is there, and
// whoever created it, it is the one asked for.
//
// A failure that may pass is tried again a few times, within a quarter of a minute or so and within
// ctx. The error then wraps the context's or that of Cloud Tasks; it is not known whether the task
// exists.
func (q *Queue) Create(ctx context.Context, t queue.Task) (bool, error) {
	request := createRequest(q.cfg, t)
	err := q.call(ctx, func(ctx context.Context) error {
		_, err := q.client.CreateTask(ctx, request)
		return err
	})
	switch {
	case err == nil:
		return true, nil
	case status.Code(err) == codes.AlreadyExists:
		return false, nil
	default:
		return false, fmt.Errorf("cloudtasks: create %s: %w", request.GetTask().GetName(), err)
	}
}

// Delete deletes the pending task of t's name. It is no error if there is none: never created,
// delivered or deleted already. It is tried again like Create.
func (q *Queue) Delete(ctx context.Context, t queue.Task) error {
	name := q.cfg.taskName(t)
	err := q.call(ctx, func(ctx context.Context) error {
		return q.client.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: name})
	})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("cloudtasks: delete %s: %w", name, err)
	}
	return nil
}

// Exists reports whether Cloud Tasks has the task of t's name: pending, being delivered, or waiting
// to be delivered again. It is tried again like Create.
func (q *Queue) Exists(ctx context.Context, t queue.Task) (bool, error) {
	name := q.cfg.taskName(t)
	err := q.call(ctx, func(ctx context.Context) error {
		_, err := q.client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: name, ResponseView: cloudtaskspb.Task_BASIC})
		return err
	})
	switch {
	case err == nil:
		return true, nil
	case status.Code(err) == codes.NotFound:
		return false, nil
	default:
		return false, fmt.Errorf("cloudtasks: get %s: %w", name, err)
	}
}

// call runs f until it succeeds, fails for good, has failed maxAttempts times, or ctx ends. Every
// call here may be repeated: tasks are named.
func (q *Queue) call(ctx context.Context, f func(context.Context) error) error {
	wait := q.backoff
	for attempt := 1; ; attempt++ {
		err := q.attempt(ctx, f)
		if err == nil || ctx.Err() == nil && !transient(status.Code(err)) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w (attempt %d: %v)", ctx.Err(), attempt, err)
		}
		if attempt == maxAttempts {
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		if ctxtime.Sleep(ctx, wait/2+rand.N(wait)) != nil {
			return fmt.Errorf("%w (attempt %d: %v)", ctx.Err(), attempt, err)
		}
		wait *= 2
	}
}

func (q *Queue) attempt(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	return f(ctx)
}

// transient reports whether the same call may succeed a moment later.
func transient(c codes.Code) bool {
	switch c {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Aborted, codes.ResourceExhausted:
		return true
	}
	return false
}
