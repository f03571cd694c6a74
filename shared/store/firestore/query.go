package firestore

import (
	"math"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/casewatch/casewatch/shared/store"
)

// inAllShards asks all shards at once: Firestore walks through the index of each and merges what it finds, in order.
func inAllShards() *pb.StructuredQuery_Filter {
	var each []*pb.Value
	for shard := range shards {
		each = append(each, number(int64(shard)))
	}
	return where("shard", pb.StructuredQuery_FieldFilter_IN, list(each))
}

// startAfter is where a query goes on. The cursor is of the field StartAt, and lies, in spite of
// that name, after what it names.
func startAfter(at time.Time, caseID string, run int) *pb.Cursor {
	return &pb.Cursor{Values: []*pb.Value{moment(at), text(caseID), number(int64(run))}}
}

func atMost(limit int) *wrapperspb.Int32Value {
	return wrapperspb.Int32(int32(min(limit, math.MaxInt32)))
}

func overdueQuery(before time.Time, after store.Cursor, limit int) *pb.StructuredQuery {
	q := &pb.StructuredQuery{
		From:    []*pb.StructuredQuery_CollectionSelector{{CollectionId: "runs"}},
		Where:   all(inAllShards(), where("wake_at", pb.StructuredQuery_FieldFilter_LESS_THAN, moment(before))),
		OrderBy: ascending("wake_at", "case_id", "run"),
		Limit:   atMost(limit),
	}
	if after != (store.Cursor{}) {
		q.StartAt = startAfter(after.OverdueAt, after.CaseID, after.Run)
	}
	return q
}

// listQuery asks for no more than the filter says, so that each of its two indexes serves with and without the times.
func listQuery(f store.Filter, after store.Place, limit int) *pb.StructuredQuery {
	filters := []*pb.StructuredQuery_Filter{inAllShards()}
	if f.State != "" {
		filters = append(filters, where("state", pb.StructuredQuery_FieldFilter_EQUAL, text(string(f.State))))
	}
	if !f.Since.IsZero() {
		filters = append(
			filters,
			where("created_at", pb.StructuredQuery_FieldFilter_GREATER_THAN_OR_EQUAL, moment(f.Since)),
		)
	}
	q := &pb.StructuredQuery{
		From:    []*pb.StructuredQuery_CollectionSelector{{CollectionId: "runs"}},
		Where:   all(filters...),
		OrderBy: descending("created_at", "case_id", "run"),
		Limit:   atMost(limit),
	}
	if from := f.Start(after); !from.IsZero() {
		q.StartAt = startAfter(from.CreatedAt, from.CaseID, from.Run)
	}
	return q
}

// caseQuery asks for the runs of a case whose number compares like that.
func caseQuery(caseID string, op pb.StructuredQuery_FieldFilter_Operator, run int) *pb.StructuredQuery {
	return &pb.StructuredQuery{
		From: []*pb.StructuredQuery_CollectionSelector{{CollectionId: "runs"}},
		Where: all(
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

func all(filters ...*pb.StructuredQuery_Filter) *pb.StructuredQuery_Filter {
	return &pb.StructuredQuery_Filter{FilterType: &pb.StructuredQuery_Filter_CompositeFilter{
		CompositeFilter: &pb.StructuredQuery_CompositeFilter{
			Op:      pb.StructuredQuery_CompositeFilter_AND,
			Filters: filters,
		},
	}}
}

func ascending(names ...string) []*pb.StructuredQuery_Order {
	return ordered(pb.StructuredQuery_ASCENDING, names)
}

func descending(names ...string) []*pb.StructuredQuery_Order {
	return ordered(pb.StructuredQuery_DESCENDING, names)
}

func ordered(direction pb.StructuredQuery_Direction, names []string) []*pb.StructuredQuery_Order {
	var orders []*pb.StructuredQuery_Order
	for _, name := range names {
		orders = append(orders, &pb.StructuredQuery_Order{Field: field(name), Direction: direction})
	}
	return orders
}
