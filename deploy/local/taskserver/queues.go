package taskserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// ensureQueue creates or configures a queue of Options.Queues. It runs before the server is
// started.
func (c *core) ensureQueue(given *cloudtaskspb.Queue) error {
	pb := complete(given, true)
	if err := checkQueue(pb, false); err != nil {
		return fmt.Errorf("queue %q: %w", given.GetName(), err)
	}
	q := c.queues[pb.GetName()]
	if q == nil {
		q = c.addQueue(pb)
	} else {
		pb.State, pb.PurgeTime = q.pb.GetState(), q.pb.GetPurgeTime()
		q.configure(pb)
	}
	return c.journal.add(q.saveOp()).wait(c.ctx)
}

// addQueue adds a queue in memory. The caller holds c.mu and writes the queue to the journal.
func (c *core) addQueue(pb *cloudtaskspb.Queue) *queue {
	c.rows++
	q := newQueue(c.rows, pb)
	c.queues[pb.GetName()] = q
	return q
}

// findQueue returns the queue with a name, or a gRPC status for the answer. The caller holds c.mu.
func (c *core) findQueue(name string) (*queue, error) {
	if q := c.queues[name]; q != nil {
		return q, nil
	}
	if err := checkQueueName(name); err != nil {
		return nil, err
	}
	return nil, status.Error(codes.NotFound, "Queue does not exist. "+
		"If you just created the queue, wait at least a minute for the queue to initialize.")
}

// CreateQueue creates a queue. A name can be used again immediately after its queue was deleted.
func (c *core) CreateQueue(ctx context.Context, r *cloudtaskspb.CreateQueueRequest) (*cloudtaskspb.Queue, error) {
	if r.GetQueue() == nil || !locationName.MatchString(r.GetParent()) ||
		!strings.HasPrefix(r.GetQueue().GetName(), r.GetParent()+"/queues/") {
		return nil, invalid("The queue is missing, or its name does not begin with the parent.")
	}
	pb := complete(r.GetQueue(), false)
	if err := checkQueue(pb, true); err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.queues[pb.GetName()] != nil {
		b := c.journal.add()
		c.mu.Unlock()
		if err := c.committed(ctx, b); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.AlreadyExists, "Queue already exists")
	}
	b := c.journal.add(c.addQueue(pb).saveOp())
	c.mu.Unlock()
	return pb, c.committed(ctx, b)
}

// GetQueue returns a queue.
func (c *core) GetQueue(ctx context.Context, r *cloudtaskspb.GetQueueRequest) (*cloudtaskspb.Queue, error) {
	return c.changeQueue(ctx, r.GetName(), func(*queue, *cloudtaskspb.Queue) ([]op, error) { return nil, nil })
}

// PauseQueue stops a queue from delivering tasks. Running attempts continue.
func (c *core) PauseQueue(ctx context.Context, r *cloudtaskspb.PauseQueueRequest) (*cloudtaskspb.Queue, error) {
	return c.changeQueue(ctx, r.GetName(), func(_ *queue, pb *cloudtaskspb.Queue) ([]op, error) {
		pb.State = cloudtaskspb.Queue_PAUSED
		return nil, nil
	})
}

// ResumeQueue has a paused queue deliver tasks again.
func (c *core) ResumeQueue(ctx context.Context, r *cloudtaskspb.ResumeQueueRequest) (*cloudtaskspb.Queue, error) {
	return c.changeQueue(ctx, r.GetName(), func(_ *queue, pb *cloudtaskspb.Queue) ([]op, error) {
		pb.State = cloudtaskspb.Queue_RUNNING
		return nil, nil
	})
}

// PurgeQueue deletes all tasks of a queue. Their names stay taken.
func (c *core) PurgeQueue(ctx context.Context, r *cloudtaskspb.PurgeQueueRequest) (*cloudtaskspb.Queue, error) {
	return c.changeQueue(ctx, r.GetName(), func(q *queue, pb *cloudtaskspb.Queue) ([]op, error) {
		now := c.now()
		pb.PurgeTime = timestamppb.New(now.Truncate(time.Microsecond))
		var ops []op
		for _, t := range q.tasks {
			q.counts.Deleted++
			ops = append(ops, c.remove(t, now)...)
		}
		return ops, nil
	})
}

