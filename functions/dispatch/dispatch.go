// Package dispatch is the function that hands a run to the pipeline, called by Cloud Tasks.
package dispatch

import (
	"net/http"

	"github.com/casewatch/casewatch/functions/internal/task"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/watch"
)

// New returns the function.
func New(_ *config.Config, w *watch.Watcher) http.Handler {
	return task.Handler(w.Log, func(r *http.Request, body queue.Body, retryCount int) error {
		return w.Dispatch(r.Context(), body, retryCount)
	})
}
