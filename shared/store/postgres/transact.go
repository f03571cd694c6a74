package postgres

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	noted   error // the first
	watched *bool // of the transaction: somebody may wait for the case
}

func (r *round) note(err error) {
	if r.noted == nil {
		r.noted = err
	}
}

// transact runs a transaction that changes a case, one round trip for each step: the begin goes
// with the first, the commit with the last. An error of a step or a statement undoes all of it, and
// so does what is noted, but in the last step, which is committed by then. It begins again if
// another transaction made the server undo it.
//
// The word to those who wait follows the commit as a transaction and a round trip of its own, if a
// step finds that somebody may wait: transactions that notify commit one after the other in the
// whole cluster, and would each have the others wait for the disk. A word that is lost in between is
// what pauses is for.
func (s *Store) transact(ctx context.Context, caseID string, steps ...step) error {
	return repeat(ctx, &s.retries, undone, func() error {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release() // closes it if a transaction is left open, which undoes that
		committed, watched := false, false
		for i, step := range steps {
			r := &round{watched: &watched}
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
			}
			if err = conn.SendBatch(ctx, &r.Batch).Close(); committed {
				if watched && r.noted == nil {
					_, _ = conn.Exec(ctx, notifyQuery, caseID) // the change is saved, whatever becomes of the word
				}
				return r.noted
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
