package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/row"
)

const (
	// updateQuery is a whole store.Update. Who waits for the row while another changes it looks at its
	// version again, and finds it changed; so of two who read the same version one saves.
	updateQuery = `WITH saved AS (
			UPDATE runs SET version = $3, wake_at = $4, open = $5, record = $6, state = $7, created_at = $8
			WHERE case_id = $1 AND run = $2 AND version = $3 - 1
			RETURNING case_id, run
		), put AS (
			INSERT INTO run_values (case_id, run, name, data)
			SELECT saved.case_id, saved.run, v.name, v.data
			FROM saved, unnest($9::text[], $10::bytea[]) AS v (name, data)
			ON CONFLICT (case_id, run, name) DO UPDATE SET data = excluded.data
		), dropped AS (
			DELETE FROM run_values v USING saved
			WHERE v.case_id = saved.case_id AND v.run = saved.run AND v.name = ANY ($11::text[])
		)
		SELECT EXISTS (SELECT FROM saved), EXISTS (SELECT FROM runs WHERE case_id = $1 AND run = $2)`

	// beginFirstQuery and beginNextQuery are a whole store.Begin that ends no run. Without a head that
	// is as it has to be, nothing is added, and no row is returned.
	beginFirstQuery = `WITH head AS (
			INSERT INTO heads (case_id, run, version, keys, owner) VALUES ($1, $2, $9, $10, $11)
			ON CONFLICT DO NOTHING RETURNING ` + watched + ` AS watched
		), ` + beginRest
	beginNextQuery = `WITH head AS (
			UPDATE heads SET run = $2, version = $9, keys = $10, owner = $11
			WHERE case_id = $1 AND version = $9 - 1 RETURNING ` + watched + ` AS watched
		), ` + beginRest
	beginRest = `added AS (
			INSERT INTO runs (case_id, run, version, wake_at, open, record, state, created_at)
			SELECT $1, $2, $3::bigint, $4::timestamptz, $5::boolean, $6::bytea, $7::text, $8::timestamptz FROM head
			RETURNING case_id, run
		), form AS (
			INSERT INTO run_values (case_id, run, name, data)
			SELECT case_id, run, '` + string(store.Form) + `', $12::bytea FROM added
		)
		SELECT watched FROM head`

	// watched says whether somebody may wait for the case of a head.
	watched      = `watched_until > clock_timestamp()`
	watchedQuery = `SELECT ` + watched + ` FROM heads WHERE case_id = $1`

	changeHeadQuery = `UPDATE heads SET run = $2, version = $3, keys = $4, owner = $5
		WHERE case_id = $1 AND version = $3 - 1`
	dropHeadQuery = `DELETE FROM heads WHERE case_id = $1`
	dropRunQuery  = `DELETE FROM runs WHERE case_id = $1 AND run = $2` // its values go with it

	lockHeadQuery = `SELECT run, version, keys, owner, ` + watched + ` FROM heads WHERE case_id = $1 FOR UPDATE`
	lockRunQuery  = `SELECT version FROM runs WHERE case_id = $1 AND run = $2 FOR UPDATE`
	otherRunQuery = `SELECT EXISTS (SELECT FROM runs WHERE case_id = $1 AND run <> $2)`
)

// Update implements [store.Store]. It takes one round trip.
func (s *Store) Update(ctx context.Context, w store.Write) error {
	e, err := row.EncodeWrite(w)
	if err == nil {
		err = s.transact(ctx, e.CaseID, func(r *round) error {
			r.update(e, store.ErrNotFound)
			r.Queue(watchedQuery, e.CaseID).QueryRow(maybe(r.watched)) // after the run is locked: see [Store.look]
			return nil
		})
	}
	return explain(ctx, err, "updating %q run %d", w.Case.CaseID, w.Case.Run)
}

func rowArgs(r row.Row) []any {
	return []any{r.CaseID, r.Run, r.Version, r.OverdueAt, r.Open, r.Record, string(r.State), r.CreatedAt}
}

func updateArgs(w row.Write) []any {
	names, data, drop := make([]string, 0, len(w.Put)), make([][]byte, 0, len(w.Put)), make([]string, 0, len(w.Drop))
	for v, d := range w.Put {
		names, data = append(names, string(v)), append(data, d)
	}
	for _, v := range w.Drop {
		drop = append(drop, string(v))
	}
	return append(rowArgs(w.Row), names, data, drop)
}

