package reconcile

import (
	"context"
	"errors"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// Snapshot is a run as it was read. It may be shared by many readers: nothing in it is to be changed.
type Snapshot struct {
	View cases.View
	// EndVersion is the version at which the run ended; what came later, such as its settling, added no news. 0 while it is open.
	EndVersion int64
	// Current says that no newer run of the case had begun.
	Current bool

	record *cases.Case // as it was read; nil if it was not
}

// Seen returns how far a reader of events is who knows the snapshot: where what they say last changed. An end stays where it was
// made, whatever the record's version became.
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

// seenVersion returns how far a reader of records is who knows the snapshot. That the run is watched is no news.
func (s Snapshot) seenVersion() Seen {
	if s.record != nil && !s.View.State.Ended() {
		return Seen{s.View.Run, s.record.ContentVersion()}
	}
	return s.Seen()
}

// NewsTo reports whether the snapshot, which may be nil, has an event to show to a viewer who knows another one: it is later, or the
// last that there is.
func (s *Snapshot) NewsTo(shown *Snapshot) bool {
	return s != nil && followed{}.isNews(s, shown.Seen())
}

// Open reports whether news can be expected of the run.
func (s Snapshot) Open() bool { return s.Current && !s.View.State.Ended() }

// Seen is how far a reader of a case is: a version of one of its runs. The zero Seen is before all of them.
type Seen struct {
	Run     int
	Version int64
}

// Before reports whether s is older than other.
func (s Seen) Before(other Seen) bool {
	return s.Run < other.Run || s.Run == other.Run && s.Version < other.Version
}

// Read returns a run as readers see it; run 0 is the case's current one. It never asks the pipeline.
//
// Errors: NotFound, Unavailable.
func (w *Reconciler) Read(ctx context.Context, caseID string, run int) (Snapshot, error) {
	var s Snapshot
	err := w.retryConflicts(ctx, func(int) (err error) {
		s, err = w.read(ctx, caseID, run)
		return err
	})
	return s, w.storeFault(err)
}

func (w *Reconciler) read(ctx context.Context, caseID string, run int) (Snapshot, error) {
	head, c, err := w.store.Current(ctx, caseID)
	if err != nil {
		return Snapshot{}, err
	}
	if run != 0 && run != head.Run {
		if c, err = w.store.Get(ctx, caseID, run); err != nil {
			return Snapshot{}, err
		}
	}
	view, err := w.view(ctx, c)
	if errors.Is(err, store.ErrNotFound) {
		return Snapshot{}, store.ErrConflict // purged since its record was read
	}
	return Snapshot{View: view, EndVersion: c.Outcome.EndVersion, Current: c.Run == head.Run, record: &c}, err
}
