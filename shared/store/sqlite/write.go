package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/internal/row"
)

// write is an encoded write.
type write row.Write

// args returns the arguments of the statements that write a record.
func args(r row.Row) []any {
	return []any{
		r.CaseID, r.Run, r.Version, r.OverdueAt.UnixMicro(), r.Open, r.Record,
		string(r.State), r.CreatedAt.UnixMicro(),
	}
}

// apply saves the record and its values.
func (w write) apply(db *writer) error {
	ctx := context.Background()
	switch changed, err := affected(ctx, db.changeRun, args(w.Row)...); {
	case err != nil:
		return err
	case !changed:
		return db.whyNot(ctx, w.CaseID, w.Run)
	}
	for v, data := range w.Put {
		if err := db.put(ctx, w.CaseID, w.Run, v, data); err != nil {
			return err
		}
	}
	for _, v := range w.Drop {
		if _, err := db.dropValue.ExecContext(ctx, w.CaseID, w.Run, string(v)); err != nil {
			return err
		}
	}
	return nil
}

// whyNot returns why a run is not at the expected version: ErrNotFound or ErrConflict.
func (w *writer) whyNot(ctx context.Context, caseID string, run int) error {
	var version int64
	switch err := w.readVersion.QueryRowContext(ctx, caseID, run).Scan(&version); {
	case errors.Is(err, sql.ErrNoRows):
		return store.ErrNotFound
	case err != nil:
		return err
	}
	return store.ErrConflict
}

func (w *writer) put(ctx context.Context, caseID string, run int, v store.Value, data []byte) error {
	_, err := w.putValue.ExecContext(ctx, caseID, run, string(v), data)
	return err
}

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, w store.Write) error {
	e, err := row.EncodeWrite(w)
	if err == nil {
		err = s.commits.do(ctx, &change{
			caseID: e.CaseID, size: e.Size(), urgent: w.Case.State.Ended(), apply: write(e).apply,
		})
	}
	return wrap(err, "updating %q run %d", w.Case.CaseID, w.Case.Run)
}

// Begin implements [store.Store].
func (s *Store) Begin(ctx context.Context, b store.Begin) error {
	e, err := row.EncodeBegin(b)
	if err == nil {
		err = s.commits.do(ctx, &change{
			caseID: e.First.CaseID, size: e.Size(), urgent: b.End != nil, apply: begin(e).apply,
		})
	}
	return wrap(err, "beginning %q run %d", b.Case.CaseID, b.Case.Run)
}

// begin is an encoded beginning.
type begin row.Begin

func (b begin) apply(w *writer) error {
	ctx := context.Background()
	if b.End != nil {
		if err := write(*b.End).apply(w); errors.Is(err, store.ErrNotFound) {
			return store.ErrConflict
		} else if err != nil {
			return err
		}
	}
	head := w.changeHead
	if b.Head.Version == 1 {
		head = w.addHead
	}
	if err := must(affected(ctx, head, b.Head.CaseID, b.Head.Run, b.Head.Version, b.Keys, b.Head.Owner)); err != nil {
		return err
	}
	if err := must(affected(ctx, w.addRun, args(b.First)...)); err != nil {
		return err
	}
	return w.put(ctx, b.First.CaseID, b.First.Run, store.Form, b.Form)
}

// must returns ErrConflict for a statement that changed nothing.
func must(changed bool, err error) error {
	if err == nil && !changed {
		return store.ErrConflict
	}
	return err
}

// Purge implements [store.Store].
func (s *Store) Purge(ctx context.Context, caseID string, run int, version int64) error {
	err := s.commits.do(ctx, &change{caseID: caseID, apply: func(w *writer) error {
		return w.purge(context.Background(), caseID, run, version)
	}})
	return wrap(err, "purging %q run %d", caseID, run)
}

func (w *writer) purge(ctx context.Context, caseID string, run int, version int64) error {
	var at int64
	switch err := w.readVersion.QueryRowContext(ctx, caseID, run).Scan(&at); {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case at != version:
		return store.ErrConflict
	}
	head := store.Head{CaseID: caseID}
	if err := scanHead(w.readHead.QueryRowContext(ctx, caseID), &head); err != nil {
		return err
	}
	if head.Run == run {
		var others bool
		if err := w.otherRun.QueryRowContext(ctx, caseID, run).Scan(&others); err != nil {
			return err
		}
		if others {
			return store.ErrConflict
		}
		if _, err := w.dropHead.ExecContext(ctx, caseID); err != nil {
			return err
		}
	} else if row.DropKeys(&head, run) {
		keys, err := row.EncodeKeys(head)
		if err != nil {
			return err
		}
		if err := must(affected(ctx, w.changeHead, caseID, head.Run, head.Version+1, keys, head.Owner)); err != nil {
			return err
		}
	}
	_, err := w.dropRun.ExecContext(ctx, caseID, run) // the values are deleted by the foreign key
	return err
}

// wrap adds what was attempted to an error.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// DurationStats implements [store.Store].
func (s *Store) DurationStats(ctx context.Context, pipeline string) (schedule.DurationStats, error) {
	var version int64
	var data []byte
	switch err := s.reads.durations.QueryRowContext(ctx, pipeline).Scan(&version, &data); {
	case errors.Is(err, sql.ErrNoRows):
		return schedule.DurationStats{}, nil
	case err != nil:
		return schedule.DurationStats{}, readErr(ctx, err, "reading the duration statistics")
	}
	return schedule.DecodeDurationStats(version, data), nil
}

// SaveDurationStats implements [store.Store].
func (s *Store) SaveDurationStats(ctx context.Context, pipeline string, p schedule.DurationStats) error {
	data, err := json.Marshal(p)
	if err == nil {
		err = s.commits.do(ctx, &change{size: len(data), apply: func(w *writer) error {
			save := w.changeDurations
			if p.Version == 1 {
				save = w.addDurations
			}
			return must(affected(context.Background(), save, pipeline, p.Version, data))
		}})
	}
	return wrap(err, "saving the duration statistics")
}
