// Package dispatch is the function that starts a run at the pipeline, and cancels the job of a run that
// has ended. Cloud Tasks calls it.
package dispatch

import (
	"net/http"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/task"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// New returns the handler. It rejects callers that [access.Private] rejects, before it reads the
// body.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	return task.Handler(
		reconciler.Log(),
		access.Private(cfg, reconciler.Log(), reconciler.Now),
		func(r *http.Request, body queue.Body, retryCount int) error {
			if body.Kind == queue.Stop {
				return reconciler.Stop(r.Context(), body)
			}
			return reconciler.Dispatch(r.Context(), body, retryCount)
		},
	)
}
