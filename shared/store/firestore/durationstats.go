package firestore

import (
	"context"
	"encoding/json"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"

	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
)

// DurationStats implements [store.Store]. One call, one document read.
func (s *Store) DurationStats(ctx context.Context, pipeline string) (schedule.DurationStats, error) {
	docs, err := s.read(ctx, nil, s.durationStats(pipeline))
	if err != nil || docs[0] == nil {
		return schedule.DurationStats{}, wrap(ctx, err, "reading the duration statistics")
	}
	return schedule.DecodeDurationStats(versionOf(docs[0]), docs[0].GetFields()["data"].GetBytesValue()), nil
}

// SaveDurationStats implements [store.Store]. Two calls, one document read and one written.
// Firestore takes about one write a second of one document for long
// (https://firebase.google.com/docs/firestore/best-practices); who saves does so more seldom.
func (s *Store) SaveDurationStats(ctx context.Context, pipeline string, p schedule.DurationStats) error {
	return wrap(ctx, s.saveDurationStats(ctx, pipeline, p), "saving the duration statistics")
}

func (s *Store) saveDurationStats(ctx context.Context, pipeline string, p schedule.DurationStats) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	docs, err := s.read(ctx, []string{"version"}, s.durationStats(pipeline))
	if err != nil {
		return err
	}
	if versionOf(docs[0]) != p.Version-1 { // no document: 0
		return store.ErrConflict
	}
	f := fields{"version": number(p.Version), "data": opaque(data)}
	_, err = s.commit(ctx, []*pb.Write{set(s.durationStats(pipeline), f, asFound(docs[0]))})
	if err != nil && refused(err) {
		return store.ErrConflict
	}
	return err
}
