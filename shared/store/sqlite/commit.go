package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

const (
	maxBatch      = 128     // writes in one commit
	maxBatchBytes = 8 << 20 // bytes in one commit, so that it does not take too long
)

var errUnfinished = errors.New("the writer did not finish")

// change is a write that waits to be committed.
type change struct {
	caseID string
	size   int  // of its values, in bytes
	urgent bool // it contains an end, so it is written before the others
	apply  func(w *writer) error
	err    error // the result, valid after turn has sent false
	// turn tells the caller to lead (true) or that the result is available (false).
	turn chan bool
}

// commits lets writers share commits. The callers do the work themselves. A caller that finds no
// leader becomes the leader. It waits for the file, takes the queued changes, writes them in one
// transaction, reports the results, and makes the next one in the queue the leader.
type commits struct {
	open     func(context.Context) (*writer, error)
	saved    func(caseID string) // called for every durable change, before its caller gets the result
	maxBatch int                 // changes in one commit

	mu     sync.Mutex
	queue  []*change // contains the leader's own change until it is taken
	leader bool

	w *writer // used by the leader; nil if it must be opened
}

// do commits c and returns its result. If ctx ends while c is queued, c is removed from the queue.
// When c is already being written, do waits for the result, which takes one commit.
func (q *commits) do(ctx context.Context, c *change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.turn = make(chan bool, 1)
	q.mu.Lock()
	q.add(c)
	lead := !q.leader
	q.leader = true
	q.mu.Unlock()
	if !lead {
		select {
		case lead = <-c.turn:
		case <-ctx.Done():
			if q.withdraw(c) {
				return ctx.Err()
			}
			lead = <-c.turn
		}
	}
	if lead {
		q.lead(ctx, c)
	}
	return c.err
}

// add puts c at the end of the queue, or after the last urgent change if c is urgent. The first in
// the queue keeps its place: it belongs to the leader or to the next leader.
func (q *commits) add(c *change) {
	at := len(q.queue)
	if c.urgent && at > 1 {
		for at = 1; at < len(q.queue) && q.queue[at].urgent; at++ {
		}
	}
	q.queue = slices.Insert(q.queue, at, c)
}

// withdraw removes c from the queue. It returns false if c was already taken or is to lead.
func (q *commits) withdraw(c *change) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.queue, c)
	if i < 0 || len(c.turn) > 0 {
		return false
	}
	q.queue = slices.Delete(q.queue, i, i+1)
	return true
}

// lead writes a batch. If the leader's context ends while it waits for the file, only the leader's
// write is given up, and nothing has been written.
func (q *commits) lead(ctx context.Context, c *change) {
	var batch []*change
	err := errUnfinished
	defer func() {
		if errors.Is(err, errUnfinished) { // a panic: the transaction and the waiting callers must not be left behind
			if batch == nil {
				batch = q.take(1, math.MaxInt)
			}
			err = errors.Join(err, q.drop())
		}
		for _, b := range batch {
			if err != nil {
				b.err = err
			}
			if b != c {
				b.turn <- false
			}
		}
		q.handOver()
	}()
	begun := ctx.Err()
	if begun == nil {
		begun = q.begin(ctx)
	}
	switch {
	case begun == nil:
		batch = q.take(q.maxBatch, maxBatchBytes)
		err = q.write(batch)
	case ctx.Err() != nil:
		batch, err = q.take(1, math.MaxInt), ctx.Err()
	default: // the store cannot be used, so all queued changes fail now
		batch, err = q.take(math.MaxInt, math.MaxInt), begun
	}
}

// take removes changes from the front of the queue and returns them: the first one, which is the
// leader's, and more up to limit changes and that many bytes.
func (q *commits) take(limit, bytes int) []*change {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for _, c := range q.queue[:min(limit, len(q.queue))] {
		if size += c.size; n > 0 && size > bytes {
			break
		}
		n++
	}
	batch := slices.Clone(q.queue[:n])
	q.queue = slices.Delete(q.queue, 0, n)
	return batch
}

func (q *commits) handOver() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.leader = len(q.queue) > 0; q.leader {
		q.queue[0].turn <- true
	}
}

// begin waits for the file and begins a transaction.
func (q *commits) begin(ctx context.Context) error {
	if q.w == nil {
		w, err := q.open(context.WithoutCancel(ctx))
		if err != nil {
			return fmt.Errorf("opening a connection: %w", err)
		}
		q.w = w
	}
	if _, err := q.w.begin.ExecContext(ctx); err != nil {
		return errors.Join(fmt.Errorf("waiting to write: %w", err), q.drop())
	}
	return nil
}

// write writes a batch. An error means that the transaction failed and nothing was saved.
func (q *commits) write(batch []*change) error {
	ctx := context.Background()
	for _, c := range batch {
		if err := q.w.inSavepoint(ctx, c); err != nil {
			return errors.Join(fmt.Errorf("writing: %w", err), q.drop())
		}
	}
	if _, err := q.w.commit.ExecContext(ctx); err != nil {
		return errors.Join(fmt.Errorf("committing: %w", err), q.drop())
	}
	for _, c := range batch {
		if c.err == nil {
			q.saved(c.caseID)
		}
	}
	return nil
}

// drop closes a connection that is in an unknown state, which undoes its uncommitted writes. The
// next leader opens another.
func (q *commits) drop() error {
	w := q.w
	if q.w = nil; w == nil {
		return nil
	}
	return w.discard()
}

func (q *commits) close() error {
	if q.w == nil {
		return nil
	}
	return q.w.close()
}

// inSavepoint applies all of c or nothing, and stores the result in c. An error means that the
// transaction is broken.
func (w *writer) inSavepoint(ctx context.Context, c *change) error {
	if _, c.err = w.savepoint.ExecContext(ctx); c.err != nil {
		return c.err
	}
	if c.err = c.apply(w); c.err == nil {
		_, c.err = w.release.ExecContext(ctx)
		return c.err
	}
	if _, err := w.undo.ExecContext(ctx); err != nil {
		return errors.Join(c.err, err)
	}
	_, err := w.release.ExecContext(ctx)
	return err
}
