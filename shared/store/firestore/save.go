package firestore

import (
	"context"
	"errors"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// change is one write on its way.
type change interface {
	// recall takes the preconditions from what the store remembers, and reports whether it remembers all.
	recall() bool
	// look takes them from the documents as they are. It reports true if the change is in already,
	// ErrConflict or ErrNotFound if it cannot be made any more.
	look(ctx context.Context) (done bool, err error)
	// writes are those to commit, with the preconditions; saved takes the results, in the same order.
	writes() []*pb.Write
	saved(results []*pb.WriteResult)
}

// maxLooks bounds how often a change is tried whose documents change, but not so that it could not be made.
const maxLooks = 10

// save makes the change, or nothing of it.
func (s *Store) save(ctx context.Context, c change) error {
	known := c.recall()
	for range maxLooks {
		if !known {
			if done, err := c.look(ctx); done || err != nil {
				return err
			}
		}
		results, err := s.commit(ctx, c.writes())
		switch {
		case err == nil:
			c.saved(results)
			return nil
		case !refused(err):
			return err
		}
		known = false
	}
	return store.ErrConflict
}

func (s *Store) commit(ctx context.Context, writes []*pb.Write) ([]*pb.WriteResult, error) {
	var response *pb.CommitResponse
	err := s.call(ctx, func(ctx context.Context) (err error) {
		response, err = s.client.Commit(ctx, &pb.CommitRequest{Database: s.database, Writes: writes})
		return err
	})
	if err == nil && len(response.GetWriteResults()) != len(writes) {
		err = errors.New("a commit was answered with results of other writes")
	}
	return response.GetWriteResults(), err
}

// refused reports whether a precondition did not hold. A missing database or a forbidden one is
// refused as well; the read that follows says so.
func refused(err error) bool {
	switch status.Code(err) {
	case codes.FailedPrecondition, codes.AlreadyExists, codes.NotFound:
		return true
	}
	return false
}

// The preconditions: as last updated then, or not there.
func as(updated *timestamppb.Timestamp) *pb.Precondition {
	return &pb.Precondition{ConditionType: &pb.Precondition_UpdateTime{UpdateTime: updated}}
}

// asFound is the document as found, or with nil not there.
func asFound(d *pb.Document) *pb.Precondition {
	if d == nil {
		return &pb.Precondition{ConditionType: &pb.Precondition_Exists{Exists: false}}
	}
	return as(d.GetUpdateTime())
}

// set is the write of a whole document.
func set(name string, f fields, when *pb.Precondition) *pb.Write {
	return &pb.Write{Operation: &pb.Write_Update{Update: &pb.Document{Name: name, Fields: f}}, CurrentDocument: when}
}

func drop(name string, when *pb.Precondition) *pb.Write {
	return &pb.Write{Operation: &pb.Write_Delete{Delete: name}, CurrentDocument: when}
}

// setValue is the write of a value, whether it is there or not.
func (s *Store) setValue(c cases.Case, v store.Value, data []byte) *pb.Write {
	if data == nil {
		data = []byte{}
	}
	return set(s.value(c.CaseID, c.Run, v), s.expiring(fields{"data": opaque(data)}, c.DeadlineAt), nil)
}

func (s *Store) dropValue(caseID string, run int, v store.Value) *pb.Write {
	return drop(s.value(caseID, run, v), nil)
}
