package taskserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/proto"
)

// core is the state of a server and what changes it. What is in memory is the truth while it runs; the journal follows, in the same
// order, and nobody is told of a change before it is written.
type core struct {
	cloudtaskspb.UnimplementedCloudTasksServer

	log        *slog.Logger
	now        func() time.Time
	signer     func(ctx context.Context, serviceAccount, audience string) (string, error)
	anyTarget  bool
	namesTaken time.Duration
	client     *http.Client
	journal    *journal
	timeout    func(time.Duration) time.Duration // of an attempt, from its deadline; tests shorten it

	wake      chan struct{} // look at the queues again
	ctx       context.Context
	cut       context.CancelFunc // ends attempts
	scheduler sync.WaitGroup
	stop      chan struct{} // ends the scheduler

	attempts sync.WaitGroup

	mu       sync.Mutex
	queues   map[string]*queue // by full name
	rows     int64             // the last row number given
	stopping bool              // begin nothing
	err      error             // of the journal
	tidied   time.Time         // when names and tasks were last checked for their age
}

func openCore(opts Options) (*core, error) {
	c := &core{
		log: opts.Logger, now: opts.Now, signer: opts.Signer, anyTarget: opts.AnyTarget, namesTaken: opts.NamesTaken,
		timeout: func(d time.Duration) time.Duration { return d },
		wake:    make(chan struct{}, 1), stop: make(chan struct{}), queues: map[string]*queue{},
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.namesTaken == 0 {
		c.namesTaken = 24 * time.Hour
	}
	c.client = newClient(c.anyTarget)
	c.ctx, c.cut = context.WithCancel(context.Background())

	var err error
	if c.journal, err = openJournal(opts.Dir); err != nil {
		return nil, err
	}
	err = c.load()
	for _, q := range opts.Queues {
		err = errors.Join(err, c.ensure(q))
	}
	if err != nil {
		return nil, errors.Join(err, c.journal.close())
	}
	return c, nil
}

// load reads what the journal holds. It runs before the writer has anything to write.
func (c *core) load() error {
	ctx := context.Background()
	byRow := map[int64]*queue{}
	rows, err := c.journal.conn.QueryContext(ctx, `SELECT id, queue FROM queues`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var row int64
		var data []byte
		if err := rows.Scan(&row, &data); err != nil {
			return err
		}
		pb := &cloudtaskspb.Queue{}
		if err := proto.Unmarshal(data, pb); err != nil {
			return fmt.Errorf("queue %d: %w", row, err)
		}
		byRow[row] = newQueue(row, pb)
		c.queues[pb.GetName()] = byRow[row]
		c.rows = max(c.rows, row)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := c.loadTasks(ctx, byRow); err != nil {
		return err
	}
	return c.loadNames(ctx, byRow)
}

func (c *core) loadTasks(ctx context.Context, byRow map[int64]*queue) error {
	rows, err := c.journal.conn.QueryContext(ctx, `SELECT id, queue, task, at, dispatched, responded, executed, previous, first, last FROM tasks`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		t := &task{pb: &cloudtaskspb.Task{}, index: -1}
		var queueRow, at, first int64
		var data, last []byte
		if err := rows.Scan(&t.row, &queueRow, &data, &at, &t.dispatched, &t.responded, &t.executed, &t.previous, &first, &last); err != nil {
			return err
		}
		if t.queue = byRow[queueRow]; t.queue == nil {
			return fmt.Errorf("task %d is of a queue that is not there", t.row)
		}
		if err := proto.Unmarshal(data, t.pb); err != nil {
			return fmt.Errorf("task %d: %w", t.row, err)
		}
		if last != nil {
			t.last = &cloudtaskspb.Attempt{}
			if err := proto.Unmarshal(last, t.last); err != nil {
				return fmt.Errorf("attempt of task %d: %w", t.row, err)
			}
		}
		t.at, t.first = fromMicros(at), fromMicros(first)
		t.queue.tasks[t.pb.GetName()] = t
		t.wait()
		c.rows = max(c.rows, t.row)
	}
	return rows.Err()
}

func (c *core) loadNames(ctx context.Context, byRow map[int64]*queue) error {
	rows, err := c.journal.conn.QueryContext(ctx, `SELECT queue, hash, expires FROM names WHERE expires > ?`, c.now().UnixMicro())
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var queueRow, expires int64
		var hash []byte
		if err := rows.Scan(&queueRow, &hash, &expires); err != nil {
			return err
		}
		if q := byRow[queueRow]; q != nil && len(hash) == len(nameHash{}) {
			q.taken.add(nameHash(hash), time.UnixMicro(expires))
		}
	}
	return rows.Err()
}

// start begins to dispatch.
func (c *core) start() {
	c.scheduler.Go(c.schedule)
}

// drain stops dispatching and waits for what is under way, or cuts it when ctx ends.
func (c *core) drain(ctx context.Context) error {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	close(c.stop)
	c.scheduler.Wait()
	idle := make(chan struct{})
	go func() {
		c.attempts.Wait()
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("attempts were cut: %w", ctx.Err())
		c.cut()
		<-idle
	}
	c.cut()
	c.client.CloseIdleConnections()
	return err
}

// poke has the scheduler look at the queues again.
func (c *core) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// fail records that the journal has failed: from now on nothing is dispatched.
func (c *core) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && !c.stopping {
		c.err = err
		c.log.Error("the task server's journal failed: nothing is delivered any more", "error", err)
	}
}

// kept waits until a batch is written. The error is ready to be an answer.
func (c *core) kept(ctx context.Context, b *batch) error {
	err := b.wait(ctx)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil {
		c.fail(err)
	}
	return failed(err)
}
