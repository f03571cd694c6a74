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

// ensure makes the queue of opts.Queues, before the server serves.
func (c *core) ensure(given *cloudtaskspb.Queue) error {
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
	return c.journal.add(q.saved()).wait(c.ctx)
}

// addQueue adds a queue to those in memory. The caller holds c.mu and saves it.
func (c *core) addQueue(pb *cloudtaskspb.Queue) *queue {
	c.rows++
	q := newQueue(c.rows, pb)
	c.queues[pb.GetName()] = q
	return q
}

// find returns the queue of that name, or the error for an answer. The caller holds c.mu.
func (c *core) find(name string) (*queue, error) {
	if q := c.queues[name]; q != nil {
		return q, nil
	}
	if err := checkQueueName(name); err != nil {
		return nil, err
	}
	return nil, status.Error(codes.NotFound, "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize.")
}

func (c *core) CreateQueue(ctx context.Context, r *cloudtaskspb.CreateQueueRequest) (*cloudtaskspb.Queue, error) {
	if r.GetQueue() == nil || !locationName.MatchString(r.GetParent()) || !strings.HasPrefix(r.GetQueue().GetName(), r.GetParent()+"/queues/") {
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
		if err := c.kept(ctx, b); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.AlreadyExists, "Queue already exists")
	}
	b := c.journal.add(c.addQueue(pb).saved())
	c.mu.Unlock()
	return pb, c.kept(ctx, b)
}

func (c *core) GetQueue(ctx context.Context, r *cloudtaskspb.GetQueueRequest) (*cloudtaskspb.Queue, error) {
	return c.changeQueue(ctx, r.GetName(), func(*queue, *cloudtaskspb.Queue) ([]op, error) { return nil, nil })
}

func (c *core) PauseQueue(ctx context.Context, r *cloudtaskspb.PauseQueueRequest) (*cloudtaskspb.Queue, error) {
	return c.changeQueue(ctx, r.GetName(), func(_ *queue, pb *cloudtaskspb.Queue) ([]op, error) {
		pb.State = cloudtaskspb.Queue_PAUSED
		return nil, nil
	})
}

func (c *core) ResumeQueue(ctx context.Context, r *cloudtaskspb.ResumeQueueRequest) (*cloudtaskspb.Queue, error) {
	return c.changeQueue(ctx, r.GetName(), func(_ *queue, pb *cloudtaskspb.Queue) ([]op, error) {
		pb.State = cloudtaskspb.Queue_RUNNING
		return nil, nil
	})
}

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

// UpdateQueue creates the queue if it does not exist.
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
		if status.Code(err) != codes.AlreadyExists { // somebody was faster: update theirs
			return q, err
		}
	}
	return c.changeQueue(ctx, given.GetName(), func(q *queue, pb *cloudtaskspb.Queue) ([]op, error) {
		paths := r.GetUpdateMask().GetPaths()
		if len(paths) == 0 {
			paths = []string{"rate_limits", "retry_config", "stackdriver_logging_config", "http_target", "app_engine_routing_override"}
		}
		for _, path := range paths {
			if path == "name" || path == "state" || path == "purge_time" || path == "rate_limits.max_burst_size" {
				continue // output only: ignored
			}
			if err := copyField(pb.ProtoReflect(), given.ProtoReflect(), strings.Split(path, ".")); err != nil {
				return nil, err
			}
		}
		// A queue given at Open may be faster than is allowed here, and stay so.
		sameRate := proto.Equal(pb.GetRateLimits(), q.pb.GetRateLimits())
		completed := complete(pb, sameRate)
		completed.State, completed.PurgeTime = pb.GetState(), pb.GetPurgeTime()
		proto.Reset(pb)
		proto.Merge(pb, completed)
		return nil, checkQueue(pb, !sameRate)
	})
}

// changeQueue has change work on a copy of a queue, and keeps the copy if it differs. What change returns is written with it.
func (c *core) changeQueue(ctx context.Context, name string, change func(*queue, *cloudtaskspb.Queue) ([]op, error)) (*cloudtaskspb.Queue, error) {
	c.mu.Lock()
	q, err := c.find(name)
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
		ops = append(ops, q.saved())
	}
	b := c.journal.add(ops...)
	c.mu.Unlock()
	c.poke()
	return pb, c.kept(ctx, b)
}

func (c *core) DeleteQueue(ctx context.Context, r *cloudtaskspb.DeleteQueueRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	q, err := c.find(r.GetName())
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	for _, t := range q.tasks {
		t.gone = true
	}
	delete(c.queues, r.GetName())
	row := []any{q.row}
	b := c.journal.add(op{deleteQueueTasks, row}, op{deleteQueueNames, row}, op{deleteQueue, row})
	c.mu.Unlock()
	return &emptypb.Empty{}, c.kept(ctx, b)
}

func (c *core) ListQueues(ctx context.Context, r *cloudtaskspb.ListQueuesRequest) (*cloudtaskspb.ListQueuesResponse, error) {
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
	return out, c.kept(ctx, b)
}

func pageSize(asked int32, most int) (int, error) {
	if asked < 0 || int(asked) > most {
		return 0, invalid("page_size must be between 0 and %d.", most)
	}
	if asked == 0 {
		return most, nil
	}
	return int(asked), nil
}
