package console

import (
	"net/http"

	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/watch"
)

// health is what a sweep would find now, and whether that is nothing.
type health struct {
	Healthy bool `json:"healthy"`
	watch.Health
}

func (f function) health(rw http.ResponseWriter, r *http.Request, user string) error {
	found, err := f.w.Inspect(r.Context())
	if err != nil {
		return err
	}
	h := health{Healthy: found.Overdue == 0 && found.Leaked == 0 && found.Unpublished == 0 && !found.Partial, Health: found}
	if wantsJSON(r) {
		answer.JSON(rw, http.StatusOK, h)
		return nil
	}
	return f.pages.show(rw, http.StatusOK, "health", page{Title: "Health", Base: "../", User: user, Now: f.w.Now(), Refresh: 10, Data: h})
}
