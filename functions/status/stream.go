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

// What a stream says beside its events. An empty line ends a block, and many libraries deliver a block without data as an
// empty message. So none of these has one: a browser obeys each line as it comes, and the next event ends the block.
const (
	// reconnect stands in the first event: the viewer reconnects 2 s after the connection ends.
	reconnect = "retry: 2000\n"
	// reconnectLater is the last line of a stream that its viewer has to leave for 5 s.
	reconnectLater = "retry: 5000\n"
	// alive is a comment. It keeps proxies from closing a quiet connection.
	alive = ":\n"
)

const (

	// firstWord is how long a viewer waits for the store before it is told to come back later. Without an answer it would be cut off with
	// its request, and a browser never comes back from that.
	firstWord = reconcile.RoundTime

	// spread is by which part of it the time of a stream is shortened at most, at random: viewers who came together do not come back together.
	spread = 0.1
	// writeTimeout is how long a viewer may take to read writeSize bytes. One who does not read is cut off.
	writeTimeout = 20 * time.Second
	writeSize    = 64 << 10
)

// stream answers with the state as it is, unless the viewer has seen it, and then with what changes, until the run ends or the stream's
// time is over. https://html.spec.whatwg.org/multipage/server-sent-events.html says how it is read: 204 makes an EventSource stop, and
// every other status than 200 makes it give up. So what passes is answered 200, with the request to come back later.
func (f *function) stream(rw http.ResponseWriter, r *http.Request) error {
	s := &stream{rw: rw, rc: http.NewResponseController(rw), retry: reconnect}
	err := f.events(s, r)
	passing := err != nil && !s.gone && fault.KindOf(err).Status() >= http.StatusInternalServerError
	if passing {
		answer.Log(r, f.reconciler.Log(), err)
		s.begin()
		_ = s.write([]byte(reconnectLater)) // the viewer may be gone
	}
	if !s.begun {
		return err
	}
	_ = s.within(writeTimeout) // for what net/http writes at the end
	return nil                 // a case that was purged meanwhile is 404 to the next request
}

// events writes the events. An error before s has begun, or one that passes, is yet to be answered.
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
	// An id that is ahead of the run is of an earlier case of that name.
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
		err = s.write([]byte(alive)) // so that the viewer knows immediately that it is connected
	}
	if err != nil || !isHeld {
		return err
	}
	holding, cancel := context.WithTimeout(r.Context(), f.hold(r.Context()))
	defer cancel()
	return f.follow(holding, s, at, now)
}

// first reads the run. A store that does not answer for a while is down. Its snapshot is held once, not in each frame of the stack.
func (f *function) first(r *http.Request, at address.Address) (*reconcile.Snapshot, error) {
	reading, cancel := context.WithTimeout(r.Context(), firstWord)
	defer cancel()
	now, err := f.reconciler.Read(reading, at.CaseID, at.Run)
	return &now, err
}

// follow writes what changes until the run ends, or ctx does: then the viewer left, or the stream's time is over.
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

// hold returns how long a stream is held: it ends on its own before its request is cut.
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
	gone  bool // nothing reaches the viewer any more
	// retry is what the next event says of when to reconnect: the first of a stream says it.
	retry string
}

// begin writes the header, once. It is sent with what follows.
func (s *stream) begin() {
	if s.begun {
		return
	}
	s.begun = true
	h := s.rw.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-cache, no-transform") // nobody may keep it or compress it
	h.Set("X-Accel-Buffering", "no")                 // proxies of that kind pass it on as it comes
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

// write writes what belongs together, and sends it.
func (s *stream) write(parts ...[]byte) error {
	for _, part := range parts {
		if err := s.put(part); err != nil {
			return err
		}
	}
	err := s.rc.Flush()
	if err == nil {
		err = s.deadline(time.Time{}) // it would end a quiet HTTP/2 stream
	}
	s.gone = err != nil
	return err
}

// put writes without sending. After an error the viewer is gone: it left, or does not read.
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

// within limits how long the writes to come may take.
func (s *stream) within(d time.Duration) error { return s.deadline(time.Now().Add(d)) }

func (s *stream) deadline(at time.Time) error {
	err := s.rc.SetWriteDeadline(at)
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