// update queues updateQuery. It notes a conflict or, if there is no such run, missing. A run that
// another purges meanwhile may be told as a conflict: who reads again learns.
func (r *round) update(w row.Write, missing error) {
	r.Queue(updateQuery, updateArgs(w)...).QueryRow(func(answer pgx.Row) error {
		var saved, exists bool
		err := answer.Scan(&saved, &exists)
		switch {
		case err != nil || saved:
		case exists:
			r.note(store.ErrConflict)
		default:
			r.note(missing)
		}
		return err
	})
}

// Begin implements [store.Store]. It takes one round trip, and one more if it also ends a run.
func (s *Store) Begin(ctx context.Context, b store.Begin) error {
	e, err := row.EncodeBegin(b)
	if err == nil {
		steps := []step{queueBegin(e)}
		if e.End != nil { // the commit goes alone: it depends on what both statements answered
			steps = append(steps, func(*round) error { return nil })
		}
		err = s.transact(ctx, e.Head.CaseID, steps...)
		if sqlState(err) == "23505" { // unique_violation: the run is there, and the head does not know of it
			err = store.ErrConflict
		}
	}
	return explain(ctx, err, "beginning %q run %d", b.Case.CaseID, b.Case.Run)
}

// queueBegin locks the head first, as Purge does, so that the two cannot wait for each other.
func queueBegin(b row.Begin) step {
	return func(r *round) error {
		query := beginNextQuery
		if b.Head.Version == 1 {
			query = beginFirstQuery
		}
		args := append(rowArgs(b.First), b.Head.Version, b.Keys, b.Head.Owner, b.Form)
		r.Queue(query, args...).QueryRow(func(answer pgx.Row) error {
			err := answer.Scan(r.watched)
			if errors.Is(err, pgx.ErrNoRows) {
				r.note(store.ErrConflict)
				return nil
			}
			return err
		})
		if b.End != nil {
			r.update(*b.End, store.ErrConflict)
		}
		return nil
	}
}

// Purge implements [store.Store]. It takes two round trips.
func (s *Store) Purge(ctx context.Context, caseID string, run int, version int64) error {
	var p purge
	err := s.transact(ctx, caseID, func(r *round) error {
		p = purge{head: store.Head{CaseID: caseID}, run: run}
		p.look(r)
		return nil
	}, func(r *round) error { return p.delete(r, version) })
	if errors.Is(err, errNothing) {
		return nil
	}
	return explain(ctx, err, "purging %q run %d", caseID, run)
}

// errNothing says that there is nothing to purge.
var errNothing = errors.New("no such run")

// purge is what is known of a run that is to be purged; its head and record are locked.
type purge struct {
	head    store.Head
	keys    []byte
	run     int
	version int64 // 0: there is no such run
	others  bool  // the case has other runs
}

// maybe reads a row, if there is one.
func maybe(into ...any) func(pgx.Row) error {
	return func(answer pgx.Row) error {
		if err := answer.Scan(into...); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return nil
	}
}

func (p *purge) look(r *round) {
	head := maybe(&p.head.Run, &p.head.Version, &p.keys, &p.head.Owner, r.watched)
	r.Queue(lockHeadQuery, p.head.CaseID).QueryRow(head)
	r.Queue(lockRunQuery, p.head.CaseID, p.run).QueryRow(maybe(&p.version))
	r.Queue(otherRunQuery, p.head.CaseID, p.run).QueryRow(maybe(&p.others))
}

// delete queues what deletes the run, and changes or deletes the head: they are locked, so it finds them as they were.
func (p *purge) delete(r *round, version int64) error {
	switch {
	case p.version == 0:
		return errNothing
	case p.version != version, p.head.Run == p.run && p.others:
		return store.ErrConflict
	}
	if err := row.DecodeKeys(p.keys, &p.head); err != nil {
		return err
	}
	r.Queue(dropRunQuery, p.head.CaseID, p.run)
	if p.head.Run == p.run {
		r.Queue(dropHeadQuery, p.head.CaseID)
	} else if row.DropKeys(&p.head, p.run) {
		keys, err := row.EncodeKeys(p.head)
		if err != nil {
			return err
		}
		r.Queue(changeHeadQuery, p.head.CaseID, p.head.Run, p.head.Version+1, keys, p.head.Owner)
	}
	return nil
}
