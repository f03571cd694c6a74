package watch

import (
	"context"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/fault"
)

// RoundTime is how long Follow waits at most before it says that there is no news. Viewers then write what keeps their connection
// alive; about 15 s is what https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes advises.
const RoundTime = 15 * time.Second

// failedRound is how long a round lasts at least that fails because the store is down. Viewers who come meanwhile share its failure, and do not ask the
// store again.
const failedRound = 2 * time.Second

// Follow waits for news of a run that was open when it was shown last; run 0 is whichever run of the case is current, so that a viewer goes
// on with the run that takes its place. It returns a snapshot later than what was shown, or nil if there was none for a while: after
// RoundTime at most, and earlier when those who wait with it change. Then it is to be called again. A snapshot of a run of which nothing
// more can be expected counts as news. It never asks the pipeline, but says in the record that the run is watched, so that the checks look more often.
//
// All who follow the same run in one process share one wait and one read of the store. One of them does both, within its own call; the others
// wait for it. Those who are behind the others share one read too. There is no goroutine, and nothing is held once the last has returned. While the
// store is down, a run costs at most one wait and one read in failedRound.
//
// Errors: NotFound, Unavailable, and the context's own when it ends first.
func (w *Watcher) Follow(ctx context.Context, caseID string, run int, shown *Snapshot) (*Snapshot, error) {
	at, known := followed{caseID: caseID, run: run}, shown.Seen()
	for ctx.Err() == nil {
		r, role := w.rounds.join(at, known)
		if role == behind {
			return w.catchUp(ctx, at, known)
		}
		if role == leads {
			w.lead(ctx, at, r, shown)
		} else if err := r.wait(ctx); err != nil {
			return nil, err
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

// catchUp reads the run, once for all who are behind; nil if that is not news to who is that far.
func (w *Watcher) catchUp(ctx context.Context, at followed, known Seen) (*Snapshot, error) {
	at.behind = true
	r, role := w.rounds.join(at, Seen{})
	if role == leads {
		w.leadRead(ctx, at, r)
	} else if err := r.wait(ctx); err != nil {
		return nil, err
	}
	if r.err != nil || r.news == nil || !r.news.newsTo(known) {
		return nil, r.err
	}
	return r.news, nil
}

// leadRead reads the run, for all who are in the round. If the leader's context ends first there is no news.
func (w *Watcher) leadRead(ctx context.Context, at followed, r *round) {
	defer w.rounds.end(at, r)
	rest, cancel := context.WithTimeout(ctx, failedRound)
	defer cancel()
	now, err := w.reread(ctx, at)
	switch {
	case err == nil:
		r.news = &now
	case ctx.Err() == nil:
		r.fail(rest, err)
	}
}

// reread reads the run. A store that has not answered after RoundTime is down: the others of a round must not hang with its leader.
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
	rest, cancel := context.WithTimeout(ctx, failedRound)
	defer cancel()
	version := w.freshen(ctx, shown)
	waiting, cancel := context.WithTimeout(ctx, RoundTime)
	defer cancel()
	for try := 0; waiting.Err() == nil; try++ {
		err := w.Store.Wait(waiting, at.caseID, r.base.Run, version)
		if err != nil {
			if waiting.Err() == nil {
				r.fail(rest, w.storeFault(err))
			}
			return
		}
		now, err := w.reread(ctx, at)
		switch {
		case err != nil && ctx.Err() == nil:
			r.fail(rest, err)
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
	run    int  // 0: the current one
	behind bool // a read, of those who have not seen what the others wait to be newer than
}

// round is one wait. Its news and err are written by its leader only, before done is closed, and read after that.
type round struct {
	base Seen // what is waited to be newer than
	done chan struct{}
	news *Snapshot // nil: there was none
	err  error
}

// wait waits for the end of the round, as one who follows.
func (r *round) wait(ctx context.Context) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fail notes why there is no news. Unless that is for good, as when the case is not there, it holds the round open until rest ends.
func (r *round) fail(rest context.Context, err error) {
	if r.err = err; fault.KindOf(err) == fault.Unavailable {
		<-rest.Done()
	}
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
