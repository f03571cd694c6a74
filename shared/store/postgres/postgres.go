package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/casewatch/casewatch/shared/overload"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/waiters"
)

// Store is a [store.Store] in one PostgreSQL database.
type Store struct {
	pool     *pgxpool.Pool
	cloudSQL *cloudSQL // nil unless the DSN names an instance
	waiters  waiters.Waiters
	pauses   waiters.Pauses
	retries  overload.Retries
	// listener goes from hand to hand: whoever takes it out listens for all who wait, and puts it
	// back.
	listener chan *listener
}

var _ store.Store = (*Store)(nil)

// Open connects to the database that o.Location, a DSN, names (see the package's documentation),
// and makes its tables if there are none. It fails if the DSN makes no sense, the server cannot be
// reached before ctx ends, or the tables are those of another program or of another shape. No error
// holds the DSN or its password. The Store does not depend on ctx. The caller closes it.
func Open(ctx context.Context, o store.Options) (*Store, error) {
	config, sql, err := parse(o.Location)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	return open(ctx, config, sql)
}

func open(ctx context.Context, config *pgxpool.Config, sql *cloudSQL) (*Store, error) {
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	s := &Store{pool: pool, cloudSQL: sql, pauses: pauses, listener: make(chan *listener, 1)}
	s.listener <- &listener{pool: pool}
	if err := migrate(ctx, pool, migrations); err != nil {
		return nil, errors.Join(explain(ctx, err, "opening store"), s.Close())
	}
	if err := readable(ctx, pool); err != nil {
		return nil, errors.Join(explain(ctx, err, "opening store"), s.Close())
	}
	return s, nil
}

// Close implements [store.Store].
func (s *Store) Close() error {
	s.pool.Close()
	if s.cloudSQL == nil {
		return nil
	}
	if err := s.cloudSQL.close(); err != nil {
		return fmt.Errorf("closing store: %w", err)
	}
	return nil
}

// explain makes of an error what the interface promises, and says what was attempted.
func explain(ctx context.Context, err error, format string, args ...any) error {
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrInvalid):
	case errors.Is(err, pgx.ErrNoRows):
		err = store.ErrNotFound
	case ctx.Err() != nil:
		err = ctx.Err()
	case ended: // a time limit of the driver's, such as that of a connect, must not look like the caller's
		err = errors.New(err.Error())
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// tries bounds how often a statement is sent, and so how many dead connections it may meet.
const tries = 10

// repeat calls f again while it fails in a way that may pass immediately. What the server may have
// begun is taken from the budget for repeats; what never left this process, or met a transaction of
// another that was saved instead, is not: neither adds to what a slow server has to do.
func repeat(ctx context.Context, budget *overload.Retries, passes func(error) bool, f func() error) (err error) {
	for range tries {
		if err = f(); err == nil {
			budget.Succeeded()
			return nil
		}
		if ctx.Err() != nil || !passes(err) || !undone(err) && !budget.Failed() {
			return err
		}
	}
	return err
}

// undone reports whether a failed statement certainly left nothing behind, and may succeed if it is
// sent again: it met a transaction of another (a deadlock; a serialization failure, where the
// database's default isolation is stricter than ours), or never left this process.
func undone(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == "40001" || e.Code == "40P01"
	}
	return pgconn.SafeToRetry(err)
}

// transient reports whether a failed read may succeed if it is sent again: as [undone], or over
// another connection, since this one was dead: the server was restarted, or an instance without CPU
// slept past the patience of a firewall.
func transient(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.Code == "57P01" || e.Code == "57P02") { // shutdown, crash
		return true
	}
	_, broken := errors.AsType[net.Error](err)
	return undone(err) || broken || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
