package firestore

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/casewatch/casewatch/shared/store"
)

// unopenedStore is a Store without a database.
func unopenedStore(attemptTimeout time.Duration) *Store {
	s := &Store{attemptTimeout: attemptTimeout, backoff: 1}
	s.limit.Max = maxUnderWay
	return s
}

// slowly is a call that the database answers when back is closed.
func slowly(back chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-back:
			return nil
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// TestSlowDatabaseIsAskedLess: of a database that does not answer, one thing is asked at a time,
// however many want to, and the others are told soon.
func TestSlowDatabaseIsAskedLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := unopenedStore(15 * time.Second)
		s.limit.Patience = turnPatience
		var asked atomic.Int64
		calls := func(n int) {
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					_ = s.call(t.Context(), func(ctx context.Context) error {
						asked.Add(1)
						return slowly(nil)(ctx)
					})
				})
			}
			all.Wait()
		}
		calls(300) // so many as to make it known
		asked.Store(0)
		began := time.Now()
		calls(100)
		if n := asked.Load(); n != 1 || time.Since(began) > 20*time.Second {
			t.Errorf("asked %d times, for %v", n, time.Since(began))
		}
	})
}

// TestUrgentCallsGoFirst: a write that carries an end does not wait behind the others.
func TestUrgentCallsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := unopenedStore(time.Hour)
		s.limit.Max, s.limit.Patience = 1, time.Hour
		back := make(chan struct{})
		var order []string // one call at a time
		var all sync.WaitGroup
		call := func(ctx context.Context, name string) {
			all.Go(func() {
				_ = s.call(ctx, func(ctx context.Context) error {
					order = append(order, name)
					return slowly(back)(ctx)
				})
			})
			synctest.Wait() // it waits
		}
		for _, name := range []string{"first", "second", "third"} {
			call(t.Context(), name)
		}
		call(withUrgency(t.Context()), "end")
		close(back)
		all.Wait()
		if !slices.Equal(order, []string{"first", "end", "second", "third"}) {
			t.Errorf("%v", order)
		}
	})
}

// TestRepeatsHaveABudget: a database that answers nothing sees each call about once, however many
// there are, and each is repeated again once it answers.
func TestRepeatsHaveABudget(t *testing.T) {
	s := unopenedStore(time.Second)
	attempts := 0
	down := func(context.Context) error {
		attempts++
		return status.Error(codes.DeadlineExceeded, "as told")
	}
	const calls = 500
	for range calls {
		if err := s.call(t.Context(), down); status.Code(err) != codes.DeadlineExceeded {
			t.Fatal(err)
		}
	}
	if attempts > calls+50 {
		t.Errorf("%d attempts of %d calls", attempts, calls)
	}
	refusal := status.Error(codes.FailedPrecondition, "as told")
	for range calls { // a refusal is an answer
		if err := s.call(t.Context(), func(context.Context) error { return refusal }); status.Code(
			err,
		) != codes.FailedPrecondition {
			t.Fatal(err)
		}
		_ = s.call(t.Context(), func(context.Context) error { return nil })
	}
	attempts = 0
	if _ = s.call(t.Context(), down); attempts != maxAttempts {
		t.Errorf("%d attempts when all is well again", attempts)
	}
}

// TestCallersWhoLeave: that callers leave tells nothing of the database; that their time runs out does.
func TestCallersWhoLeave(t *testing.T) {
	hangs := func(ctx context.Context) error { <-ctx.Done(); return status.FromContextError(ctx.Err()).Err() }
	attempts := func(s *Store) (n int) {
		_ = s.call(t.Context(), func(context.Context) error { n++; return status.Error(codes.Unavailable, "as told") })
		return n
	}
	left, late := unopenedStore(time.Hour), unopenedStore(time.Hour)
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = left.call(ctx, hangs)
		ctx, cancel = context.WithTimeout(t.Context(), time.Nanosecond)
		_ = late.call(ctx, hangs)
		cancel()
	}
	if n := attempts(left); n != maxAttempts {
		t.Errorf("%d attempts after callers left", n)
	}
	if n := attempts(late); n != 1 {
		t.Errorf("%d attempts after callers ran out of time", n)
	}
}

// hanging makes every call wait for the end of its context, and counts them.
type hanging struct{ listens, reads atomic.Int64 }

func (h *hanging) options() []option.ClientOption {
	wait := func(ctx context.Context, method string) error {
		if strings.HasSuffix(method, "/Listen") {
			h.listens.Add(1)
		} else {
			h.reads.Add(1)
		}
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	return []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithChainStreamInterceptor(
			func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, method string, _ grpc.Streamer,
				_ ...grpc.CallOption) (grpc.ClientStream, error) {
				return nil, wait(ctx, method)
			},
		)),
	}
}

// TestWaitingGivesWay: while the database hangs, those who wait open few streams and read little,
// however many they are.
func TestWaitingGivesWay(t *testing.T) {
	var h hanging
	s := opened(t, store.Options{Project: "p", EmulatorHost: "127.0.0.1:1"}, h.options()...)
	var clock atomic.Int64
	now := func() time.Time { return time.Unix(clock.Load(), 0) }
	clock.Store(1e9)
	s.listening.opening.Now, s.listening.looking.Now = now, now
	s.listening.atMost, s.attemptTimeout = 10*time.Millisecond, 10*time.Millisecond
	s.listening.pause, s.listening.laterLook = time.Millisecond, 5*time.Millisecond
	wait := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() {
				for ctx.Err() == nil {
					_ = s.Wait(ctx, "a", 1, 1)
				}
			})
		}
		waiting.Wait()
	}
	wait()
	if l, r := h.listens.Load(), h.reads.Load(); l > maxOpening || r > maxLooking*maxAttempts {
		t.Errorf("%d streams opened, %d reads", l, r)
	}
	h.listens.Store(0)
	h.reads.Store(0)
	clock.Add(31) // one of each finds out
	wait()
	if l, r := h.listens.Load(), h.reads.Load(); l != 1 || r == 0 || r > maxAttempts {
		t.Errorf("after the pause %d streams opened, %d reads", l, r)
	}
}
