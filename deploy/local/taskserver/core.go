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

// core holds the state of a server and implements its methods. Each change is made in memory first,
// and then written to the journal in the same order. A call is answered only when its change is
// written.
type core struct {
	cloudtaskspb.UnimplementedCloudTasksServer

	log        *slog.Logger
	now        func() time.Time
	signer     func(ctx context.Context, serviceAccount, audience string) (string, error)
	anyTarget  bool
	namesTaken time.Duration
	client     *http.Client
	journal    *journal
	timeout    func(time.Duration) time.Duration // from a dispatch deadline to a timeout; tests shorten it

	wake      chan struct{} // has an element if the scheduler must check the queues
	ctx       context.Context
	abort     context.CancelFunc // ends the running attempts
	scheduler sync.WaitGroup
	stop      chan struct{} // closed to end the scheduler

	attempts sync.WaitGroup

	mu         sync.Mutex
	queues     map[string]*queue // by full name
	rows       int64             // the largest row number in use
	stopping   bool              // no attempt begins any more
	err        error             // why the journal failed
	lastExpiry time.Time         // the last call of dropExpired
}

func openCore(opts Options) (*core, error) {
	c := &core{
		log:        opts.Logger,
		now:        opts.Now,
		signer:     opts.Signer,
		anyTarget:  opts.AnyTarget,
		namesTaken: opts.NamesTaken,
		timeout:    func(d time.Duration) time.Duration { return d },
		wake:       make(chan struct{}, 1),
		stop:       make(chan struct{}),
		queues:     map[string]*queue{},
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
	c.ctx, c.abort = context.WithCancel(context.Background())

	var err error
	if c.journal, err = openJournal(opts.Dir); err != nil {
		return nil, err
	}
	err = c.load()
	for _, q := range opts.Queues {
		err = errors.Join(err, c.ensureQueue(q))
	}
	if err != nil {
		return nil, errors.Join(err, c.journal.close())
	}
	return c, nil
}

// load reads the state from the journal. It must run before the first change, because the journal's
// writer uses the same connection.
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
	const query = `SELECT id, queue, task, at, dispatched, responded, executed, previous, first, last FROM tasks`
	rows, err := c.journal.conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		t := &task{pb: &cloudtaskspb.Task{}, index: -1}
		var queueRow, at, first int64
		var data, last []byte
		if err := rows.Scan(
			&t.row, &queueRow, &data, &at,
			&t.dispatched, &t.responded, &t.executed, &t.previous, &first, &last,
		); err != nil {
			return err
		}
		if t.queue = byRow[queueRow]; t.queue == nil {
			return fmt.Errorf("task %d belongs to queue %d, which does not exist", t.row, queueRow)
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
		t.enqueue()
		c.rows = max(c.rows, t.row)
	}
	return rows.Err()
}

func (c *core) loadNames(ctx context.Context, byRow map[int64]*queue) error {
	const query = `SELECT queue, hash, expires FROM names WHERE expires > ?`
	rows, err := c.journal.conn.QueryContext(ctx, query, c.now().UnixMicro())
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

// start starts the scheduler.
func (c *core) start() {
	c.scheduler.Go(c.schedule)
}

// drain stops the scheduler and waits until the running attempts have ended. When ctx ends, it
// aborts them and returns an error.
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
		err = fmt.Errorf("attempts were aborted: %w", ctx.Err())
		c.abort()
		<-idle
	}
	c.abort()
	c.client.CloseIdleConnections()
	return err
}

// wakeScheduler has the scheduler check the queues.
func (c *core) wakeScheduler() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// fail records that the journal failed. From then on no attempt begins.
func (c *core) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && !c.stopping {
		c.err = err
		c.log.Error("task server stopped delivering: its journal failed", "error", err)
	}
}

// committed waits until a batch is written. Its error is a gRPC status for the answer.
func (c *core) committed(ctx context.Context, b *batch) error {
	err := b.wait(ctx)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil {
		c.fail(err)
	}
	return journalError(err)
}
