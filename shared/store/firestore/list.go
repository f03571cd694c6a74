package firestore

import (
	"context"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// Overdue implements [store.Store]. One call, which reads the documents that it returns.
func (s *Store) Overdue(ctx context.Context, before time.Time, after store.Cursor, limit int) ([]cases.Case, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	found, err := s.records(ctx, overdueQuery(before, after, limit))
	return found, wrap(ctx, err, "reading what is overdue")
}

// List implements [store.Store]. One call, which reads the documents that it returns.
func (s *Store) List(ctx context.Context, f store.Filter, after store.Place, limit int) ([]cases.Case, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	found, err := s.records(ctx, listQuery(f, after, limit))
	return found, wrap(ctx, err, "listing")
}

// records returns the records that a query finds.
func (s *Store) records(ctx context.Context, q *pb.StructuredQuery) ([]cases.Case, error) {
	docs, err := s.query(ctx, q)
	if err != nil {
		return nil, err
	}
	found := make([]cases.Case, len(docs))
	for i, d := range docs {
		if found[i], err = toCase(d); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (s *Store) query(ctx context.Context, q *pb.StructuredQuery) ([]*pb.Document, error) {
	var found []*pb.Document
	err := s.call(ctx, func(ctx context.Context) error {
		found = nil
		stream, err := s.client.RunQuery(ctx, &pb.RunQueryRequest{
			Parent: s.root, QueryType: &pb.RunQueryRequest_StructuredQuery{StructuredQuery: q},
		})
		if err != nil {
			return err
		}
		return receive(stream, func(r *pb.RunQueryResponse) {
			if d := r.GetDocument(); d != nil { // else it tells of progress
				found = append(found, d)
			}
		})
	})
	return found, err
}
