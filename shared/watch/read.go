package watch

import (
	"context"
	"errors"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/store"
)

// maxReadTries bounds how often a run is read again because it changed between the record and its result.
const maxReadTries = 5

// Read returns a run as readers see it, and whether it is the case's current one; run 0 is the current one. It never asks the pipeline.
//
// Errors: NotFound, Unavailable.
func (w *Watcher) Read(ctx context.Context, caseID string, run int) (cases.View, bool, error) {
	var err error
	for range maxReadTries {
		var view cases.View
		var current bool
		view, current, err = w.read(ctx, caseID, run)
		if !errors.Is(err, errTorn) {
			return view, current, w.storeFault(err)
		}
	}
	return cases.View{}, false, fault.Wrap(fault.Unavailable, err, "the case is changing too fast; try again")
}

// errTorn says that a run was purged between its record and its result.
var errTorn = errors.New("watch: a value is gone that its record names")

func (w *Watcher) read(ctx context.Context, caseID string, run int) (cases.View, bool, error) {
	head, c, err := w.Store.Current(ctx, caseID)
	if err != nil {
		return cases.View{}, false, err
	}
	if run != 0 && run != head.Run {
		if c, err = w.Store.Get(ctx, caseID, run); err != nil {
			return cases.View{}, false, err
		}
	}
	view, err := w.view(ctx, c)
	if errors.Is(err, store.ErrNotFound) {
		return cases.View{}, false, errTorn
	}
	return view, c.Run == head.Run, err
}

// Wait returns when the case may have something newer than that version of that run, or with the context's error. It
// holds nothing afterwards.
func (w *Watcher) Wait(ctx context.Context, caseID string, run int, version int64) error {
	err := w.Store.Wait(ctx, caseID, run, version)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return w.storeFault(err)
}
