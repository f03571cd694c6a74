package firestore

import (
	"context"
	"errors"
	"fmt"
	"io"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/casewatch/casewatch/shared/overload"
)

// listen returns nil when there is what w waits for, ErrNotFound when the run is gone, errQuiet
// when nothing of that came for a while, and errDeaf when it could not listen. Its stream is over
// when it returns.
func (s *Store) listen(ctx context.Context, w watched) (err error) {
	select {
	case s.listening.places <- struct{}{}:
		defer func() { <-s.listening.places }()
	default:
		return fmt.Errorf("%w: %d streams are open", errDeaf, cap(s.listening.places))
	}
	client, err := s.listener(ctx)
	if err != nil {
		return err
	}
	end, ok := s.listening.opening.Begin()
	if !ok {
		return fmt.Errorf("%w: others are at it, or could not", errDeaf)
	}
	seen := snapshot{documents: map[string]stamp{}}
	opened := false
	defer func() {
		if !opened {
			end(unopened(ctx, err))
		}
	}()
	limited, cancel := context.WithTimeout(s.routed(ctx), s.listening.atMost)
	defer cancel()
	stream, err := client.Listen(limited)
	if err != nil {
		return whyDeaf(ctx, limited, err, false)
	}
	var over error
	defer func() {
		for cancel(); over == nil; {
			_, over = stream.Recv()
		}
	}()
	_ = stream.Send(s.listenRequest(w)) // an error is told by Recv
	for {
		var news *pb.ListenResponse
		if news, over = stream.Recv(); over != nil {
			return whyDeaf(ctx, limited, over, seen.current)
		}
		whole, err := seen.take(news)
		if seen.current && !opened {
			opened = true
			end(overload.Succeeded)
		}
		if err != nil {
			return whyDeaf(ctx, limited, err, seen.current)
		}
		if !whole {
			continue
		}
		if newer, err := s.judge(ctx, w, &seen); newer || err != nil {
			return err
		}
	}
}

// unopened is what it tells of the database that a stream did not tell what there is.
func unopened(ctx context.Context, err error) overload.Outcome {
	switch {
	case ctx.Err() != nil:
		return overload.Abandoned
	case errors.Is(err, errDeaf):
		return overload.Failed
	}
	return overload.Succeeded
}

// target is the number of the one thing that a stream listens to.
const target = 1

// listenRequest asks for the run, and for the head, which names a newer one. There is nothing to
// resume: each stream begins with what is there.
//
// It names two documents, and is no query for the runs of the case: that would cost a document read
// less, but Firestore's emulator runs each query that is listened to again at each commit, whatever
// that changes, while no other commit goes on.
func (s *Store) listenRequest(w watched) *pb.ListenRequest {
	documents := &pb.Target_DocumentsTarget{Documents: []string{s.run(w.caseID, w.run), s.head(w.caseID)}}
	return &pb.ListenRequest{Database: s.database, TargetChange: &pb.ListenRequest_AddTarget{
		AddTarget: &pb.Target{TargetId: target, TargetType: &pb.Target_Documents{Documents: documents}},
	}}
}

// whyDeaf makes of the end of a stream what it means for who waits.
func whyDeaf(ctx, limited context.Context, err error, current bool) error {
	switch code := status.Code(err); {
	case ctx.Err() != nil:
		return ctx.Err()
	case current && (limited.Err() != nil || code == codes.DeadlineExceeded):
		return errQuiet
	case limited.Err() != nil, transient(err), errors.Is(err, io.EOF), code == codes.Unknown, code == codes.Canceled:
		return fmt.Errorf("%w: %v", errDeaf, err)
	}
	return err
}

// snapshot is what a stream told of so far.
type snapshot struct {
	documents map[string]stamp // by name
	current   bool             // all that is there was told
	changed   bool             // since it was judged last
}

// take adds what the stream told, and reports whether the documents are now as they were at one moment.
func (n *snapshot) take(r *pb.ListenResponse) (whole bool, err error) {
	switch r := r.GetResponseType().(type) {
	case *pb.ListenResponse_DocumentChange:
		doc := r.DocumentChange.GetDocument()
		if len(r.DocumentChange.GetTargetIds()) == 0 {
			n.gone(doc.GetName())
			break
		}
		n.documents[doc.GetName()] = stamp{version: versionOf(doc), run: runOf(doc)}
		n.changed = true
	case *pb.ListenResponse_DocumentDelete:
		n.gone(r.DocumentDelete.GetDocument())
	case *pb.ListenResponse_DocumentRemove:
		n.gone(r.DocumentRemove.GetDocument())
	case *pb.ListenResponse_Filter:
		if int(r.Filter.GetCount()) != len(n.documents) {
			return false, fmt.Errorf("%w: the stream lost a document", errDeaf)
		}
	case *pb.ListenResponse_TargetChange:
		return n.turn(r.TargetChange)
	}
	return false, nil
}

func (n *snapshot) gone(name string) {
	delete(n.documents, name)
	n.changed = true
}

func (n *snapshot) turn(c *pb.TargetChange) (whole bool, err error) {
	switch c.GetTargetChangeType() {
	case pb.TargetChange_CURRENT:
		n.current = true
	case pb.TargetChange_RESET:
		clear(n.documents)
		n.current, n.changed = false, true
	case pb.TargetChange_REMOVE:
		if c.GetCause().GetCode() == int32(codes.OK) {
			return false, fmt.Errorf("%w: the stream was ended", errDeaf)
		}
		return false, status.ErrorProto(c.GetCause())
	case pb.TargetChange_NO_CHANGE:
		return n.current && len(c.GetTargetIds()) == 0 && c.GetReadTime() != nil, nil
	}
	return false, nil
}

// judge reports whether there is what w waits for.
func (s *Store) judge(ctx context.Context, w watched, n *snapshot) (bool, error) {
	run, here := n.documents[s.run(w.caseID, w.run)]
	if !n.changed && here {
		return false, nil
	}
	n.changed = false
	switch {
	case !here: // the emulator says so now and then of a run that is just being written
		return s.newer(ctx, w)
	case run.version > w.version:
		return true, nil
	}
	return n.documents[s.head(w.caseID)].run > w.run, nil
}
