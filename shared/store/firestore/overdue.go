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
	docs, err := s.query(ctx, overdueQuery(before, after, limit))
	if err != nil {
		return nil, wrap(ctx, err, "reading what is overdue")
	}
	found := make([]cases.Case, len(docs))
	for i, d := range docs {
		if found[i], err = toCase(d); err != nil {
			return nil, wrap(ctx, err, "reading what is overdue")
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

// CountOpen implements [store.Store]. One call, billed as one document read for 1000 counted.
func (s *Store) CountOpen(ctx context.Context) (int, error) {
	request := &pb.RunAggregationQueryRequest{
		Parent: s.root,
		QueryType: &pb.RunAggregationQueryRequest_StructuredAggregationQuery{StructuredAggregationQuery: &pb.StructuredAggregationQuery{
			QueryType: &pb.StructuredAggregationQuery_StructuredQuery{StructuredQuery: &pb.StructuredQuery{
				From:  []*pb.StructuredQuery_CollectionSelector{{CollectionId: "runs"}},
				Where: where("open", pb.StructuredQuery_FieldFilter_EQUAL, truth(true)),
			}},
			Aggregations: []*pb.StructuredAggregationQuery_Aggregation{{
				Alias:    "n",
				Operator: &pb.StructuredAggregationQuery_Aggregation_Count_{Count: &pb.StructuredAggregationQuery_Aggregation_Count{}},
			}},
		}},
	}
	var n int64
	err := s.call(ctx, func(ctx context.Context) error {
		stream, err := s.client.RunAggregationQuery(ctx, request)
		if err != nil {
			return err
		}
		return receive(stream, func(r *pb.RunAggregationQueryResponse) {
			if counted, ok := r.GetResult().GetAggregateFields()["n"]; ok {
				n = counted.GetIntegerValue()
			}
		})
	})
	return int(n), wrap(ctx, err, "counting open runs")
}
