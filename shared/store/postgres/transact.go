package postgres

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/casewatch/casewatch/shared/store"
)

const (
	// Read committed, whatever the database's default: each statement sees what those it waited for have saved.
	beginQuery  = `BEGIN ISOLATION LEVEL READ COMMITTED`
	notifyQuery = `SELECT pg_notify('` + channel + `', $1)`
)

var errRolledBack = errors.New("the server rolled the transaction back")

// step queues statements of a transaction, knowing what those of the steps before answered.
type step func(r *round) error

// round is what one round trip sends. What the answers amount to is noted, not returned by what
// reads them: pgx takes that for a failure, and prepares all its statements anew.
type round struct {
	pgx.Batch
	noted error // the first
}

func (r *round) note(err error) {
	if r.noted == nil {
		r.noted = err
	}
}

// must queues a statement whose condition fails if it changes nothing.
func (r *round) must(query string, args ...any) {
	r.Queue(query, args...).Exec(func(done pgconn.CommandTag) error {
		if done.RowsAffected() == 0 {
			r.note(store.ErrConflict)
		}
		return nil
	})
}

// transact runs a transaction that changes a case, one round trip for each step: the begin goes
// with the first, the commit with the last. An error of a step or a statement undoes all of it, and
// so does what is noted, but in the last step, which is committed by then. It begins again if
// another transaction made the server undo it.
//
// The word to those who wait goes with the commit, but as a transaction of its own: those that
// notify commit one after the other in the whole cluster, and would each have the others wait for
// the disk. A word that is lost in between is what pauses is for.
func (s *Store) transact(ctx context.Context, caseID string, steps ...step) error {
	return repeat(ctx, &s.retries, undone, func() error {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release() // closes it if a transaction is left open, which undoes that
		committed := false
		for i, step := range steps {
			r := &round{}
			if i == 0 {
				r.Queue(beginQuery)
			}
			if err = step(r); err != nil {
				break
			}
			if i == len(steps)-1 {
				r.Queue(`COMMIT`).Exec(func(done pgconn.CommandTag) error {
					if committed = done.String() == "COMMIT"; !committed {
						return errRolledBack
					}
					return nil
				})
				r.Queue(notifyQuery, caseID)
			}
			if err = conn.SendBatch(ctx, &r.Batch).Close(); committed {
				return r.noted // whatever became of the word
			}
			if err = cmp.Or(err, r.noted); err != nil {
				break
			}
		}
		if ctx.Err() == nil && conn.Conn().PgConn().TxStatus() != 'I' {
			_, _ = conn.Exec(ctx, `ROLLBACK`) // to keep the connection; if it fails, that is closed
		}
		return err
	})
}
