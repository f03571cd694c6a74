// Package cloudtasks is the [queue.Queue] of named tasks of Google Cloud Tasks, over gRPC.
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

// A call is tried at most maxAttempts times, for at most attemptTimeout each. The wait between two
// attempts is firstBackoff at first, doubles each time, and varies randomly by half. Everything
// ends with the caller's context.
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

// New returns a Queue that uses the queues of cfg. They must exist; New does not check that. It
// opens no connection. Calls connect when they need to, and reconnect after a lost connection. ctx
// is used only to find the credentials. The error lists every problem of cfg, or says that there
// are no credentials.
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
	// The client's own retries have no limit but the context, and do not cover CreateTask. The
	// method call retries instead.
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

// Create schedules t. It returns false, nil if Cloud Tasks has a task of this name or had one
// recently. It keeps names for up to 24 hours
// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create).
// It also returns false, nil if an earlier attempt created the task and its response was lost. In
// all these cases the task with the name of t exists or has existed.
//
// Transient errors are retried a few times, for about 15 s at most and within ctx. The error then
// wraps that of the context or of Cloud Tasks. It is not known whether the task exists.
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

// Delete deletes the pending task with the name of t. It is not an error if there is none, because
// it was never created, was delivered or was deleted before. Errors are retried as by Create.
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

// Exists reports whether Cloud Tasks has the task with the name of t: pending, being delivered, or
// waiting for a retry. Errors are retried as by Create.
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

// call runs f until it succeeds, fails permanently, has failed maxAttempts times, or ctx ends.
// Repeating a call is harmless, because tasks are named.
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
