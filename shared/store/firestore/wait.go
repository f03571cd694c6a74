package firestore

import (
	"context"
	"errors"
	"time"

	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/store"
)

const (
	// listenFor is how long one stream is listened to, so that a connection that died without a word
	// is noticed. Opening the next costs a document read.
	listenFor = 10 * time.Second
	// How long to pause before looking again while nobody can be listened to: at first, and at most. A
	// look reads two documents.
	firstPause = 250 * time.Millisecond
	lastPause  = 2 * time.Second
)

var (
	// errQuiet says that there was nothing new while it was listened.
	errQuiet = errors.New("nothing new")
	// errDeaf says that it cannot be listened now, and may be later.
	errDeaf = errors.New("cannot listen")
)

// Wait implements [store.Store]. It listens to the run and to the head of the case, in one stream
// of the caller's own, at two document reads at first and each ten seconds, and one for each
// change. When the stream breaks off, or as many are open as the connections of this Store bear
// (256), it looks again by ordinary reads, at most every two seconds, and tries to listen in
// between. After a stream could not be opened no other is for 30 s; at most 4 such reads are under
// way, and after one failed there is none for 5 s.
func (s *Store) Wait(ctx context.Context, caseID string, run int, version int64) error {
	err := s.wait(ctx, watched{caseID: caseID, run: run, version: version})
	return wrap(ctx, err, "waiting for %q run %d", caseID, run)
}

// watched is what somebody waits for: a version of the run newer than that, or a newer run.
type watched struct {
	caseID  string
	run     int
	version int64
}

func (s *Store) wait(ctx context.Context, w watched) error {
	wait := s.listening.pause
	for {
		switch err := s.listen(ctx, w); {
		case err == nil, ctx.Err() != nil:
			return err
		case errors.Is(err, errQuiet):
			wait = s.listening.pause
			continue
		case !errors.Is(err, errDeaf):
			return err
		}
		if newer, err := s.look(ctx, w); newer || err != nil {
			return err
		}
		if err := ctxtime.Sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, s.listening.laterLook)
	}
}

// look is newer within the budget for it; without, there is nothing new.
func (s *Store) look(ctx context.Context, w watched) (bool, error) {
	end, ok := s.listening.looking.Begin()
	if !ok {
		return false, nil
	}
	newer, err := s.newer(ctx, w)
	end(outcome(ctx, err))
	return newer, err
}

// newer looks whether there is what w waits for.
func (s *Store) newer(ctx context.Context, w watched) (bool, error) {
	docs, err := s.read(ctx, conditions, s.run(w.caseID, w.run), s.head(w.caseID))
	switch {
	case err != nil:
		return false, err
	case docs[0] == nil:
		return false, store.ErrNotFound
	}
	return versionOf(docs[0]) > w.version || runOf(docs[1]) > w.run, nil
}
