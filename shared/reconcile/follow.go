package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/fault"
)

// RoundTime is how long Follow waits at most before it says that there is no news. Viewers then write what keeps their connection
// alive; about 15 s is what https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes advises.
const RoundTime = 15 * time.Second

// failedRound is how long a round lasts at least that fails because the store is down. Viewers who come meanwhile share its
// failure, and do not ask the store again.
const failedRound = 2 * time.Second

// Follow waits for the next event of a run that was open when it was shown last; run 0 is whichever run of the case is current, so
// that a viewer goes on with the run that takes its place. It returns the newest snapshot that was read since, or nil if none was:
// after RoundTime at most, and earlier when those who wait with it change. [Snapshot.NewsTo] says whether that has an event to show.
// If it has none, or is nil, Follow is to be called again, with what is the newest then. It never polls the pipeline, but says in the
// record that the run is watched, so that the checks follow more closely.
//
// All who follow the same run in one process share one wait and one read of the store. One of them does both, within its own call;
// the others wait for it. Those who are behind the others share one read too. There is no goroutine, and nothing is held once the
// last has returned. While the store is down, a run costs at most one wait and one read in failedRound.
//
// Errors: NotFound, Unavailable, and the context's own when it ends first.
func (w *Reconciler) Follow(ctx context.Context, caseID string, run int, shown *Snapshot) (*Snapshot, error) {
	return w.follow(ctx, followed{caseID: caseID, run: run}, shown)
}

// FollowVersion waits as Follow does, but for any later version of the record, and returns nothing else. A version that only says that
// the run is watched does not count.
func (w *Reconciler) FollowVersion(ctx context.Context, caseID string, run int, shown *Snapshot) (*Snapshot, error) {
	at := followed{caseID: caseID, run: run, versions: true}
	s, err := w.follow(ctx, at, shown)
	if s != nil && !at.isNews(s, at.seen(shown)) {
		return nil, err
	}
	return s, err
}

func (w *Reconciler) follow(ctx context.Context, at followed, shown *Snapshot) (*Snapshot, error) {
	known := at.seen(shown)
	for ctx.Err() == nil {
		r, role := w.rounds.join(at, known)
		if role == behind {
			return w.catchUp(ctx, at, shown)
		}
		if role == leads {
			w.lead(ctx, at, r, shown)
		} else if err := r.wait(ctx); err != nil {
			return nil, err
		}
		switch {
		case r.err != nil:
			return nil, r.err
		case r.newest == nil || !at.isNews(r.newest, r.base):
			return r.newest.since(shown), ctx.Err()
		case at.isNews(r.newest, known):
			return r.newest, nil
		}
		// The round began before what this viewer knows, and ended there.
	}
	return nil, ctx.Err()
}

// catchUp reads the run, once for all who are behind. It returns nil if what was read is no later than what was shown.
func (w *Reconciler) catchUp(ctx context.Context, at followed, shown *Snapshot) (*Snapshot, error) {
	at.behind = true
	r, role := w.rounds.join(at, Seen{})
	if role == leads {
		w.leadRead(ctx, at, r)
	} else if err := r.wait(ctx); err != nil {
		return nil, err
	}
	return r.newest.since(shown), r.err
}

// leadRead reads the run, for all who are in the round. If the leader's context ends first, nothing was read.
func (w *Reconciler) leadRead(ctx context.Context, at followed, r *round) {
	defer w.rounds.end(at, r)
	rest, cancel := context.WithTimeout(ctx, failedRound)
	defer cancel()
	now, err := w.reread(ctx, at)
	switch {
	case err == nil:
		r.newest = now
	case ctx.Err() == nil:
		r.fail(rest, err)
	}
}

// since returns s if it is a later version than another snapshot, else nil.
func (s *Snapshot) since(shown *Snapshot) *Snapshot {
	if s == nil || !(Seen{shown.View.Run, shown.View.Version}).Before(Seen{s.View.Run, s.View.Version}) {
		return nil
	}
	return s
}

// reread reads the run. A store that has not answered after RoundTime is down: the others of a round must not hang with its leader.
func (w *Reconciler) reread(ctx context.Context, at followed) (*Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, RoundTime)
	defer cancel()
	s, err := w.Read(ctx, at.caseID, at.run)
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// lead waits for news and reads it, for all who are in the round. It ends the round in any case, also when it panics: if the leader's
// context ends first there is no news, and another leads the next round. Before each wait it sees to it that the run counts as
// watched: the record that this takes is the one that was read last.
func (w *Reconciler) lead(ctx context.Context, at followed, r *round, shown *Snapshot) {
	defer w.rounds.end(at, r)
	rest, cancel := context.WithTimeout(ctx, failedRound)
	defer cancel()
	waiting, cancel := context.WithTimeout(ctx, RoundTime)
	defer cancel()
	for try := 0; waiting.Err() == nil; try++ {
		version := w.expedite(ctx, shown)
		err := w.store.Wait(waiting, at.caseID, r.base.Run, version)
		if err != nil {
			if waiting.Err() == nil {
				r.fail(rest, w.storeFault(err))
			}
			return
		}
		now, err := w.reread(ctx, at)
		if err != nil {
			if ctx.Err() == nil {
				r.fail(rest, err)
			}
			return
		}
		r.newest = now
		if at.isNews(now, r.base) {
			return
		}
		if later := now.since(shown); later != nil {
			shown = later
		}
		_ = w.pause(waiting, try) // the store may return early
	}
}

// followed is what viewers share a wait for.
type followed struct {
	caseID   string
	run      int  // 0: the current one
	versions bool // each version counts, not only those with an event
	behind   bool // a read, of those who have not seen what the others wait to be newer than
}

// seen returns how far somebody is who knows the snapshot.
func (at followed) seen(s *Snapshot) Seen {
	if at.versions {
		return s.seenVersion()
	}
	return s.Seen()
}

// isNews reports whether the snapshot has to be shown to somebody who is that far: it is later, or the last that there is. An earlier
// one never is, not even an end: a round may have read it just before the next run began, which those who came meanwhile have seen.
func (at followed) isNews(s *Snapshot, known Seen) bool {
	seen := at.seen(s)
	return known.Before(seen) || !s.Open() && !seen.Before(known)
}

// round is one wait. Its newest and err are written by its leader only, before done is closed, and read after that.
type round struct {
	base   Seen // what is waited to be newer than
	done   chan struct{}
	newest *Snapshot // that was read, news or not; nil: none was
	err    error
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
