// Package check is the function that polls the pipeline for a run, at most once, called by Cloud
// Tasks.
package check

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
	return task.Handler(reconciler.Log(), access.Private(cfg, reconciler.Log(), reconciler.Now),
		func(r *http.Request, body queue.Body, _ int) error {
			return reconciler.Check(r.Context(), body)
		})
}
