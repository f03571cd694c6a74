// Package cancel is the public function that ends a run as cancelled.
package cancel

import (
	"net/http"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// New returns the handler of POST /{case_id}?run=N. It cancels the run and responds 200 with the
// case. Without run, it cancels the current run.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	callers := access.NewCallers(cfg, reconciler.Now)
	h := answer.Handler(reconciler.Log(), func(rw http.ResponseWriter, r *http.Request) error {
		at, err := address.Parse(r)
		if err != nil {
			return err
		}
		if err := callers.ToCase(r, casetoken.ToCancel, at.CaseID, reconciler.Owner); err != nil {
			return err
		}
		view, err := reconciler.Cancel(r.Context(), at.CaseID, at.Run)
		if err != nil {
			return err
		}
		answer.JSON(rw, http.StatusOK, view)
		return nil
	}, http.MethodPost)
	return access.CORS(cfg.Access.AllowedOrigins, h, http.MethodPost)
}
