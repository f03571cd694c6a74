package reconcile

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/store"
)

// Snapshot is a run as it was read. Readers share it: nothing in it may be changed.
type Snapshot struct {
	View cases.View
	// EndVersion is the version at which the run ended, 0 while it is open. Later versions, such as the
	// one that notes that the run is finalized, are no news.
	EndVersion int64
	// Current says that the case had no newer run.
	Current bool

	record *cases.Case // nil if the snapshot was not read but made
}

// Seen says how far a reader of a case is: at a version of one of its runs. The zero Seen is before all
// of them.
type Seen struct {
	Run     int
	Version int64
}

// Before reports whether s is older than other.
func (s Seen) Before(other Seen) bool {
	return s.Run < other.Run || s.Run == other.Run && s.Version < other.Version
}

// Seen returns how far a reader of events is who has the snapshot: the version at which the last event
// was made. That of an end is where the run ended, whatever was noted in the record since.
func (s Snapshot) Seen() Seen {
	switch v := s.View; {
	case v.State.Ended() && s.EndVersion > 0:
		return Seen{v.Run, s.EndVersion}
	case s.record != nil:
		return Seen{v.Run, s.record.Viewers.Shown.Version}
	default:
		return Seen{v.Run, v.Version}
	}
}

// seenVersion returns how far a reader of records is who has the snapshot. A version that only says
// that the run is viewed is no news.
func (s Snapshot) seenVersion() Seen {
	if s.record != nil && !s.View.State.Ended() {
		return Seen{s.View.Run, s.record.ContentVersion()}
	}
	return s.Seen()
}

// Open reports whether more can be expected of the run.
func (s Snapshot) Open() bool { return s.Current && !s.View.State.Ended() }

// NewsTo reports whether the snapshot, which may be nil, has an event for a viewer who was shown another
// one: it is later, or the end of what there is to show.
func (s *Snapshot) NewsTo(shown *Snapshot) bool {
	return s != nil && waitKey{}.isNews(s, shown.Seen())
}

// ifLater returns s if it is a later version than what was shown, else nil. s may be nil.
func (s *Snapshot) ifLater(shown *Snapshot) *Snapshot {
	if s == nil || !(Seen{shown.View.Run, shown.View.Version}).Before(Seen{s.View.Run, s.View.Version}) {
		return nil
	}
	return s
}

// Read returns a run as readers see it; run 0 means the case's current one. It never polls the pipeline.
//
// Errors: NotFound, Unavailable.
func (r *Reconciler) Read(ctx context.Context, caseID string, run int) (Snapshot, error) {
	var s Snapshot
	err := r.retryConflicts(ctx, func(int) (err error) {
		s, err = r.readOnce(ctx, caseID, run)
		return err
	})
	return s, storeProblem(err)
}

func (r *Reconciler) readOnce(ctx context.Context, caseID string, run int) (Snapshot, error) {
	head, c, err := r.store.Current(ctx, caseID)
	if err != nil {
		return Snapshot{}, err
	}
	if run != 0 && run != head.Run {
		if c, err = r.store.Get(ctx, caseID, run); err != nil {
			return Snapshot{}, err
		}
	}
	view, err := r.view(ctx, c)
	if errors.Is(err, store.ErrNotFound) {
		return Snapshot{}, store.ErrConflict // purged since its record was read
	}
	return Snapshot{View: view, EndVersion: c.Outcome.EndVersion, Current: c.Run == head.Run, record: &c}, err
}

const (
	// FollowTimeout is the longest that Follow waits before it returns without news. Viewers then write
	// what keeps their connection alive. About 15 s is what
	// https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes advises.
	FollowTimeout = 15 * time.Second
	// minFailedWait is how long a shared wait lasts at least that fails because the store is down.
	// Viewers who come meanwhile share its failure, and do not ask the store again.
	minFailedWait = 2 * time.Second
)

