package firestore

import (
	"context"
	"slices"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"

	"github.com/casewatch/casewatch/shared/store"
)

// Begin implements [store.Store]. One call, which writes head, record and form, deletes what a run
// of the same number may have left behind, and writes what b.End does; two more, one a read of two
// or three documents, if they are not as this Store saw them last.
func (s *Store) Begin(ctx context.Context, b store.Begin) error {
	if b.End != nil {
		ctx = withUrgency(ctx)
	}
	n, err := s.newBeginning(b)
	if err == nil {
		err = s.save(ctx, n)
	}
	return wrap(ctx, err, "beginning %q run %d", b.Case.CaseID, b.Case.Run)
}

// beginning is a store.Begin on its way.
type beginning struct {
	s *Store
	store.Begin
	end       *update // of the run before; nil: none
	nonce     string
	head, run fields

	headWhen, runWhen *pb.Precondition
}

func (s *Store) newBeginning(b store.Begin) (*beginning, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	n := &beginning{s: s, Begin: b, nonce: newNonce()}
	n.head = s.headFields(b.Head, b.Case.DeadlineAt)
	var err error
	if n.run, err = s.runFields(b.Case); err != nil {
		return nil, err
	}
	n.run["trail"] = trail([]string{n.nonce})
	if b.End != nil {
		if b.End.Case.Run == b.Case.Run {
			return nil, store.ErrConflict // it must be there, and must not
		}
		n.end, err = s.newUpdate(*b.End)
	}
	return n, err
}

func (n *beginning) recall() bool {
	n.headWhen, n.runWhen = asFound(nil), asFound(nil)
	if n.end != nil && !n.end.recall() {
		return false
	}
	if n.Head.Version == 1 {
		return true
	}
	known, ok := n.s.memo.get(n.Head.CaseID, 0)
	if !ok || known.version != n.Head.Version-1 {
		return false
	}
	n.headWhen = as(known.updated)
	return true
}

func (n *beginning) look(ctx context.Context) (bool, error) {
	names := []string{n.s.head(n.Head.CaseID), n.s.run(n.Case.CaseID, n.Case.Run)}
	if n.end != nil {
		names = append(names, n.s.run(n.Case.CaseID, n.End.Case.Run))
	}
	docs, err := n.s.read(ctx, conditions, names...)
	if err != nil {
		return false, err
	}
	head, run := docs[0], docs[1]
	n.s.memo.putDocument(n.Head.CaseID, 0, head)
	if run != nil && slices.Contains(trailOf(run), n.nonce) {
		return true, nil
	}
	current, err := n.current(ctx, head)
	switch {
	case err != nil:
		return false, err
	case n.Head.Version == 1 && current != 0,
		n.Head.Version != 1 && (head == nil || versionOf(head) != n.Head.Version-1),
		run != nil && (isOpen(run) || runOf(run) <= current):
		return false, store.ErrConflict
	}
	n.headWhen, n.runWhen = asFound(head), asFound(run)
	if n.end != nil {
		return false, n.end.expect(docs[2])
	}
	return false, nil
}

// current is the number of the run that the head names; 0 if there is no head, or one that was left
// behind without its run: that counts as none. As long as the head does not change, such a run does
// not come back.
func (n *beginning) current(ctx context.Context, head *pb.Document) (int, error) {
	if head == nil {
		return 0, nil
	}
	if n.Head.Version != 1 {
		return runOf(head), nil
	}
	docs, err := n.s.read(ctx, conditions, n.s.run(n.Head.CaseID, runOf(head)))
	if err != nil || docs[0] == nil {
		return 0, err
	}
	return runOf(head), nil
}

func (n *beginning) writes() []*pb.Write {
	id, run := n.Case.CaseID, n.Case.Run
	all := []*pb.Write{ // in this order: see update
		n.s.setValue(n.Case, store.Form, n.Form),
		n.s.dropValue(id, run, store.Result),
		n.s.dropValue(id, run, store.LateResult),
		set(n.s.run(id, run), n.run, n.runWhen),
		set(n.s.head(id), n.head, n.headWhen),
	}
	if n.end != nil {
		all = append(all, n.end.writes()...)
	}
	return all
}

func (n *beginning) saved(results []*pb.WriteResult) {
	n.s.memo.put(n.Head.CaseID, 0, stamp{version: n.Head.Version, run: n.Head.Run, updated: results[4].GetUpdateTime()})
	n.s.memo.put(n.Case.CaseID, n.Case.Run, stamp{
		version: 1, run: n.Case.Run, updated: results[3].GetUpdateTime(), trail: []string{n.nonce},
	})
	if n.end != nil {
		n.end.saved(results[5:])
	}
}
