package watch

import (
	"context"
	"sync"
	"time"
)

// RoundTime is how long Follow waits at most before it says that there is no news. Viewers then write what keeps their connection
// alive; about 15 s is what https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes advises.
const RoundTime = 15 * time.Second

// Follow waits for news of a run that was open when it was shown last; run 0 is whichever run of the case is current, so that a viewer goes
// on with the run that takes its place. It returns a snapshot later than what was shown, or nil if there was none for a while: after
// RoundTime at most, and earlier when those who wait with it change. Then it is to be called again. A snapshot of a run of which nothing
// more can be expected counts as news. It never asks the pipeline, but says in the record that the run is watched, so that the checks look more often.
//
// All who follow the same run in one process share one wait and one read of the store. One of them does both, within its own call; the others
// wait for it. There is no goroutine, and nothing is held once the last has returned.
//
// Errors: NotFound, Unavailable, and the context's own when it ends first.
func (w *Watcher) Follow(ctx context.Context, caseID string, run int, shown *Snapshot) (*Snapshot, error) {
	at, known := followed{caseID, run}, shown.Seen()
	for ctx.Err() == nil {
		r, role := w.rounds.join(at, known)
		switch role {
		case leads:
			w.lead(ctx, at, r, shown)
		case follows:
			select {
			case <-r.done:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case behind:
			return w.news(ctx, at, known)
		}
		switch {
		case r.err != nil:
			return nil, r.err
		case r.news == nil:
			return nil, ctx.Err()
		case r.news.newsTo(known):
			return r.news, nil
		}
		// The round began before what this viewer knows, and ended there.
	}
	return nil, ctx.Err()
}

// news reads the run; nil if it is not news to who is that far. A store that has not answered after RoundTime is down: the others of a round
// must not hang with its leader.
func (w *Watcher) news(ctx context.Context, at followed, known Seen) (*Snapshot, error) {
	s, err := w.reread(ctx, at)
	if err != nil || !s.newsTo(known) {
		return nil, err
	}
	return &s, nil
}

func (w *Watcher) reread(ctx context.Context, at followed) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, RoundTime)
	defer cancel()
	return w.Read(ctx, at.caseID, at.run)
}

// newsTo reports whether the snapshot has to be shown to who is that far: it is later, or the last that there is. An earlier one never is, not
// even an end: a round may have read it just before the next run began, which whoever came meanwhile has seen.
func (s *Snapshot) newsTo(known Seen) bool {
	return known.Before(s.Seen()) || !s.Open() && !s.Seen().Before(known)
}

// lead waits for news and reads it, for all who are in the round. It ends the round in any case, also when it panics: if the leader's
// context ends first there is no news, and another leads the next round. Before it waits it sees to it that the run counts as watched: the record
// that this takes is the one that was read for the news before.
func (w *Watcher) lead(ctx context.Context, at followed, r *round, shown *Snapshot) {
	defer w.rounds.end(at, r)
	version := w.freshen(ctx, shown)
	waiting, cancel := context.WithTimeout(ctx, RoundTime)
	defer cancel()
	for try := 0; waiting.Err() == nil; try++ {
		err := w.Store.Wait(waiting, at.caseID, r.base.Run, version)
		if err != nil {
			if waiting.Err() == nil {
				r.err = w.storeFault(err)
			}
			return
		}
		now, err := w.reread(ctx, at)
		switch {
		case err != nil && ctx.Err() == nil:
			r.err = err
			return
		case err != nil:
			return
		case now.newsTo(r.base):
			r.news = &now
			return
		case now.View.Run == r.base.Run:
			version = max(version, now.View.Version)
		}
		_ = w.pause(waiting, try) // the store may return early
	}
}

// followed is what viewers share a wait for.
type followed struct {
	caseID string
	run    int // 0: the current one
}

// round is one wait. Its news and err are written by its leader only, before done is closed, and read after that.
type round struct {
	base Seen // what is waited to be newer than
	done chan struct{}
	news *Snapshot // nil: there was none
	err  error
}

// rounds are the waits that are under way in a process. The zero value is ready.
type rounds struct {
	mu   sync.Mutex
	open map[followed]*round
}

// role is what somebody does who came for a round.
type role int

const (
	leads   role = iota // nobody waits yet
	follows             // somebody waits for the same, or for news that this viewer has already
	behind              // the wait is for news of what this viewer has not seen: it has to read
)

func (rs *rounds) join(at followed, known Seen) (*round, role) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	switch r := rs.open[at]; {
	case r == nil:
		if rs.open == nil {
			rs.open = map[followed]*round{}
		}
		r = &round{base: known, done: make(chan struct{})}
		rs.open[at] = r
		return r, leads
	case known.Before(r.base):
		return nil, behind
	default:
		return r, follows
	}
}

func (rs *rounds) end(at followed, r *round) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.open, at)
	close(r.done)
}
