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

// New returns the handler of POST /{case_id}?run=N&token=…, whose body is the pipeline's report. The
// token is checked before the body is read: if it is not that of the run, the answer is 401. The
// other answers are 200 if the report is recorded, even if it changed nothing; 401 if its signature
// is wrong; 400 if it cannot be read or is about another job.
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