// Follow waits for the next event of a run that was open in the snapshot that was shown last. Run 0
// means whichever run of the case is current, so that a viewer goes on with the run that replaces it.
//
// It returns the newest snapshot that was read since then, or nil if none was: after FollowTimeout at
// the latest, earlier when those who share its wait change. [Snapshot.NewsTo] says whether the snapshot
// has an event to show. If it has none, or is nil, Follow is to be called again, with the newest
// snapshot that there is.
//
// Follow never polls the pipeline. It saves that the run is viewed, so that its checks come closer
// together, and brings the next one forward.
//
// All who follow the same run in one process share one wait for the store and one read of it. The
// leader does both, within its own call; the followers wait for it. Those who have seen less than what
// the leader waits to change are stale, and share a read of their own. There is no goroutine, and
// nothing is held when the last call has returned. While the store is down, a run costs at most one
// wait and one read every 2 s.
//
// Errors: NotFound, Unavailable, and that of the context when it ends first.
func (r *Reconciler) Follow(ctx context.Context, caseID string, run int, shown *Snapshot) (*Snapshot, error) {
	return r.follow(ctx, waitKey{caseID: caseID, run: run}, shown)
}

// FollowVersion is Follow for a reader of records: it waits for any later version, and returns nil if
// there is none. A version that only says that the run is viewed does not count.
func (r *Reconciler) FollowVersion(ctx context.Context, caseID string, run int, shown *Snapshot) (*Snapshot, error) {
	key := waitKey{caseID: caseID, run: run, versions: true}
	s, err := r.follow(ctx, key, shown)
	if s != nil && !key.isNews(s, key.seen(shown)) {
		return nil, err
	}
	return s, err
}

func (r *Reconciler) follow(ctx context.Context, key waitKey, shown *Snapshot) (*Snapshot, error) {
	known := key.seen(shown)
	for ctx.Err() == nil {
		wait, role := r.waits.join(key, known)
		switch role {
		case stale:
			return r.readStale(ctx, key, shown)
		case leader:
			r.lead(ctx, key, wait, shown)
		case follower:
			if err := wait.awaitEnd(ctx); err != nil {
				return nil, err
			}
		}
		switch {
		case wait.err != nil:
			return nil, wait.err
		case wait.newest == nil || !key.isNews(wait.newest, wait.base):
			return wait.newest.ifLater(shown), ctx.Err()
		case key.isNews(wait.newest, known):
			return wait.newest, nil
		}
		// The wait was for what this viewer has seen already.
	}
	return nil, ctx.Err()
}

// readStale reads the run, once for all who are stale. It returns nil if what was read is no later than
// what was shown.
func (r *Reconciler) readStale(ctx context.Context, key waitKey, shown *Snapshot) (*Snapshot, error) {
	key.read = true
	wait, role := r.waits.join(key, Seen{})
	if role == leader {
		r.leadRead(ctx, key, wait)
	} else if err := wait.awaitEnd(ctx); err != nil {
		return nil, err
	}
	return wait.newest.ifLater(shown), wait.err
}

// leadRead reads the run for all who share the wait. If the leader's context ends first, nothing was
// read.
func (r *Reconciler) leadRead(ctx context.Context, key waitKey, wait *sharedWait) {
	defer r.waits.end(key, wait)
	failed, cancel := context.WithTimeout(ctx, minFailedWait)
	defer cancel()
	now, err := r.readShared(ctx, key)
	switch {
	case err == nil:
		wait.newest = now
	case ctx.Err() == nil:
		wait.fail(failed, err)
	}
}

