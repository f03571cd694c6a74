package firestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
)

func TestOpenRefuses(t *testing.T) {
	_, err := Open(t.Context(), store.Options{Retention: -1, EmulatorHost: "127.0.0.1:1"})
	for _, want := range []string{"no project", "retention of -1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

// TestOutlivesItsContext: the context of Open is for opening; and databases of other names are others.
func TestOutlivesItsContext(t *testing.T) {
	o := options(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cancel()
	save(t, s, "a")
	o.Location = "other"
	other := opened(t, o)
	save(t, other, "a")
	mustDo(t, s.Wait(t.Context(), "a", 1, 0))
	if n, err := s.CountOpen(t.Context()); n != 1 || err != nil {
		t.Errorf("%d open, error %v", n, err)
	}
}

// TestNegativeLimit: a limit below zero is a page without records.
func TestNegativeLimit(t *testing.T) {
	s := opened(t, options(t))
	save(t, s, "a")
	if page, err := s.Overdue(t.Context(), time.Now().AddDate(100, 0, 0), store.Cursor{}, -1); err != nil ||
		len(page) != 0 {
		t.Errorf("a limit below zero: %d records, error %v", len(page), err)
	}
}

// TestSpread: ids in the order of time come to lie evenly, whatever they are made of.
func TestSpread(t *testing.T) {
	const n = 16_000
	var perShard [shards]int
	for i := range n {
		id := fmt.Sprintf("0199a3c1-7e2b-7%03x-8000-0000000%05d", i>>8, i)
		perShard[shard(id)]++
		if key := caseKey(id); !strings.HasSuffix(key, "-"+id) || len(key) != len(id)+9 {
			t.Fatalf("key %q", key)
		}
	}
	for i, got := range perShard {
		if got < n/shards*8/10 || got > n/shards*12/10 {
			t.Errorf("%d of %d are in shard %d", got, n, i)
		}
	}
	if a, b := runKey("a~1", 1), runKey("a", 11); a == b {
		t.Error("two runs of one name")
	}
}

// indexFile is deploy/gcp/firestore.indexes.json, in the format of the Firebase tools
// (https://firebase.google.com/docs/reference/firestore/indexes).
type indexFile struct {
	Indexes []struct {
		CollectionGroup, QueryScope string
		Fields                      []struct{ FieldPath, Order string }
	}
	FieldOverrides []struct {
		CollectionGroup, FieldPath string
		TTL                        bool
		Indexes                    []struct{ Order, QueryScope string }
	}
}

// TestIndexes: what the queries need is declared, and nothing else is indexed. The emulator would not notice.
func TestIndexes(t *testing.T) {
	data, err := os.ReadFile("../../../deploy/gcp/firestore.indexes.json")
	if err != nil {
		t.Fatal(err)
	}
	var file indexFile
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	var declared []string
	for _, index := range file.Indexes {
		name := index.CollectionGroup + " " + index.QueryScope
		for _, f := range index.Fields {
			name += " " + f.FieldPath + " " + f.Order
		}
		declared = append(declared, name)
	}
	needed := []string{
		"runs COLLECTION " + needs(overdueQuery(time.Now(), store.Cursor{}, 1)),
		"runs COLLECTION " + needs(caseQuery("a", pb.StructuredQuery_FieldFilter_LESS_THAN, 1)),
		"runs COLLECTION " + needs(listQuery(store.Filter{}, store.Place{}, 1)),
		"runs COLLECTION " + needs(listQuery(store.Filter{State: cases.Failed}, store.Place{}, 1)),
	}
	if !slices.Equal(declared, needed) {
		t.Errorf("declared %q, needed %q", declared, needed)
	}
	for _, f := range []store.Filter{
		{Since: time.Now()}, {Before: time.Now()},
		{Since: time.Now(), Before: time.Now(), State: cases.Failed},
	} {
		if index := "runs COLLECTION " + needs(listQuery(f, store.PlaceOf(begin("a").Case), 1)); !slices.Contains(
			declared,
			index,
		) {
			t.Errorf("%+v needs %q", f, index)
		}
	}

	s := opened(t, options(t))
	save(t, s, "a")
	if err := s.SaveDurationStats(t.Context(), "default", schedule.DurationStats{Version: 1}); err != nil &&
		!errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	docs, err := s.read(t.Context(), nil,
		s.head("a"), s.run("a", 1), s.value("a", 1, store.Form), s.durationStats("default"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // collection.field -> its indexes and TTL
		"runs.open": "ASCENDING", "runs.state": "ASCENDING", // CountOpen and CountByState ask for these alone
	}
	for i, collection := range []string{"heads", "runs", "values", "learned"} {
		want[collection+".*"] = "" // stands for every field that is not named
		if _, expires := docs[i].GetFields()["expire_at"]; expires {
			want[collection+".expire_at"] = "TTL"
		}
	}
	got := map[string]string{}
	for _, f := range file.FieldOverrides {
		how := ""
		for _, index := range f.Indexes {
			how += index.Order
		}
		if f.TTL {
			how += "TTL"
		}
		got[f.CollectionGroup+"."+f.FieldPath] = how
	}
	if !maps.Equal(got, want) {
		t.Errorf("indexes of single fields, and TTL: %v, want %v", got, want)
	}
}

// needs is the index that a query needs: the fields that it compares for equality, then those of its order.
func needs(q *pb.StructuredQuery) string {
	var names []string
	for _, f := range q.GetWhere().GetCompositeFilter().GetFilters() {
		switch f := f.GetFieldFilter(); f.GetOp() {
		case pb.StructuredQuery_FieldFilter_EQUAL, pb.StructuredQuery_FieldFilter_IN:
			names = append(names, f.GetField().GetFieldPath()+" ASCENDING")
		}
	}
	for _, o := range q.GetOrderBy() {
		names = append(names, o.GetField().GetFieldPath()+" "+o.GetDirection().String())
	}
	return strings.Join(names, " ")
}
