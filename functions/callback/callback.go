// Package callback is the function at whose addresses pipelines report on their runs.
package callback

import (
	"net/http"

	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// New returns the handler of POST /{case_id}?run=N&token=…, whose body is the pipeline's report. It
// responds 200 when the report is recorded, whatever it changed, and 401 before it reads the body if
// the token is not that of the run. A report that cannot be read gets 400.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	return answer.Handler(reconciler.Log(), func(rw http.ResponseWriter, r *http.Request) error {
		at, err := address.Parse(r)
		if err != nil {
			return err
		}
		token := r.URL.Query().Get("token")
		if !casetoken.VerifyCallback(cfg.Access.TokenSecrets, token, at.CaseID, at.Run, reconciler.Now()) {
			return fault.New(fault.Unauthorized, "the token is not that of this run, or has expired")
		}
		body, err := answer.Body(rw, r, reconcile.MaxCallback)
		if err != nil {
			return err
		}
		report := reconcile.CallbackReport{CaseID: at.CaseID, Run: at.Run, Header: r.Header, Body: body}
		if err := reconciler.Callback(r.Context(), report); err != nil {
			return err
		}
		answer.JSON(rw, http.StatusOK, struct{}{})
		return nil
	}, http.MethodPost)
}
