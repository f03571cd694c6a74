package taskserver

import (
	"container/heap"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// queue is a queue with its tasks. All of it belongs to core.mu.
type queue struct {
	row     int64
	pb      *cloudtaskspb.Queue // never changed, only replaced
	tasks   map[string]*task    // by full name
	taken   names
	due     taskHeap // the tasks that are not being attempted
	running int      // attempts under way, those of deleted tasks included
	limiter *rate.Limiter
	counts  Counts
}

func newQueue(row int64, pb *cloudtaskspb.Queue) *queue {
	q := &queue{row: row, tasks: map[string]*task{}, taken: names{}}
	q.configure(pb)
	return q
}

// configure gives q another configuration. The bucket of a changed rate begins full, that of an unchanged one goes on.
func (q *queue) configure(pb *cloudtaskspb.Queue) {
	limits := pb.GetRateLimits()
	limit, burst := rate.Limit(limits.GetMaxDispatchesPerSecond()), int(limits.GetMaxBurstSize())
	if q.limiter == nil || q.limiter.Limit() != limit || q.limiter.Burst() != burst {
		q.limiter = rate.NewLimiter(limit, burst)
	}
	q.pb = pb
}

func (q *queue) saved() op {
	return op{saveQueue, []any{q.row, mustMarshal(q.pb)}}
}

// task is a task of a queue. All of it belongs to core.mu, but row, queue and pb, which never change.
type task struct {
	row   int64
	queue *queue
	pb    *cloudtaskspb.Task // as created

	at         time.Time
	dispatched int32 // attempts sent, or about to be
	responded  int32 // attempts that got a response
	executed   int32 // of these, those that were not 5xx
	previous   int   // the HTTP status of the last response; 0: none yet
	first      time.Time
	last       *cloudtaskspb.Attempt // never changed, only replaced

	running int  // attempts under way; more than one only by RunTask
	gone    bool // executed, deleted or given up
	index   int  // in queue.due; -1: not there
}

func (t *task) inserted() op {
	return op{insertTask, []any{t.row, t.queue.row, mustMarshal(t.pb), t.at.UnixMicro()}}
}

func (t *task) updated() op {
	var last []byte
	if t.last != nil {
		last = mustMarshal(t.last)
	}
	return op{updateTask, []any{t.at.UnixMicro(), t.dispatched, t.responded, t.executed, t.previous, micros(t.first), last, t.row}}
}

// view returns the task as an answer: with its body if all of it is asked for.
func (t *task) view(v cloudtaskspb.Task_View) *cloudtaskspb.Task {
	out := &cloudtaskspb.Task{
		Name:             t.pb.GetName(),
		MessageType:      t.pb.GetMessageType(),
		ScheduleTime:     timestamppb.New(t.at),
		CreateTime:       timestamppb.New(t.pb.GetCreateTime().AsTime().Truncate(time.Second)),
		DispatchDeadline: durationpb.New(t.deadline()),
		DispatchCount:    t.dispatched,
		ResponseCount:    t.responded,
		LastAttempt:      t.last,
		View:             cloudtaskspb.Task_FULL,
		RetryConfig:      t.pb.GetRetryConfig(),
	}
	if !t.first.IsZero() {
		out.FirstAttempt = &cloudtaskspb.Attempt{DispatchTime: timestamppb.New(t.first)}
	}
	if v != cloudtaskspb.Task_FULL {
		out.View = cloudtaskspb.Task_BASIC
		r := t.pb.GetHttpRequest()
		out.MessageType = &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
			Url: r.GetUrl(), HttpMethod: r.GetHttpMethod(), Headers: r.GetHeaders(), AuthorizationHeader: r.GetAuthorizationHeader(),
		}}
	}
	return out
}

func (t *task) deadline() time.Duration {
	if d := t.pb.GetDispatchDeadline(); d != nil {
		return d.AsDuration()
	}
	return defaultDeadline
}

// retry returns the retry configuration that holds for t: its own, completed by its queue's.
func (t *task) retry() *cloudtaskspb.RetryConfig {
	own := t.pb.GetRetryConfig()
	if own == nil {
		return t.queue.pb.GetRetryConfig()
	}
	c := proto.CloneOf(t.queue.pb.GetRetryConfig())
	if own.MaxAttempts != 0 {
		c.MaxAttempts = own.MaxAttempts
	}
	if own.MaxDoublings != 0 {
		c.MaxDoublings = own.MaxDoublings
	}
	if own.MaxRetryDuration != nil {
		c.MaxRetryDuration = own.MaxRetryDuration
	}
	if own.MinBackoff.AsDuration() > 0 {
		c.MinBackoff = own.MinBackoff
	}
	if own.MaxBackoff.AsDuration() > 0 {
		c.MaxBackoff = own.MaxBackoff
	}
	return c
}

// taskHeap orders tasks by when they are due, and those due together by when they were created.
type taskHeap []*task

func (h taskHeap) Len() int { return len(h) }
func (h taskHeap) Less(i, j int) bool {
	if d := h[i].at.Compare(h[j].at); d != 0 {
		return d < 0
	}
	return h[i].row < h[j].row
}
func (h taskHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *taskHeap) Push(x any) {
	t := x.(*task)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *taskHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}

// wait puts t among the tasks that are due some time; unwait takes it away from there.
func (t *task) wait() { heap.Push(&t.queue.due, t) }
func (t *task) unwait() {
	if t.index >= 0 {
		heap.Remove(&t.queue.due, t.index)
	}
}

func mustMarshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err) // text that is not UTF-8: what came over gRPC or from Open was checked
	}
	return b
}

// micros returns t in microseconds since 1970; 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}
