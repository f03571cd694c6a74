package firestore

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// shards is over how many parts of the index the records to wake are spread. A query may ask for at most 30 at once
// (https://firebase.google.com/docs/firestore/query-data/queries#query_limitations).
const shards = 16

const (
	// maxDocument is the largest document that Firestore keeps, in bytes
	// (https://docs.cloud.google.com/firestore/quotas).
	maxDocument = 1 << 20
	// maxNames is above what the names of a document and of its fields take of that.
	maxNames = 8 << 10
)

// A value is a document of its own, and fits. This does not compile if it does not.
const _ uint = maxDocument - maxNames - store.MaxValue

// names are those of a database and its documents.
type names struct {
	database string // projects/P/databases/D
	root     string // of the documents
}

func newNames(project, database string) names {
	if database == "" {
		database = "(default)"
	}
	path := "projects/" + project + "/databases/" + database
	return names{path, path + "/documents"}
}

func (n names) head(caseID string) string         { return n.root + "/heads/" + caseKey(caseID) }
func (n names) run(caseID string, run int) string { return n.root + "/runs/" + runKey(caseID, run) }
func (n names) value(caseID string, run int, v store.Value) string {
	return n.root + "/values/" + runKey(caseID, run) + "~" + string(v)
}

func (n names) durationStats(pipeline string) string { return n.root + "/learned/" + pipeline }

// caseKey is the case id behind a piece of its hash.
func caseKey(caseID string) string {
	sum := sha256.Sum256([]byte(caseID))
	return hex.EncodeToString(sum[:4]) + "-" + caseID
}

func runKey(caseID string, run int) string { return caseKey(caseID) + "~" + strconv.Itoa(run) }

func shard(caseID string) int64 {
	sum := sha256.Sum256([]byte(caseID))
	return int64(sum[0] % shards)
}

// fields are those of a document.
type fields = map[string]*pb.Value

func text(s string) *pb.Value  { return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: s}} }
func number(n int64) *pb.Value { return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: n}} }
func truth(b bool) *pb.Value   { return &pb.Value{ValueType: &pb.Value_BooleanValue{BooleanValue: b}} }
func opaque(data []byte) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_BytesValue{BytesValue: data}}
}

func list(values []*pb.Value) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: values}}}
}

// moment is a time to the microsecond, which is what Firestore keeps.
func moment(t time.Time) *pb.Value {
	at := timestamppb.New(time.UnixMicro(t.UnixMicro()))
	return &pb.Value{ValueType: &pb.Value_TimestampValue{TimestampValue: at}}
}

// expiring adds when Firestore is to delete the document of a run with that deadline; never if it has none.
func (s *Store) expiring(f fields, deadline time.Time) fields {
	if !deadline.IsZero() {
		f["expire_at"] = moment(deadline.Add(s.keep))
	}
	return f
}

func (s *Store) headFields(h store.Head, deadline time.Time) fields {
	keys := make(fields, len(h.Keys))
	for key, run := range h.Keys {
		keys[key] = number(int64(run))
	}
	return s.expiring(fields{
		"run":     number(int64(h.Run)),
		"version": number(h.Version),
		"owner":   text(h.Owner),
		"keys":    {ValueType: &pb.Value_MapValue{MapValue: &pb.MapValue{Fields: keys}}},
	}, deadline)
}

func (s *Store) runFields(c cases.Case) (fields, error) {
	record, err := c.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return s.expiring(fields{
		"case_id":    text(c.CaseID),
		"case_key":   text(caseKey(c.CaseID)),
		"run":        number(int64(c.Run)),
		"version":    number(c.Version),
		"wake_at":    moment(c.Bookkeeping.OverdueAt),
		"shard":      number(shard(c.CaseID)),
		"open":       truth(!c.State.Ended()),
		"state":      text(string(c.State)),
		"created_at": moment(c.CreatedAt),
		"record":     opaque(record),
	}, c.DeadlineAt), nil
}

// toHead is the head that a document holds.
func toHead(caseID string, d *pb.Document) store.Head {
	h := store.Head{
		CaseID:  caseID,
		Run:     runOf(d),
		Version: versionOf(d),
		Owner:   d.GetFields()["owner"].GetStringValue(),
	}
	for key, run := range d.GetFields()["keys"].GetMapValue().GetFields() {
		if h.Keys == nil {
			h.Keys = map[string]int{}
		}
		h.Keys[key] = int(run.GetIntegerValue())
	}
	return h
}

// toCase is the record that a document holds.
func toCase(d *pb.Document) (cases.Case, error) {
	var c cases.Case
	if err := c.UnmarshalJSON(d.GetFields()["record"].GetBytesValue()); err != nil {
		return cases.Case{}, fmt.Errorf("the record in %s: %w", d.GetName(), err)
	}
	return c, nil
}

func runOf(d *pb.Document) int       { return int(d.GetFields()["run"].GetIntegerValue()) }
func versionOf(d *pb.Document) int64 { return d.GetFields()["version"].GetIntegerValue() }
func isOpen(d *pb.Document) bool     { return d.GetFields()["open"].GetBooleanValue() }

// trailLength is how many writers a record remembers. Each leaves a nonce, so that one whose answer
// was lost can tell that its write is in, even if others came after it.
const trailLength = 16

func newNonce() string { return rand.Text()[:12] }

func trail(nonces []string) *pb.Value {
	values := make([]*pb.Value, len(nonces))
	for i, nonce := range nonces {
		values[i] = text(nonce)
	}
	return list(values)
}

func trailOf(d *pb.Document) []string {
	var nonces []string
	for _, v := range d.GetFields()["trail"].GetArrayValue().GetValues() {
		nonces = append(nonces, v.GetStringValue())
	}
	return nonces
}

// withoutRun returns keys without those of a run, and whether there were any.
func withoutRun(keys map[string]int, run int) (map[string]int, bool) {
	left := maps.Clone(keys)
	maps.DeleteFunc(left, func(_ string, of int) bool { return of == run })
	return left, len(left) < len(keys)
}
