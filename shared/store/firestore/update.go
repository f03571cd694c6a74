package firestore

import (
	"context"
	"slices"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"

	"github.com/casewatch/casewatch/shared/store"
)

// Update implements [store.Store]. One call, which writes the record and its values; two more, one
// a read, if the record is not as this Store saw it last.
func (s *Store) Update(ctx context.Context, w store.Write) error {
	if w.Case.State.Ended() {
		ctx = withUrgency(ctx)
	}
	u, err := s.newUpdate(w)
	if err == nil {
		err = s.save(ctx, u)
	}
	return wrap(ctx, err, "updating %q run %d", w.Case.CaseID, w.Case.Run)
}

// update is a store.Write on its way.
type update struct {
	s *Store
	store.Write
	fields fields
	nonce  string
	before stamp // what it replaces
}

func (s *Store) newUpdate(w store.Write) (*update, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	f, err := s.runFields(w.Case)
	return &update{s: s, Write: w, fields: f, nonce: newNonce()}, err
}

func (u *update) recall() bool {
	known, ok := u.s.memo.get(u.Case.CaseID, u.Case.Run)
	if !ok || known.version != u.Case.Version-1 {
		return false
	}
	u.before = known
	return true
}

func (u *update) look(ctx context.Context) (bool, error) {
	docs, err := u.s.read(ctx, conditions, u.s.run(u.Case.CaseID, u.Case.Run))
	if err != nil {
		return false, err
	}
	u.s.memo.putDocument(u.Case.CaseID, u.Case.Run, docs[0])
	switch {
	case docs[0] == nil:
		return false, store.ErrNotFound
	case slices.Contains(trailOf(docs[0]), u.nonce):
		return true, nil
	}
	return false, u.expect(docs[0])
}

// expect takes the precondition from the record as it is, if that is the one to replace.
func (u *update) expect(d *pb.Document) error {
	if d == nil || versionOf(d) != u.Case.Version-1 {
		return store.ErrConflict
	}
	u.before = stampOf(d)
	return nil
}

// writes are in the order in which a reader may come to see them one by one. Firestore shows a
// commit at once; its emulator shows one document after the other, as they stand here: what a
// record tells of is to be there before it, and gone after it.
func (u *update) writes() []*pb.Write {
	var all []*pb.Write
	for v, data := range u.Put {
		all = append(all, u.s.setValue(u.Case, v, data))
	}
	u.fields["trail"] = trail(u.after())
	all = append(all, set(u.s.run(u.Case.CaseID, u.Case.Run), u.fields, as(u.before.updated)))
	for _, v := range u.Drop {
		all = append(all, u.s.dropValue(u.Case.CaseID, u.Case.Run, v))
	}
	return all
}

// after is the trail that it leaves.
func (u *update) after() []string {
	old := u.before.trail
	return append(slices.Clone(old[max(0, len(old)-trailLength+1):]), u.nonce)
}

func (u *update) saved(results []*pb.WriteResult) {
	u.s.memo.put(u.Case.CaseID, u.Case.Run, stamp{
		version: u.Case.Version, run: u.Case.Run, updated: results[len(u.Put)].GetUpdateTime(), trail: u.after(),
	})
}

// conditions are the fields that decide whether a change can be made.
var conditions = []string{"run", "version", "open", "trail", "keys"}
