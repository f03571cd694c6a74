package firestore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/casewatch/casewatch/shared/store"
)

// TestWaitWithoutListening: who cannot listen looks, and sees what there is to see.
func TestWaitWithoutListening(t *testing.T) {
	for _, deaf := range []struct {
		name string
		make func(s *Store, w *wire)
	}{
		{"refused at first", func(_ *Store, w *wire) { w.refuse = first(2, "Listen", codes.Unavailable) }},
		{"refused always", func(_ *Store, w *wire) { w.refuse = first(-1, "Listen", codes.ResourceExhausted) }},
		{"too many streams", func(s *Store, _ *wire) { s.listening.places = make(chan struct{}) }},
		{"streams that never tell anything", func(s *Store, _ *wire) { s.listening.atMost = time.Millisecond }},
	} {
		for _, news := range []struct {
			name  string
			write func(s *Store) error
			want  error
		}{
			{"update", func(s *Store) error { return s.Update(t.Context(), after(begin("a").Case)) }, nil},
			{"next run", func(s *Store) error { return s.Begin(t.Context(), next(begin("a").Case)) }, nil},
			{"purge", func(s *Store) error { return s.Purge(t.Context(), "a", 1, 1) }, store.ErrNotFound},
		} {
			t.Run(deaf.name+", "+news.name, func(t *testing.T) {
				var w wire
				o := options(t)
				s, other := opened(t, o, w.option()...), opened(t, o)
				s.listening.pause, s.listening.laterLook = time.Millisecond, 20*time.Millisecond
				s.listening.opening.Pause = 0
				deaf.make(s, &w)
				save(t, other, "a")
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				told := make(chan error, 1)
				go func() { told <- s.Wait(ctx, "a", 1, 1) }()
				for looks := 0; looks < 2; time.Sleep(time.Millisecond) {
					looks += strings.Count(w.since(), "BatchGet") // between two streams, or without one
					if ctx.Err() != nil {
						t.Fatal("it does not look")
					}
				}
				mustDo(t, news.write(other))
				if err := <-told; !errors.Is(err, news.want) {
					t.Errorf("Wait: %v, want %v", err, news.want)
				}
			})
		}
	}
}

// TestWaitListensAgain: a stream ends after a while, and the next sees what happened in between.
func TestWaitListensAgain(t *testing.T) {
	var w wire
	s := opened(t, options(t), w.option()...)
	s.listening.atMost = 300 * time.Millisecond
	s.listening.pause = time.Hour
	c := save(t, s, "a")
	mustDo(t, s.Wait(t.Context(), "a", 1, 0)) // now the connection is there
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	told := make(chan error, 1)
	go func() { told <- s.Wait(ctx, "a", 1, 1) }()
	for streams := 0; streams < 4; time.Sleep(time.Millisecond) {
		streams += strings.Count(w.since(), "Listen")
		if ctx.Err() != nil {
			t.Fatal("it does not listen again")
		}
	}
	mustDo(t, s.Update(ctx, after(c)))
	if err := <-told; err != nil {
		t.Error(err)
	}
}

// TestWaitForbidden: what will not pass is told at once.
func TestWaitForbidden(t *testing.T) {
	var w wire
	s := opened(t, options(t), w.option()...)
	save(t, s, "a")
	w.since()
	for _, code := range []codes.Code{codes.PermissionDenied, codes.FailedPrecondition, codes.InvalidArgument} {
		w.refuse = first(1, "Listen", code)
		if err := s.Wait(t.Context(), "a", 1, 1); status.Code(err) != code {
			t.Errorf("Wait: %v, want %v", err, code)
		}
	}
	if calls := w.since(); calls != "Listen Listen Listen" {
		t.Errorf("called %q", calls)
	}
}

