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
	maxBatchBytes = 8 << 20 // values in one commit, so that it does not take too long
)

var errUnfinished = errors.New("the writer did not finish")

// change is one write on its way.
type change struct {
	caseID string
	size   int  // of its values, in bytes
	urgent bool // it carries an end: it is written before those that do not
	apply  func(w *writer) error
	err    error // the result, once told
	// turn tells its caller to lead (true), or that the result is there (false).
	turn chan bool
}

// commits lets writers share commits. The callers do the work themselves: whoever finds nobody leading leads: it waits for
// the file, takes what is queued up by then, writes it in one transaction, tells the others, and hands over to the next in the queue.
type commits struct {
	open  func(context.Context) (*writer, error)
	saved func(caseID string) // called for every change that is durable, before its caller knows
	most  int                 // changes in one commit

	mu     sync.Mutex
	queue  []*change // while somebody leads, the leader's own is among them until taken
	leader bool

	w *writer // the leader's; nil if to be opened
}

// do returns when c is durable, or is not done. A context that ends while c is queued takes it out again; once it is being
// written the result is awaited, which is one commit away.
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

// add adds c behind the others; an urgent one behind the urgent ones. The first of the queue stays the first: it is the leader's, or that of the next.
func (q *commits) add(c *change) {
	at := len(q.queue)
	if c.urgent && at > 1 {
		for at = 1; at < len(q.queue) && q.queue[at].urgent; at++ {
		}
	}
	q.queue = slices.Insert(q.queue, at, c)
}

// withdraw takes c out of the queue, unless it is taken, or is to lead: then its turn is told.
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

// lead writes a batch. The leader's context ends its wait for the file, before anything is written; it does not
// touch the writes of the others.
func (q *commits) lead(ctx context.Context, c *change) {
	var batch []*change
	err := errUnfinished
	defer func() {
		if errors.Is(err, errUnfinished) { // a panic: neither its transaction nor those who wait for it may be left behind
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
		batch = q.take(q.most, maxBatchBytes)
		err = q.write(batch)
	case ctx.Err() != nil:
		batch, err = q.take(1, math.MaxInt), ctx.Err()
	default: // the store cannot be used: let nobody wait for that in turn
		batch, err = q.take(math.MaxInt, math.MaxInt), begun
	}
}

// take takes the first of the queue, which is the leader's, and more, up to that many changes and that many bytes.
func (q *commits) take(most, bytes int) []*change {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for _, c := range q.queue[:min(most, len(q.queue))] {
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

// write does all of a batch. Its own error is that of the transaction: then nothing of it is saved.
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

// drop closes a connection that is in an unknown state, which undoes what it had not committed. The next leader opens another.
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

// inSavepoint applies c, or nothing of it, and keeps its result in c. The error says that the transaction is broken.
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
