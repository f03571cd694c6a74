// Package dispatch is the function that hands a run to the pipeline, called by Cloud Tasks.
package dispatch

import (
	"net/http"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/task"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// New returns the function. It refuses other callers than the settings name, before it reads what they send.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	return task.Handler(reconciler.Log, access.Private(cfg, reconciler.Log, reconciler.Now), func(r *http.Request, body queue.Body, retryCount int) error {
		return reconciler.Dispatch(r.Context(), body, retryCount)
	})
}