// TestSnapshot: what a stream tells, message by message, beyond what the emulator does.
func TestSnapshot(t *testing.T) {
	change := func(kind pb.TargetChange_TargetChangeType, cause *rpc.Status) *pb.ListenResponse {
		return &pb.ListenResponse{
			ResponseType: &pb.ListenResponse_TargetChange{
				TargetChange: &pb.TargetChange{TargetChangeType: kind, TargetIds: []int32{target}, Cause: cause},
			},
		}
	}
	whole := &pb.ListenResponse{
		ResponseType: &pb.ListenResponse_TargetChange{TargetChange: &pb.TargetChange{ReadTime: timestamppb.Now()}},
	}
	doc := func(name string, in ...int32) *pb.ListenResponse {
		return &pb.ListenResponse{ResponseType: &pb.ListenResponse_DocumentChange{DocumentChange: &pb.DocumentChange{
			Document: &pb.Document{Name: name, Fields: fields{"run": number(1), "version": number(1)}}, TargetIds: in,
		}}}
	}
	gone := &pb.ListenResponse{
		ResponseType: &pb.ListenResponse_DocumentDelete{DocumentDelete: &pb.DocumentDelete{Document: "a"}},
	}
	removed := &pb.ListenResponse{
		ResponseType: &pb.ListenResponse_DocumentRemove{DocumentRemove: &pb.DocumentRemove{Document: "a"}},
	}
	filter := func(n int32) *pb.ListenResponse {
		return &pb.ListenResponse{
			ResponseType: &pb.ListenResponse_Filter{Filter: &pb.ExistenceFilter{TargetId: target, Count: n}},
		}
	}
	added, current := change(pb.TargetChange_ADD, nil), change(pb.TargetChange_CURRENT, nil)
	for _, test := range []struct {
		name  string
		told  []*pb.ListenResponse
		runs  int
		whole bool // after the last
		err   error
		code  codes.Code
	}{
		{"at first", []*pb.ListenResponse{added, doc("a", target), current, whole}, 1, true, nil, 0},
		{"nothing there", []*pb.ListenResponse{added, current, whole}, 0, true, nil, 0},
		{"not current yet", []*pb.ListenResponse{added, doc("a", target), whole}, 1, false, nil, 0},
		{"between two moments", []*pb.ListenResponse{added, current, doc("a", target)}, 1, false, nil, 0},
		{"deleted", []*pb.ListenResponse{added, doc("a", target), current, gone, whole}, 0, true, nil, 0},
		{"removed", []*pb.ListenResponse{added, doc("a", target), current, removed, whole}, 0, true, nil, 0},
		{"no longer asked for", []*pb.ListenResponse{added, doc("a", target), current, doc("a"), whole}, 0,
			true, nil, 0},
		{"as many as thought", []*pb.ListenResponse{added, doc("a", target), current, filter(1), whole}, 1,
			true, nil, 0},
		{"one less than thought", []*pb.ListenResponse{added, doc("a", target), current, filter(0)}, 1, false,
			errDeaf, 0},
		{"all over again",
			[]*pb.ListenResponse{added, doc("a", target), current, change(pb.TargetChange_RESET, nil), whole},
			0, false, nil, 0},
		{"ended", []*pb.ListenResponse{added, change(pb.TargetChange_REMOVE, nil)}, 0, false, errDeaf, 0},
		{"ended for a reason",
			[]*pb.ListenResponse{added,
				change(pb.TargetChange_REMOVE, &rpc.Status{Code: int32(codes.PermissionDenied)})},
			0, false, nil, codes.PermissionDenied},
	} {
		n := snapshot{documents: map[string]stamp{}}
		var whole bool
		var err error
		for _, r := range test.told {
			whole, err = n.take(r)
		}
		if whole != test.whole || len(n.documents) != test.runs {
			t.Errorf("%s: whole %v, %d runs", test.name, whole, len(n.documents))
		}
		if test.code != 0 && status.Code(err) != test.code || test.code == 0 && !errors.Is(err, test.err) {
			t.Errorf("%s: error %v", test.name, err)
		}
	}
}
