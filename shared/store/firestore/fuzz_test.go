package firestore

import (
	"encoding/json"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/proto"

	"github.com/casewatch/casewatch/shared/cases"
)

// FuzzDocument: a document that is none of ours is an error or an empty record, and never a panic.
func FuzzDocument(f *testing.F) {
	record, err := json.Marshal(
		cases.Case{
			Origin:  cases.Origin{CaseID: "a", Run: 1, CreatedAt: time.Unix(1, 0)},
			Version: 2,
			State:   cases.Running,
		},
	)
	if err != nil {
		f.Fatal(err)
	}
	ours, err := proto.Marshal(&pb.Document{Name: "x", Fields: map[string]*pb.Value{
		"record": opaque(record), "run": number(1), "version": number(2),
		"keys": {ValueType: &pb.Value_MapValue{MapValue: &pb.MapValue{Fields: map[string]*pb.Value{"k": number(1)}}}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ours)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var d pb.Document
		if proto.Unmarshal(data, &d) != nil {
			return
		}
		if h := toHead("a", &d); h.CaseID != "a" {
			t.Errorf("%+v", h)
		}
		c, err := toCase(&d)
		var want cases.Case
		if (json.Unmarshal(d.GetFields()["record"].GetBytesValue(), &want) == nil) != (err == nil) ||
			c.CaseID != want.CaseID {
			t.Errorf("%+v, %v", c, err)
		}
	})
}
