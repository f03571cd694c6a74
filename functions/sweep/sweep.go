// Package sweep is the function that finds overdue runs and repairs them, called by Cloud
// Scheduler.
package sweep

import (
	"net/http"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// New returns the handler. It responds 200 with the report of the sweep, and rejects callers that
// [access.Private] rejects. It reads no body: Cloud Scheduler sends an empty one.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	allowed := access.Private(cfg, reconciler.Log(), reconciler.Now)
	return answer.Handler(reconciler.Log(), func(rw http.ResponseWriter, r *http.Request) error {
		if err := allowed(r); err != nil {
			return err
		}
		if err := answer.RequireJSONIfAny(r); err != nil {
			return err
		}
		report, err := reconciler.Sweep(r.Context())
		if err != nil {
			return err
		}
		answer.JSON(rw, http.StatusOK, report)
		return nil
	}, http.MethodPost)
}
