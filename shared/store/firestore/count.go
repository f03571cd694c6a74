package firestore

import (
	"context"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/casewatch/casewatch/shared/cases"
)

// CountOpen implements [store.Store]. One call, billed as one document read for 1000 counted.
func (s *Store) CountOpen(ctx context.Context) (int, error) {
	n, _, err := s.count(ctx, where("open", pb.StructuredQuery_FieldFilter_EQUAL, truth(true)), nil)
	return n, wrap(ctx, err, "counting open runs")
}

// CountByState implements [store.Store]. A call for each state, one after the other, each billed as
// one document read for 1000 counted; all count as of the moment of the first.
func (s *Store) CountByState(ctx context.Context) (map[cases.State]int, error) {
	counts := map[cases.State]int{}
	var at *timestamppb.Timestamp
	for _, state := range cases.States() {
		n, read, err := s.count(ctx, where("state", pb.StructuredQuery_FieldFilter_EQUAL, text(string(state))), at)
		if err != nil {
			return nil, wrap(ctx, err, "counting %s runs", state)
		}
		counts[state], at = n, read
	}
	return counts, nil
}

// count counts the runs for which a condition holds, at the given moment, or now and tells when that was.
func (s *Store) count(
	ctx context.Context,
	condition *pb.StructuredQuery_Filter,
	at *timestamppb.Timestamp,
) (int, *timestamppb.Timestamp, error) {
	request := &pb.RunAggregationQueryRequest{
		Parent: s.root,
		QueryType: &pb.RunAggregationQueryRequest_StructuredAggregationQuery{
			StructuredAggregationQuery: &pb.StructuredAggregationQuery{
				QueryType: &pb.StructuredAggregationQuery_StructuredQuery{StructuredQuery: &pb.StructuredQuery{
					From:  []*pb.StructuredQuery_CollectionSelector{{CollectionId: "runs"}},
					Where: condition,
				}},
				Aggregations: []*pb.StructuredAggregationQuery_Aggregation{{
					Alias: "n",
					Operator: &pb.StructuredAggregationQuery_Aggregation_Count_{
						Count: &pb.StructuredAggregationQuery_Aggregation_Count{},
					},
				}},
			},
		},
	}
	if at != nil {
		request.ConsistencySelector = &pb.RunAggregationQueryRequest_ReadTime{ReadTime: at}
	}
	var n int64
	var read *timestamppb.Timestamp
	err := s.call(ctx, func(ctx context.Context) error {
		stream, err := s.client.RunAggregationQuery(ctx, request)
		if err != nil {
			return err
		}
		return receive(stream, func(r *pb.RunAggregationQueryResponse) {
			if counted, ok := r.GetResult().GetAggregateFields()["n"]; ok {
				n, read = counted.GetIntegerValue(), r.GetReadTime()
			}
		})
	})
	return int(n), read, err
}