// lead waits for news and reads it, for all who share the wait. It ends the wait in any case, also if it
// panics. If the leader's context ends first there is no news, and one of the followers leads the next
// wait. Before each call of the store's Wait, lead saves that the run is viewed, for which it uses the
// record that was read last.
func (r *Reconciler) lead(ctx context.Context, key waitKey, wait *sharedWait, shown *Snapshot) {
	defer r.waits.end(key, wait)
	failed, cancel := context.WithTimeout(ctx, minFailedWait)
	defer cancel()
	waiting, cancel := context.WithTimeout(ctx, FollowTimeout)
	defer cancel()
	for try := 0; waiting.Err() == nil; try++ {
		version := r.expedite(ctx, shown)
		if err := r.store.Wait(waiting, key.caseID, wait.base.Run, version); err != nil {
			if waiting.Err() == nil {
				wait.fail(failed, storeProblem(err))
			}
			return
		}
		now, err := r.readShared(ctx, key)
		if err != nil {
			if ctx.Err() == nil {
				wait.fail(failed, err)
			}
			return
		}
		wait.newest = now
		if key.isNews(now, wait.base) {
			return
		}
		if later := now.ifLater(shown); later != nil {
			shown = later
		}
		_ = r.pause(waiting, try) // the store may return early
	}
}

// readShared reads the run for those who share a wait. A store that does not answer within FollowTimeout
// is down: the followers must not hang with their leader.
func (r *Reconciler) readShared(ctx context.Context, key waitKey) (*Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, FollowTimeout)
	defer cancel()
	s, err := r.Read(ctx, key.caseID, key.run)
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// waitKey says what is waited for. Those with the same key share a wait.
type waitKey struct {
	caseID   string
	run      int  // 0: the current one
	versions bool // each version is news, and not only those with an event
	read     bool // not a wait but a read, of those who are stale
}

// seen returns how far a reader is who has the snapshot.
func (key waitKey) seen(s *Snapshot) Seen {
	if key.versions {
		return s.seenVersion()
	}
	return s.Seen()
}

// isNews reports whether a snapshot has to be shown to a viewer who is that far: it is later, or the end
// of what there is to show. An earlier one never is, not even an end: the leader may have read it just
// before the next run began, which viewers who came meanwhile have seen.
func (key waitKey) isNews(s *Snapshot, known Seen) bool {
	seen := key.seen(s)
	return known.Before(seen) || !s.Open() && !seen.Before(known)
}

// sharedWait is one wait for news of a run, or one read of it. Its leader writes newest and err before it
// closes done; others read them after that.
type sharedWait struct {
	base   Seen // news is what is later than this
	done   chan struct{}
	newest *Snapshot // the last that was read, news or not; nil if none was
	err    error
}

// awaitEnd waits until the leader has ended the wait, or until ctx ends, with the error of ctx.
func (w *sharedWait) awaitEnd(ctx context.Context) error {
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fail notes why there is no news. If the store is down it returns only when hold has ended; other
// errors, such as that of a case that is missing, will not change.
func (w *sharedWait) fail(hold context.Context, err error) {
	w.err = err
	if fault.KindOf(err) == fault.Unavailable {
		<-hold.Done()
	}
}

// sharedWaits are the waits under way in a process. The zero value is ready. Package singleflight does
// not do this: it does not know who is stale, and its runs do not end with the caller that runs them.
type sharedWaits struct {
	mu    sync.Mutex
	byKey map[waitKey]*sharedWait
}

// waitRole is what a viewer does in a shared wait.
type waitRole int

const (
	leader   waitRole = iota // no wait is under way: this viewer waits for all
	follower                 // the wait is for news of what this viewer has seen, or of less
	stale                    // the wait is for news of more than this viewer has seen: it has to read
)

// join returns the wait of a key and what a viewer who is that far does in it. The leader has to end it.
func (ws *sharedWaits) join(key waitKey, known Seen) (*sharedWait, waitRole) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.byKey[key]
	switch {
	case w == nil:
		if ws.byKey == nil {
			ws.byKey = map[waitKey]*sharedWait{}
		}
		w = &sharedWait{base: known, done: make(chan struct{})}
		ws.byKey[key] = w
		return w, leader
	case known.Before(w.base):
		return nil, stale
	default:
		return w, follower
	}
}

// end ends a wait, for its leader.
func (ws *sharedWaits) end(key waitKey, w *sharedWait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.byKey, key)
	close(w.done)
}
