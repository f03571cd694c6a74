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
	pb.ScheduleTime, pb.DispatchCount, pb.ResponseCount, pb.FirstAttempt, pb.LastAttempt, pb.View = nil, 0, 0, nil, nil, 0
	t := &task{pb: pb, at: at.Truncate(time.Microsecond), index: -1}
	hash := hashName(pb.GetName())

	c.mu.Lock()
	q, err := c.find(r.GetParent())
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	if q.tasks[pb.GetName()] != nil || q.taken.has(hash, now) {
		b := c.journal.add() // whoever is told that it exists may rely on it
		c.mu.Unlock()
		if err := c.kept(ctx, b); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.AlreadyExists, "Requested entity already exists")
	}
	c.rows++
	t.row, t.queue = c.rows, q
	q.tasks[pb.GetName()] = t
	q.counts.Created++
	t.wait()
	next := t.index == 0
	out := t.view(r.GetResponseView())
	b := c.journal.add(t.inserted())
	c.mu.Unlock()
	if next {
		c.poke()
	}
	return out, c.kept(ctx, b)
}

// locate returns the task of that name, or the error for an answer. The caller holds c.mu.
func (c *core) locate(name string) (*task, error) {
	m := taskName.FindStringSubmatch(name)
	if m == nil {
		return nil, invalid(`Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>"`)
	}
	q, err := c.find(m[1])
	if err != nil {
		return nil, err
	}
	if t := q.tasks[name]; t != nil {
		return t, nil
	}
	if q.taken.has(hashName(name), c.now()) {
		return nil, status.Error(codes.NotFound, "The task no longer exists, though a task with this name existed recently. "+
			"The task either successfully completed or was deleted.")
	}
	return nil, status.Error(codes.NotFound, "Requested entity was not found.")
}

func (c *core) GetTask(ctx context.Context, r *cloudtaskspb.GetTaskRequest) (*cloudtaskspb.Task, error) {
	c.mu.Lock()
	t, err := c.locate(r.GetName())
	var out *cloudtaskspb.Task
	if err == nil {
		out = t.view(r.GetResponseView())
	}
	b := c.journal.add()
	c.mu.Unlock()
	if lost := c.kept(ctx, b); lost != nil {
		return nil, lost
	}
	return out, err
}

func (c *core) DeleteTask(ctx context.Context, r *cloudtaskspb.DeleteTaskRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	t, err := c.locate(r.GetName())
	var b *batch
	if err == nil {
		t.queue.counts.Deleted++
		b = c.journal.add(c.remove(t, c.now())...)
	} else {
		b = c.journal.add()
	}
	c.mu.Unlock()
	if lost := c.kept(ctx, b); lost != nil {
		return nil, lost
	}
	return &emptypb.Empty{}, err
}

// remove takes a task out of its queue; its name stays taken. An attempt under way goes on, without effect. The caller
// holds c.mu and writes what is returned.
func (c *core) remove(t *task, now time.Time) []op {
	q, hash, until := t.queue, hashName(t.pb.GetName()), now.Add(c.namesTaken)
	t.gone = true
	t.unwait()
	delete(q.tasks, t.pb.GetName())
	q.taken.add(hash, until)
	return []op{
		{deleteTask, []any{t.row}},
		{insertName, []any{q.row, hash[:], until.UnixMicro()}},
	}
}

// RunTask attempts a task now, whatever its schedule, its queue's limits and state, and even if it is being attempted.
func (c *core) RunTask(ctx context.Context, r *cloudtaskspb.RunTaskRequest) (*cloudtaskspb.Task, error) {
	c.mu.Lock()
	t, err := c.locate(r.GetName())
	switch {
	case err != nil:
	case c.stopping:
		err = status.Error(codes.Unavailable, "the task server is closing")
	case c.err != nil:
		err = failed(c.err)
	}
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	t.unwait()
	b := c.begin(t, c.now(), true)
	out := t.view(r.GetResponseView())
	c.mu.Unlock()
	return out, c.kept(ctx, b)
}

func (c *core) ListTasks(ctx context.Context, r *cloudtaskspb.ListTasksRequest) (*cloudtaskspb.ListTasksResponse, error) {
	size, err := pageSize(r.GetPageSize(), maxTasksPage)
	if err != nil {
		return nil, err
	}
	after := int64(0)
	if r.GetPageToken() != "" {
		if after, err = strconv.ParseInt(r.GetPageToken(), 10, 64); err != nil {
			return nil, invalid("page_token is not one of this server.")
		}
	}
	c.mu.Lock()
	q, err := c.find(r.GetParent())
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
	return out, c.kept(ctx, b)
}
