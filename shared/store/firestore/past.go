package firestore

import (
	"context"
	"encoding/json"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// Past implements [store.Store]. One call, one document read.
func (s *Store) Past(ctx context.Context) (cases.Past, error) {
	docs, err := s.read(ctx, nil, s.past())
	if err != nil || docs[0] == nil {
		return cases.Past{}, wrap(ctx, err, "reading the past")
	}
	return cases.PastOf(versionOf(docs[0]), docs[0].GetFields()["data"].GetBytesValue()), nil
}

// SavePast implements [store.Store]. Two calls, one document read and one written. Firestore takes about one write a second of one document
// for long (https://firebase.google.com/docs/firestore/best-practices); who saves does so more seldom.
func (s *Store) SavePast(ctx context.Context, p cases.Past) error {
	return wrap(ctx, s.savePast(ctx, p), "saving the past")
}

func (s *Store) savePast(ctx context.Context, p cases.Past) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	docs, err := s.read(ctx, []string{"version"}, s.past())
	if err != nil {
		return err
	}
	if versionOf(docs[0]) != p.Version-1 { // no document: 0
		return store.ErrConflict
	}
	f := fields{"version": number(p.Version), "data": opaque(data)}
	_, err = s.commit(ctx, []*pb.Write{set(s.past(), f, asFound(docs[0]))})
	if err != nil && refused(err) {
		return store.ErrConflict
	}
	return err
}
