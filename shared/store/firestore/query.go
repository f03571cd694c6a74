package firestore

import (
	"math"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/casewatch/casewatch/shared/store"
)

// overdueQuery asks all shards at once: Firestore walks through the index of each and merges what it finds, in order.
func overdueQuery(before time.Time, after store.Cursor, limit int) *pb.StructuredQuery {
	var all []*pb.Value
	for shard := range shards {
		all = append(all, number(int64(shard)))
	}
	q := &pb.StructuredQuery{
		From: []*pb.StructuredQuery_CollectionSelector{{CollectionId: "runs"}},
		Where: both(
			where("shard", pb.StructuredQuery_FieldFilter_IN, list(all)),
			where("wake_at", pb.StructuredQuery_FieldFilter_LESS_THAN, moment(before)),
		),
		OrderBy: ascending("wake_at", "case_id", "run"),
		Limit:   wrapperspb.Int32(int32(min(limit, math.MaxInt32))),
	}
	if after != (store.Cursor{}) {
		q.StartAt = &pb.Cursor{Values: []*pb.Value{moment(after.WakeAt), text(after.CaseID), number(int64(after.Run))}} // after, in spite of its name
	}
	return q
}

// caseQuery asks for the runs of a case whose number compares like that.
func caseQuery(caseID string, op pb.StructuredQuery_FieldFilter_Operator, run int) *pb.StructuredQuery {
	return &pb.StructuredQuery{
		From: []*pb.StructuredQuery_CollectionSelector{{CollectionId: "runs"}},
		Where: both(
			where("case_key", pb.StructuredQuery_FieldFilter_EQUAL, text(caseKey(caseID))),
			where("run", op, number(int64(run))),
		),
		OrderBy: ascending("run"),
	}
}

func field(name string) *pb.StructuredQuery_FieldReference {
	return &pb.StructuredQuery_FieldReference{FieldPath: name}
}

func where(name string, op pb.StructuredQuery_FieldFilter_Operator, v *pb.Value) *pb.StructuredQuery_Filter {
	return &pb.StructuredQuery_Filter{FilterType: &pb.StructuredQuery_Filter_FieldFilter{
		FieldFilter: &pb.StructuredQuery_FieldFilter{Field: field(name), Op: op, Value: v},
	}}
}

func both(filters ...*pb.StructuredQuery_Filter) *pb.StructuredQuery_Filter {
	return &pb.StructuredQuery_Filter{FilterType: &pb.StructuredQuery_Filter_CompositeFilter{
		CompositeFilter: &pb.StructuredQuery_CompositeFilter{Op: pb.StructuredQuery_CompositeFilter_AND, Filters: filters},
	}}
}

func ascending(names ...string) []*pb.StructuredQuery_Order {
	var orders []*pb.StructuredQuery_Order
	for _, name := range names {
		orders = append(orders, &pb.StructuredQuery_Order{Field: field(name), Direction: pb.StructuredQuery_ASCENDING})
	}
	return orders
}
