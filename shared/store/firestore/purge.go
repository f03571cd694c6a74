package firestore

import (
	"context"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/casewatch/casewatch/shared/store"
)

// Purge implements [store.Store]. A call to read head and record and one to delete; between them
// one more for the current run, unless it is the first, that looks for earlier ones. Values that
// are not there, or a head that is not, do not matter.
func (s *Store) Purge(ctx context.Context, caseID string, run int, version int64) error {
	err := s.save(ctx, &purge{s: s, caseID: caseID, run: run, version: version})
	return wrap(ctx, err, "purging %q run %d", caseID, run)
}

// purge is the deletion of a run on its way.
type purge struct {
	s       *Store
	caseID  string
	run     int
	version int64

	runWhen  *pb.Precondition
	head     *pb.Document // nil: none
	dropHead bool
	newHead  *store.Head // without the keys of the run; nil: it has none
}

func (p *purge) recall() bool { return false } // the keys are not remembered

func (p *purge) look(ctx context.Context) (bool, error) {
	docs, err := p.s.read(ctx, conditions, p.s.run(p.caseID, p.run), p.s.head(p.caseID))
	if err != nil {
		return false, err
	}
	run := docs[0]
	if run == nil {
		p.s.memo.forget(p.caseID, p.run)
		return true, nil
	}
	if versionOf(run) != p.version {
		return false, store.ErrConflict
	}
	p.runWhen, p.head, p.dropHead, p.newHead = asFound(run), docs[1], false, nil
	switch {
	case p.head == nil:
		return false, nil
	case runOf(p.head) == p.run:
		p.dropHead = true
		return false, p.isLast(ctx)
	}
	head := toHead(p.caseID, p.head)
	if left, some := withoutRun(head.Keys, p.run); some {
		p.newHead = &store.Head{CaseID: p.caseID, Run: head.Run, Keys: left, Version: head.Version + 1}
	}
	return false, nil
}

// isLast returns ErrConflict if an earlier run than the current one is kept. None can come to be:
// their numbers are taken.
func (p *purge) isLast(ctx context.Context) error {
	if p.run <= 1 {
		return nil
	}
	earlier := caseQuery(p.caseID, pb.StructuredQuery_FieldFilter_LESS_THAN, p.run)
	earlier.Limit = wrapperspb.Int32(1)
	found, err := p.s.query(ctx, earlier)
	if err == nil && len(found) > 0 {
		err = store.ErrConflict
	}
	return err
}

func (p *purge) writes() []*pb.Write {
	var all []*pb.Write // in this order: see update
	switch {
	case p.dropHead:
		all = append(all, drop(p.s.head(p.caseID), asFound(p.head)))
	case p.newHead != nil:
		head := set(p.s.head(p.caseID), p.s.headFields(*p.newHead, time.Time{}), asFound(p.head))
		head.UpdateMask = &pb.DocumentMask{FieldPaths: []string{"run", "version", "keys"}} // it expires when it was to
		all = append(all, head)
	}
	all = append(all, drop(p.s.run(p.caseID, p.run), p.runWhen))
	for _, v := range []store.Value{store.Form, store.Result, store.LateResult} {
		all = append(all, p.s.dropValue(p.caseID, p.run, v))
	}
	return all
}

func (p *purge) saved(results []*pb.WriteResult) {
	p.s.memo.forget(p.caseID, p.run)
	switch {
	case p.dropHead:
		p.s.memo.forget(p.caseID, 0)
	case p.newHead != nil:
		p.s.memo.put(p.caseID, 0, stamp{
			version: p.newHead.Version, run: p.newHead.Run, updated: results[0].GetUpdateTime(),
		})
	}
}
