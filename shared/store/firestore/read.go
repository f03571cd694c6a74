package firestore

import (
	"context"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// Get implements [store.Store]. One call, one document read.
func (s *Store) Get(ctx context.Context, caseID string, run int) (cases.Case, error) {
	c, err := s.get(ctx, caseID, run)
	return c, wrap(ctx, err, "reading %q run %d", caseID, run)
}

func (s *Store) get(ctx context.Context, caseID string, run int) (cases.Case, error) {
	docs, err := s.read(ctx, nil, s.run(caseID, run))
	if err != nil {
		return cases.Case{}, err
	}
	s.memo.putDocument(caseID, run, docs[0])
	if docs[0] == nil {
		return cases.Case{}, store.ErrNotFound
	}
	return toCase(docs[0])
}

// Current implements [store.Store]. One call, two documents read; the same again if the current run
// is not the one expected: the one remembered, or the first.
func (s *Store) Current(ctx context.Context, caseID string) (store.Head, cases.Case, error) {
	h, c, err := s.current(ctx, caseID)
	return h, c, wrap(ctx, err, "reading current run of %q", caseID)
}

func (s *Store) current(ctx context.Context, caseID string) (store.Head, cases.Case, error) {
	run := 1
	if known, ok := s.memo.get(caseID, 0); ok {
		run = known.run
	}
	for {
		docs, err := s.read(ctx, nil, s.head(caseID), s.run(caseID, run))
		if err != nil {
			return store.Head{}, cases.Case{}, err
		}
		head, record := docs[0], docs[1]
		s.memo.putDocument(caseID, 0, head)
		s.memo.putDocument(caseID, run, record)
		switch {
		case head == nil:
			return store.Head{}, cases.Case{}, store.ErrNotFound
		case runOf(head) != run:
			run = runOf(head)
		case record == nil:
			return store.Head{}, cases.Case{}, store.ErrNotFound
		default:
			c, err := toCase(record)
			if err != nil {
				return store.Head{}, cases.Case{}, err
			}
			return toHead(caseID, head), c, nil
		}
	}
}

// Value implements [store.Store]. One call, one document read.
func (s *Store) Value(ctx context.Context, caseID string, run int, v store.Value) ([]byte, error) {
	docs, err := s.read(ctx, nil, s.value(caseID, run, v))
	if err == nil && docs[0] == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, wrap(ctx, err, "reading %s of %q run %d", v, caseID, run)
	}
	data := docs[0].GetFields()["data"].GetBytesValue()
	if data == nil {
		data = []byte{}
	}
	return data, nil
}
