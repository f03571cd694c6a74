// Package sweep is the function that repairs what was lost, called by Cloud Scheduler.
package sweep

import (
	"net/http"

	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/watch"
)

// New returns the function. It answers with what it found.
func New(_ *config.Config, w *watch.Watcher) http.Handler {
	return answer.Handler(w.Log, func(rw http.ResponseWriter, r *http.Request) error {
		report, err := w.Sweep(r.Context())
		if err != nil {
			return err
		}
		answer.JSON(rw, http.StatusOK, report)
		return nil
	}, http.MethodPost)
}
