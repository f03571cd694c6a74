package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/waiters"
)

const (
	channel      = "casewatch"     // of notifications; what is said there is the id of a case
	listenAgain  = time.Second     // after a connection that listens broke, or could not be had
	unlistenWait = 2 * time.Second // for the server to confirm; then the connection is closed instead
)

// pauses between two looks without having been told anything: the net under lost notifications.
var pauses = waiters.Pauses{First: time.Second, Later: 5 * time.Second}

// Wait implements [store.Store]. The last waiter of an instance, over a connection that is dead,
// returns up to 2 s after its context ended.
func (s *Store) Wait(ctx context.Context, caseID string, run int, version int64) error {
	last, err := s.waiters.Wait(ctx, caseID, s.pauses, func() (bool, error) {
		at, err := s.look(ctx, caseID, run)
		return at.Version > version || at.Run > run, err
	}, s.idle)
	if last {
		select {
		case l := <-s.listener:
			l.close()
			s.listener <- l
		default: // somebody came meanwhile, or another who was the last is at it
		}
	}
	return explain(ctx, err, "waiting for %q run %d", caseID, run)
}

// look returns the version of the run and the current run of the case, and has those who write the
// case say so for the next minute.
//
// A writer finds out in its transaction, once it has locked the run or the head, whether the case is
// watched. If it does not see that it is, because look has it watched only now, look waits for it to
// commit: it locks the same rows, and reads them then.
func (s *Store) look(ctx context.Context, caseID string, run int) (at store.Head, err error) {
	var anew bool
	err = s.one(ctx, watchQuery, []any{caseID, run}, &at.Version, &at.Run, &anew)
	if err == nil && anew {
		err = s.one(ctx, lockedVersionsQuery, []any{caseID, run}, &at.Version, &at.Run)
	}
	return at, err
}

// idle waits to be told. Whoever can have the listener reads from it for all, until there is something for itself.
func (s *Store) idle(ctx context.Context, news <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-news:
	case l := <-s.listener:
		defer func() { s.listener <- l }()
		l.listen(ctx, news, &s.waiters)
	}
}

// listener is the one connection over which an instance hears what is written. It is one of the
// pool's, so that a waiter need not open one. It is used by one goroutine at a time.
type listener struct {
	pool *pgxpool.Pool
	conn *pgxpool.Conn // nil: there is none
	lost time.Time     // when it broke, or could not be had
}

// listen tells the waiters what is said, until there is news for the caller or its context ends.
// What is said while nobody listens waits in the connection for the next who does.
func (l *listener) listen(ctx context.Context, news <-chan struct{}, all *waiters.Waiters) {
	if l.conn == nil {
		if rest := listenAgain - time.Since(l.lost); rest > 0 {
			ctx, cancel := context.WithTimeout(ctx, rest)
			defer cancel()
			waiters.Rest(ctx, news)
			return
		}
		if err := l.open(ctx); err != nil {
			l.lost = time.Now()
			return
		}
		all.WakeAll() // to look for what was written before the server listened for us
		return
	}
	for {
		select {
		case <-news:
			return
		default:
		}
		said, err := l.conn.Conn().WaitForNotification(ctx)
		if said != nil {
			all.Wake(said.Payload)
			continue
		}
		if err != nil && (ctx.Err() == nil || l.conn.Conn().IsClosed()) {
			discard(ctx, l.conn)
			l.conn, l.lost = nil, time.Now()
			all.WakeAll() // something may have been said that nobody heard
		}
		return
	}
}

func (l *listener) open(ctx context.Context) error {
	conn, err := l.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		discard(ctx, conn) // it may listen all the same
		return err
	}
	l.conn = conn
	return nil
}

// close gives the connection back, when nobody waits any more.
func (l *listener) close() {
	if l.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), unlistenWait)
	defer cancel()
	if _, err := l.conn.Exec(ctx, "UNLISTEN "+channel); err != nil {
		discard(ctx, l.conn)
	}
	l.conn.Release() // no harm if it is discarded
	l.conn = nil
}

// discard closes a connection of the pool for good. It may be broken already.
func discard(ctx context.Context, conn *pgxpool.Conn) {
	_ = conn.Conn().Close(ctx)
	conn.Release()
}
