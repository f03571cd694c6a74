package taskserver

import (
	"container/heap"
	"crypto/sha256"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// queue is a queue with its tasks. core.mu protects all its fields.
type queue struct {
	row     int64
	pb      *cloudtaskspb.Queue // replaced, but never modified
	tasks   map[string]*task    // by full name
	taken   names               // of tasks that were executed or deleted
	due     taskHeap            // the tasks without a running attempt
	running int                 // running attempts, including those of deleted tasks
	limiter *rate.Limiter
	counts  Counts
}

func newQueue(row int64, pb *cloudtaskspb.Queue) *queue {
	q := &queue{row: row, tasks: map[string]*task{}, taken: names{}}
	q.configure(pb)
	return q
}

// configure replaces the configuration of q. If the rate or burst changes, the token bucket starts
// full. Otherwise it is kept.
func (q *queue) configure(pb *cloudtaskspb.Queue) {
	limits := pb.GetRateLimits()
	limit, burst := rate.Limit(limits.GetMaxDispatchesPerSecond()), int(limits.GetMaxBurstSize())
	if q.limiter == nil || q.limiter.Limit() != limit || q.limiter.Burst() != burst {
		q.limiter = rate.NewLimiter(limit, burst)
	}
	q.pb = pb
}

func (q *queue) saveOp() op {
	return op{saveQueue, []any{q.row, mustMarshal(q.pb)}}
}

// task is a task of a queue. row, queue and pb never change. core.mu protects the other fields.
type task struct {
	row   int64
	queue *queue
	pb    *cloudtaskspb.Task // as created

	at         time.Time             // when the next attempt is due
	dispatched int32                 // attempts that have begun
	responded  int32                 // attempts that got a response
	executed   int32                 // attempts that got a response other than 5xx
	previous   int                   // HTTP status of the last response; 0 before the first
	first      time.Time             // when the first attempt began
	last       *cloudtaskspb.Attempt // replaced, but never modified

	running int  // running attempts; RunTask can cause more than one
	removed bool // executed, deleted or dropped
	index   int  // position in queue.due, or -1
}

func (t *task) insertOp() op {
	return op{insertTask, []any{t.row, t.queue.row, mustMarshal(t.pb), t.at.UnixMicro()}}
}

func (t *task) updateOp() op {
	var last []byte
	if t.last != nil {
		last = mustMarshal(t.last)
	}
	return op{updateTask, []any{
		t.at.UnixMicro(), t.dispatched, t.responded, t.executed, t.previous, micros(t.first), last, t.row,
	}}
}

// view returns the task for an answer. Only the full view contains the body.
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
			Url:                 r.GetUrl(),
			HttpMethod:          r.GetHttpMethod(),
			Headers:             r.GetHeaders(),
			AuthorizationHeader: r.GetAuthorizationHeader(),
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

// retry returns the retry configuration of t. Fields that t does not set have the values of the
// queue.
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

// taskHeap orders tasks by the time when they are due, and then by the order of their creation.
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

// enqueue adds t to the tasks that wait for an attempt.
func (t *task) enqueue() { heap.Push(&t.queue.due, t) }

// dequeue removes t from the tasks that wait for an attempt. It does nothing if t is not among
// them.
func (t *task) dequeue() {
	if t.index >= 0 {
		heap.Remove(&t.queue.due, t.index)
	}
}

// nameHash identifies a task's full name. 16 bytes make a collision of millions of names unlikely.
type nameHash [16]byte

func hashName(name string) nameHash {
	sum := sha256.Sum256([]byte(name))
	return nameHash(sum[:])
}

// names are the names that are still taken although their tasks were removed. For each hour there
// is a map from name to the time in that hour when the name is free, in microseconds since 1970. To
// forget old names, whole maps are dropped.
type names map[int64]map[nameHash]int64

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// add marks a name as taken until the given time.
func (n names) add(h nameHash, until time.Time) {
	hour := n[hourOf(until)]
	if hour == nil {
		hour = map[nameHash]int64{}
		n[hourOf(until)] = hour
	}
	hour[h] = until.UnixMicro()
}

// has reports whether a name is taken at the given time.
func (n names) has(h nameHash, now time.Time) bool {
	for hour, taken := range n {
		if hour < hourOf(now) {
			continue
		}
		if until, ok := taken[h]; ok && until > now.UnixMicro() {
			return true
		}
	}
	return false
}

// forget drops the names that became free before the current hour.
func (n names) forget(now time.Time) {
	for hour := range n {
		if hour < hourOf(now) {
			delete(n, hour)
		}
	}
}

func mustMarshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err) // impossible: it fails only for text that is not UTF-8, which gRPC and Open reject
	}
	return b
}

// micros returns t in microseconds since 1970, or 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros is the inverse of micros.
func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}
