package taskserver

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// CreateTask creates a task. It fails with AlreadyExists if the name is taken.
func (c *core) CreateTask(ctx context.Context, r *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	now := c.now()
	pb := r.GetTask()
	if err := c.checkTask(r.GetParent(), pb, now); err != nil {
		return nil, err
	}
	if pb.GetName() == "" {
		pb.Name = r.GetParent() + "/tasks/" + strconv.FormatUint(rand.Uint64(), 10)
	}
	at := now
	if s := pb.GetScheduleTime(); s != nil && s.AsTime().After(now) {
		at = s.AsTime()
	}
	pb.CreateTime = timestamppb.New(now)
	pb.ScheduleTime = nil // kept in task.at
	pb.DispatchCount, pb.ResponseCount = 0, 0
	pb.FirstAttempt, pb.LastAttempt = nil, nil
	pb.View = cloudtaskspb.Task_VIEW_UNSPECIFIED
	t := &task{pb: pb, at: at.Truncate(time.Microsecond), index: -1}
	hash := hashName(pb.GetName())

	c.mu.Lock()
	q, err := c.findQueue(r.GetParent())
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	if q.tasks[pb.GetName()] != nil || q.taken.has(hash, now) {
		b := c.journal.add() // the caller may rely on the existing task, so it must be written first
		c.mu.Unlock()
		if err := c.committed(ctx, b); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.AlreadyExists, "Requested entity already exists")
	}
	c.rows++
	t.row, t.queue = c.rows, q
	q.tasks[pb.GetName()] = t
	q.counts.Created++
	t.enqueue()
	isNext := t.index == 0
	out := t.view(r.GetResponseView())
	b := c.journal.add(t.insertOp())
	c.mu.Unlock()
	if isNext {
		c.wakeScheduler()
	}
	return out, c.committed(ctx, b)
}

// findTask returns the task with a name, or a gRPC status for the answer. The caller holds c.mu.
func (c *core) findTask(name string) (*task, error) {
	m := taskName.FindStringSubmatch(name)
	if m == nil {
		return nil, errTaskName
	}
	q, err := c.findQueue(m[1])
	if err != nil {
		return nil, err
	}
	if t := q.tasks[name]; t != nil {
		return t, nil
	}
	if q.taken.has(hashName(name), c.now()) {
		return nil, status.Error(codes.NotFound, "The task no longer exists, "+
			"though a task with this name existed recently. The task either successfully completed or was deleted.")
	}
	return nil, status.Error(codes.NotFound, "Requested entity was not found.")
}

// GetTask returns a task.
func (c *core) GetTask(ctx context.Context, r *cloudtaskspb.GetTaskRequest) (*cloudtaskspb.Task, error) {
	c.mu.Lock()
	t, err := c.findTask(r.GetName())
	var out *cloudtaskspb.Task
	if err == nil {
		out = t.view(r.GetResponseView())
	}
	b := c.journal.add()
	c.mu.Unlock()
	if writeErr := c.committed(ctx, b); writeErr != nil {
		return nil, writeErr
	}
	return out, err
}

// DeleteTask deletes a task. A running attempt continues, but has no effect.
func (c *core) DeleteTask(ctx context.Context, r *cloudtaskspb.DeleteTaskRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	t, err := c.findTask(r.GetName())
	var b *batch
	if err == nil {
		t.queue.counts.Deleted++
		b = c.journal.add(c.remove(t, c.now())...)
	} else {
		b = c.journal.add()
	}
	c.mu.Unlock()
	if writeErr := c.committed(ctx, b); writeErr != nil {
		return nil, writeErr
	}
	return &emptypb.Empty{}, err
}

// remove removes a task from its queue. Its name stays taken. A running attempt continues, but has
// no effect. The caller holds c.mu and writes the ops that remove returns.
func (c *core) remove(t *task, now time.Time) []op {
	q, hash, until := t.queue, hashName(t.pb.GetName()), now.Add(c.namesTaken)
	t.removed = true
	t.dequeue()
	delete(q.tasks, t.pb.GetName())
	q.taken.add(hash, until)
	return []op{
		{deleteTask, []any{t.row}},
		{insertName, []any{q.row, hash[:], until.UnixMicro()}},
	}
}

// RunTask begins an attempt immediately. It ignores the schedule time of the task, the limits and
// the state of its queue, and running attempts of the task.
func (c *core) RunTask(ctx context.Context, r *cloudtaskspb.RunTaskRequest) (*cloudtaskspb.Task, error) {
	c.mu.Lock()
	t, err := c.findTask(r.GetName())
	switch {
	case err != nil:
	case c.stopping:
		err = status.Error(codes.Unavailable, "the task server is closing")
	case c.err != nil:
		err = journalError(c.err)
	}
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	t.dequeue()
	b := c.beginAttempt(t, c.now(), true)
	out := t.view(r.GetResponseView())
	c.mu.Unlock()
	return out, c.committed(ctx, b)
}

// ListTasks returns a page of the tasks of a queue, ordered by their creation.
func (c *core) ListTasks(
	ctx context.Context, r *cloudtaskspb.ListTasksRequest,
) (*cloudtaskspb.ListTasksResponse, error) {
	size, err := pageSize(r.GetPageSize(), maxTasksPage)
	if err != nil {
		return nil, err
	}
	after := int64(0)
	if r.GetPageToken() != "" {
		if after, err = strconv.ParseInt(r.GetPageToken(), 10, 64); err != nil {
			return nil, invalid("page_token is not a token of this server.")
		}
	}
	c.mu.Lock()
	q, err := c.findQueue(r.GetParent())
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	var found []*task
	for _, t := range q.tasks {
		if t.row > after {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b *task) int { return cmp.Compare(a.row, b.row) })
	out := &cloudtaskspb.ListTasksResponse{}
	if len(found) > size {
		found = found[:size]
		out.NextPageToken = strconv.FormatInt(found[size-1].row, 10)
	}
	for _, t := range found {
		out.Tasks = append(out.Tasks, t.view(r.GetResponseView()))
	}
	b := c.journal.add()
	c.mu.Unlock()
	return out, c.committed(ctx, b)
}
