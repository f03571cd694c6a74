package firestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/overload"
	"github.com/casewatch/casewatch/shared/store"
)

// A call is tried at most maxAttempts times, each for at most attemptTimeout, with a wait in
// between, of firstBackoff and then four times the one before, give or take a half: about a second
// in all. All of it ends with the caller's context.
//
// A slow database sees fewer calls, not more: repeats are taken from the budget of the Store, and
// an attempt waits at most turnPatience until as few are under way as the database answers. A
// change that was refused because another made one is not a failed call: it is made again after a
// read, at most maxLooks times.
const (
	maxAttempts    = 5
	attemptTimeout = 15 * time.Second
	firstBackoff   = 10 * time.Millisecond

	maxUnderWay  = 100 // calls at the same time: what one connection to Google's front ends bears
	turnPatience = 2 * time.Second
)

// call runs f until it succeeds, fails for good, has failed maxAttempts times, the budget for
// repeats is spent, or ctx ends. Every call here may be repeated.
func (s *Store) call(ctx context.Context, f func(context.Context) error) error {
	wait := s.backoff
	for attempt := 1; ; attempt++ {
		end, err := s.limit.Begin(ctx, isUrgent(ctx))
		if err != nil {
			return err
		}
		err = s.attempt(ctx, f)
		o := outcome(ctx, err)
		end(o)
		switch {
		case err == nil:
			s.retries.Succeeded()
			return nil
		case ctx.Err() != nil:
			s.repeats(o)
			return fmt.Errorf("%w (attempt %d: %v)", ctx.Err(), attempt, err)
		case !transient(err):
			s.retries.Succeeded()
			return err
		case attempt == maxAttempts || !s.repeats(o):
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		if err := ctxtime.Sleep(ctx, wait/2+rand.N(wait)); err != nil {
			return err
		}
		wait *= 4
	}
}

// repeats notes a failed attempt, and reports whether there may be another.
func (s *Store) repeats(o overload.Outcome) bool { return o != overload.Failed || s.retries.Failed() }

// outcome is what the end of an attempt tells of the database. A caller that left tells nothing;
// one whose time ran out does. A refusal is an answer, and so is that another was changing the
// same.
func outcome(ctx context.Context, err error) overload.Outcome {
	switch {
	case err == nil, !transient(err) && ctx.Err() == nil, status.Code(err) == codes.Aborted:
		return overload.Succeeded
	case errors.Is(ctx.Err(), context.Canceled):
		return overload.Abandoned
	}
	return overload.Failed
}

type urgent struct{}

// withUrgency marks the calls of ctx as those of a write that carries an end: where calls wait for
// their turn, they go first.
func withUrgency(ctx context.Context) context.Context {
	return context.WithValue(ctx, urgent{}, true)
}

func isUrgent(ctx context.Context) bool { return ctx.Value(urgent{}) != nil }

func (s *Store) attempt(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(s.routed(ctx), s.attemptTimeout)
	defer cancel()
	return f(ctx)
}

// routed tells Google's front end which database a call is for.
func (s *Store) routed(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "google-cloud-resource-prefix", s.database)
}

// transient reports whether the same call may succeed a moment later.
func transient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Aborted, codes.ResourceExhausted,
		codes.Canceled: // by whoever is between here and there
		return true
	}
	return false
}

// read returns the documents of these names, nil for one that is not there, all as of one moment.
// fields are those wanted; none: all. A single document is read like that too: the call for one
// says "not found" of a missing database as well.
func (s *Store) read(ctx context.Context, fields []string, names ...string) ([]*pb.Document, error) {
	request := &pb.BatchGetDocumentsRequest{Database: s.database, Documents: names}
	if fields != nil {
		request.Mask = &pb.DocumentMask{FieldPaths: fields}
	}
	var found map[string]*pb.Document
	err := s.call(ctx, func(ctx context.Context) error {
		found = make(map[string]*pb.Document, len(names))
		stream, err := s.client.BatchGetDocuments(ctx, request)
		if err != nil {
			return err
		}
		return receive(stream, func(r *pb.BatchGetDocumentsResponse) {
			switch r := r.GetResult().(type) {
			case *pb.BatchGetDocumentsResponse_Found:
				found[r.Found.GetName()] = r.Found
			case *pb.BatchGetDocumentsResponse_Missing:
				found[r.Missing] = nil
			}
		})
	})
	if err != nil {
		return nil, err
	}
	docs := make([]*pb.Document, len(names))
	for i, name := range names {
		doc, told := found[name]
		if !told {
			return nil, fmt.Errorf("no answer about document %s", name)
		}
		docs[i] = doc
	}
	return docs, nil
}

// receive hands each message of a stream to f.
func receive[M any](stream interface{ Recv() (M, error) }, f func(M)) error {
	for {
		switch m, err := stream.Recv(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		default:
			f(m)
		}
	}
}

// wrap says what was attempted, and makes of an error what the interface promises.
func wrap(ctx context.Context, err error, format string, args ...any) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrInvalid):
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		err = fmt.Errorf("%w (%v)", ctx.Err(), err)
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
