package console

import (
	"net/http"

	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// health is what a sweep would find now, and whether that is nothing: nil if nothing was found, but not everything was looked at.
type health struct {
	Healthy *bool `json:"healthy"`
	reconcile.Health
}

// Found reports whether there is something to repair.
func (h health) Found() bool { return h.Overdue > 0 || h.Leaked > 0 || h.Unpublished > 0 }

func (f function) health(rw http.ResponseWriter, r *http.Request, user string) error {
	found, err := f.reconciler.Inspect(r.Context())
	if err != nil {
		return err
	}
	h := health{Health: found}
	if nothing := !h.Found(); !nothing || !found.Partial {
		h.Healthy = &nothing
	}
	if wantsJSON(r) {
		answer.JSON(rw, http.StatusOK, h)
		return nil
	}
	return f.pages.show(rw, http.StatusOK, "health", page{Title: "Health", Base: "../", User: user, Now: f.reconciler.Now(), Refresh: 10, Data: h})
}
