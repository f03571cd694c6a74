package status

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// These are the lines of a stream besides its events. An empty line ends a block, and many
// libraries deliver a block without data as an empty message. So these lines have no empty line
// after them. A browser processes each line immediately, and the next event ends the block.
const (
	// reconnect is part of the first event. It tells the viewer to reconnect 2 s after the
	// connection ends.
	reconnect = "retry: 2000\n"
	// reconnectLater is the last line of a stream that ends early. It tells the viewer to reconnect
	// after 5 s.
	reconnectLater = "retry: 5000\n"
	// alive is a comment. It keeps proxies from closing a quiet connection.
	alive = ":\n"
)

const (
	// firstReadTimeout bounds the first read of the store. After it, the viewer is told to
	// reconnect later. If the request ended without a response, a browser would never reconnect.
	firstReadTimeout = reconcile.FollowTimeout

	// spread is the largest part by which the time of a stream is randomly shortened. Viewers that
	// connected together then do not reconnect together.
	spread = 0.1
	// writeTimeout is how long a viewer may take to read writeSize bytes. Then the stream is cut
	// off.
	writeTimeout = 20 * time.Second
	writeSize    = 64 << 10
)

// stream sends the current state, unless the viewer has it already, and then each change. It ends
// with the run or with the time of the stream.
//
// An EventSource stops at a response of 204 and gives up at every other status than 200
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). So a transient error gets 200
// and the request to reconnect later.
func (f *function) stream(rw http.ResponseWriter, r *http.Request) error {
	s := &stream{rw: rw, rc: http.NewResponseController(rw), retry: reconnect}
	err := f.events(s, r)
	transient := err != nil && !s.gone && fault.KindOf(err).Status() >= http.StatusInternalServerError
	if transient {
		answer.Log(r, f.reconciler.Log(), err)
		s.begin()
		_ = s.write([]byte(reconnectLater)) // the viewer may have left
	}
	if !s.begun {
		return err
	}
	_ = s.within(writeTimeout) // for what net/http writes at the end
	return nil                 // the next request reports a case that was purged meanwhile
}

// events writes the events. The caller must still report an error that is transient or that
// occurred before s has begun.
func (f *function) events(s *stream, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p, ok := p.(error); ok && errors.Is(p, http.ErrAbortHandler) {
				panic(p)
			}
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	at, err := f.address(r)
	if err != nil {
		return err
	}
	now, err := f.first(r, at)
	if err != nil {
		return err
	}
	// An id that is ahead of the run belongs to an earlier case of the same id.
	known := lastEvent(r.Header.Get("Last-Event-ID")) == now.Seen()
	if known && !now.Open() {
		s.rw.WriteHeader(http.StatusNoContent)
		return nil
	}
	s.begin()
	toHold := now.Open() && r.Method != http.MethodHead
	isHeld := toHold && f.held.take(at.CaseID)
	if isHeld {
		defer f.held.release(at.CaseID)
	} else if toHold {
		s.retry = reconnectLater
	}
	switch {
	case !known:
		err = s.show(now)
	case toHold && !isHeld:
		err = s.write([]byte(reconnectLater))
	default:
		err = s.write([]byte(alive)) // shows immediately that the connection works
	}
	if err != nil || !isHeld {
		return err
	}
	holding, cancel := context.WithTimeout(r.Context(), f.hold(r.Context()))
	defer cancel()
	return f.follow(holding, s, at, now)
}

// first reads the run. A store that does not respond in time counts as down. It returns a pointer
// so that the stack holds the snapshot only once.
func (f *function) first(r *http.Request, at address.Address) (*reconcile.Snapshot, error) {
	reading, cancel := context.WithTimeout(r.Context(), firstReadTimeout)
	defer cancel()
	now, err := f.reconciler.Read(reading, at.CaseID, at.Run)
	return &now, err
}

// follow writes each change until the run ends, the viewer leaves or the time of the stream is
// over.
func (f *function) follow(ctx context.Context, s *stream, at address.Address, shown *reconcile.Snapshot) error {
	for {
		now, err := f.reconciler.Follow(ctx, at.CaseID, at.Run, shown)
		news := now.NewsTo(shown)
		switch {
		case ctx.Err() != nil && !news:
			return nil
		case err != nil:
			return err
		case news:
			err = s.show(now)
		default:
			err = s.write([]byte(alive))
		}
		if err != nil || news && !now.Open() {
			return err
		}
		if now != nil {
			shown = now
		}
	}
}

// hold returns how long the stream is held. It ends by itself before the platform ends its request.
func (f *function) hold(ctx context.Context) time.Duration {
	hold := f.cfg.Stream.Hold
	if f.cfg.RequestTimeout > 0 {
		hold = min(hold, f.cfg.RequestTimeout-waitReserve)
	}
	if end, ok := ctx.Deadline(); ok {
		hold = min(hold, time.Until(end)-waitReserve)
	}
	return time.Duration(float64(hold) * (1 - spread*f.reconciler.Jitter()))
}

// stream writes to one viewer.
type stream struct {
	rw    http.ResponseWriter
	rc    *http.ResponseController
	begun bool // the header is written
	gone  bool // the viewer can no longer be reached
	// retry is the reconnection time that the next event carries. Only the first event of a stream
	// carries one.
	retry string
}

// begin writes the header unless that is done. It is sent with the first data.
func (s *stream) begin() {
	if s.begun {
		return
	}
	s.begun = true
	h := s.rw.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-cache, no-transform") // no cache and no compression
	h.Set("X-Accel-Buffering", "no")                 // nginx forwards it without buffering
	s.rw.WriteHeader(http.StatusOK)
}

// show writes the event of a snapshot.
func (s *stream) show(now *reconcile.Snapshot) error {
	parts, err := event(now)
	if err != nil {
		return err
	}
	parts = append([][]byte{[]byte(s.retry)}, parts...)
	s.retry = ""
	return s.write(parts...)
}

// write writes the parts and flushes them.
func (s *stream) write(parts ...[]byte) error {
	for _, part := range parts {
		if err := s.put(part); err != nil {
			return err
		}
	}
	err := s.rc.Flush()
	if err == nil {
		err = s.deadline(time.Time{}) // a deadline would end a quiet HTTP/2 stream
	}
	s.gone = err != nil
	return err
}

// put writes without flushing. After an error the viewer is gone: it has left or does not read.
func (s *stream) put(part []byte) error {
	for piece := range slices.Chunk(part, writeSize) {
		err := s.within(writeTimeout)
		if err == nil {
			_, err = s.rw.Write(piece)
		}
		if err != nil {
			s.gone = true
			return err
		}
	}
	return nil
}

// within bounds how long the next writes may take.
func (s *stream) within(d time.Duration) error { return s.deadline(time.Now().Add(d)) }

func (s *stream) deadline(at time.Time) error {
	err := s.rc.SetWriteDeadline(at)
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