// UpdateQueue changes the fields of a queue that the mask names, or all fields without a mask. It
// creates the queue if it does not exist.
func (c *core) UpdateQueue(ctx context.Context, r *cloudtaskspb.UpdateQueueRequest) (*cloudtaskspb.Queue, error) {
	given := r.GetQueue()
	if given == nil {
		return nil, invalid("Queue is required.")
	}
	c.mu.Lock()
	missing := c.queues[given.GetName()] == nil
	c.mu.Unlock()
	if missing {
		location, _, _ := strings.Cut(given.GetName(), "/queues/")
		q, err := c.CreateQueue(ctx, &cloudtaskspb.CreateQueueRequest{Parent: location, Queue: given})
		if status.Code(err) != codes.AlreadyExists {
			return q, err
		}
		// Another call has created the queue meanwhile, so this call updates it.
	}
	return c.changeQueue(ctx, given.GetName(), func(q *queue, pb *cloudtaskspb.Queue) ([]op, error) {
		paths := r.GetUpdateMask().GetPaths()
		if len(paths) == 0 {
			paths = []string{
				"rate_limits", "retry_config", "stackdriver_logging_config", "http_target",
				"app_engine_routing_override",
			}
		}
		for _, path := range paths {
			if path == "name" || path == "state" || path == "purge_time" || path == "rate_limits.max_burst_size" {
				continue // output only
			}
			if err := copyField(pb.ProtoReflect(), given.ProtoReflect(), strings.Split(path, ".")); err != nil {
				return nil, err
			}
		}
		// A queue of Options.Queues may have limits above Google's. An update that does not change
		// them keeps them.
		sameRate := proto.Equal(pb.GetRateLimits(), q.pb.GetRateLimits())
		completed := complete(pb, sameRate)
		completed.State, completed.PurgeTime = pb.GetState(), pb.GetPurgeTime()
		proto.Reset(pb)
		proto.Merge(pb, completed)
		return nil, checkQueue(pb, !sameRate)
	})
}

// changeQueue calls change with a queue and a copy of its configuration. It writes the copy if
// change modified it, together with the ops that change returned.
func (c *core) changeQueue(
	ctx context.Context, name string, change func(*queue, *cloudtaskspb.Queue) ([]op, error),
) (*cloudtaskspb.Queue, error) {
	c.mu.Lock()
	q, err := c.findQueue(name)
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	pb := proto.CloneOf(q.pb)
	ops, err := change(q, pb)
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	if !proto.Equal(pb, q.pb) {
		q.configure(pb)
		ops = append(ops, q.saveOp())
	}
	b := c.journal.add(ops...)
	c.mu.Unlock()
	c.wakeScheduler()
	return pb, c.committed(ctx, b)
}

// DeleteQueue deletes a queue and its tasks. Running attempts continue, but have no effect.
func (c *core) DeleteQueue(ctx context.Context, r *cloudtaskspb.DeleteQueueRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	q, err := c.findQueue(r.GetName())
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	for _, t := range q.tasks {
		t.removed = true
	}
	delete(c.queues, r.GetName())
	row := []any{q.row}
	b := c.journal.add(op{deleteQueueTasks, row}, op{deleteQueueNames, row}, op{deleteQueue, row})
	c.mu.Unlock()
	return &emptypb.Empty{}, c.committed(ctx, b)
}

// ListQueues returns a page of the queues of a location, ordered by name.
func (c *core) ListQueues(
	ctx context.Context, r *cloudtaskspb.ListQueuesRequest,
) (*cloudtaskspb.ListQueuesResponse, error) {
	if r.GetFilter() != "" {
		return nil, unimplemented("filter of ListQueues")
	}
	size, err := pageSize(r.GetPageSize(), maxQueuesPage)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	out := &cloudtaskspb.ListQueuesResponse{}
	for _, name := range slices.Sorted(maps.Keys(c.queues)) {
		if !strings.HasPrefix(name, r.GetParent()+"/queues/") || name <= r.GetPageToken() {
			continue
		}
		if len(out.Queues) == size {
			out.NextPageToken = out.Queues[size-1].GetName()
			break
		}
		out.Queues = append(out.Queues, c.queues[name].pb)
	}
	b := c.journal.add()
	c.mu.Unlock()
	return out, c.committed(ctx, b)
}

// pageSize returns the size of a page for the requested size. 0 requests the maximum.
func pageSize(requested int32, maximum int) (int, error) {
	if requested < 0 || int(requested) > maximum {
		return 0, invalid("page_size must be between 0 and %d.", maximum)
	}
	if requested == 0 {
		return maximum, nil
	}
	return int(requested), nil
}
