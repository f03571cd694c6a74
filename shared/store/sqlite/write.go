package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// row is a record as it is stored.
type row struct {
	caseID  string
	run     int
	version int64
	wakeAt  int64
	open    bool
	record  []byte
}

func encode(c cases.Case) (row, error) {
	record, err := json.Marshal(c)
	return row{c.CaseID, c.Run, c.Version, c.WakeAt.UnixMicro(), !c.State.Ended(), record}, err
}

func (r row) args() []any {
	return []any{r.caseID, r.run, r.version, r.wakeAt, r.open, r.record}
}

// write is a store.Write with its record encoded.
type write struct {
	row
	put  map[store.Value][]byte
	drop []store.Value
}

func encodeWrite(w store.Write) (*write, error) {
	for _, v := range w.Drop {
		if _, both := w.Put[v]; both {
			return nil, fmt.Errorf("%s is both to be put and to be dropped", v)
		}
	}
	r, err := encode(w.Case)
	return &write{r, w.Put, w.Drop}, err
}

func (w *write) size() int {
	n := len(w.record)
	for _, data := range w.put {
		n += len(data)
	}
	return n
}

// apply saves the record and its values.
func (w *write) apply(db *writer) error {
	ctx := context.Background()
	switch changed, err := affected(ctx, db.changeRun, w.args()...); {
	case err != nil:
		return err
	case !changed:
		return db.whyNot(ctx, w.caseID, w.run)
	}
	for v, data := range w.put {
		if err := db.put(ctx, w.caseID, w.run, v, data); err != nil {
			return err
		}
	}
	for _, v := range w.drop {
		if _, err := db.dropValue.ExecContext(ctx, w.caseID, w.run, string(v)); err != nil {
			return err
		}
	}
	return nil
}

// whyNot tells why a run is not at the version expected.
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
	if data == nil {
		data = []byte{} // nil would be NULL
	}
	_, err := w.putValue.ExecContext(ctx, caseID, run, string(v), data)
	return err
}

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, w store.Write) error {
	e, err := encodeWrite(w)
	if err == nil {
		err = s.commits.do(ctx, &change{caseID: w.Case.CaseID, size: e.size(), apply: e.apply})
	}
	return wrap(err, "updating %q run %d", w.Case.CaseID, w.Case.Run)
}

// Begin implements [store.Store].
func (s *Store) Begin(ctx context.Context, b store.Begin) error {
	c, err := encodeBegin(b)
	if err == nil {
		err = s.commits.do(ctx, c)
	}
	return wrap(err, "beginning %q run %d", b.Case.CaseID, b.Case.Run)
}

func encodeBegin(b store.Begin) (*change, error) {
	if b.Head.CaseID != b.Case.CaseID || b.Head.Run != b.Case.Run || b.Case.Version != 1 {
		return nil, errors.New("the head does not name the first record of the run")
	}
	first, err := encode(b.Case)
	if err != nil {
		return nil, err
	}
	keys, err := json.Marshal(b.Head.Keys)
	if err != nil {
		return nil, err
	}
	size := len(first.record) + len(b.Form)
	end := &write{}
	if b.End != nil {
		if end, err = encodeWrite(*b.End); err != nil {
			return nil, err
		}
		size += end.size()
	}
	apply := func(w *writer) error {
		ctx := context.Background()
		if b.End != nil {
			if err := end.apply(w); errors.Is(err, store.ErrNotFound) {
				return store.ErrConflict
			} else if err != nil {
				return err
			}
		}
		head := w.changeHead
		if b.Head.Version == 1 {
			head = w.addHead
		}
		if err := must(affected(ctx, head, b.Head.CaseID, b.Head.Run, b.Head.Version, keys)); err != nil {
			return err
		}
		if err := must(affected(ctx, w.addRun, first.args()...)); err != nil {
			return err
		}
		return w.put(ctx, first.caseID, first.run, store.Form, b.Form)
	}
	return &change{caseID: b.Case.CaseID, size: size, apply: apply}, nil
}

// must turns a statement that changed nothing into a conflict.
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
	} else if slices.Contains(slices.Collect(maps.Values(head.Keys)), run) {
		maps.DeleteFunc(head.Keys, func(_ string, of int) bool { return of == run })
		keys, err := json.Marshal(head.Keys)
		if err != nil {
			return err
		}
		if err := must(affected(ctx, w.changeHead, caseID, head.Run, head.Version+1, keys)); err != nil {
			return err
		}
	}
	_, err := w.dropRun.ExecContext(ctx, caseID, run) // its values go with it
	return err
}

// wrap says what was attempted.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
