// Package console is the function by which operators see all cases. It shows a list, one run with
// its timeline and checks, and what a sweep would find now. Operators can cancel a run, and
// run a case again that did not succeed.
//
// The function renders its pages, which work without scripts. The same addresses send JSON to
// callers that prefer it. All links are relative, so the console can be served under any path that
// ends in a slash. It never shows the content of a form.
package console

import (
	"net/http"
	"strings"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// policy lets a page use only resources of the console, send forms only to the console, and be in
// no frame.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; " +
	"img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

type function struct {
	cfg        *config.Config
	reconciler *reconcile.Reconciler
	user       func(*http.Request) (string, error)
	cross      *http.CrossOriginProtection
	pages      pages
}

// New returns the handler of:
//
//	GET /?state=&age=&id=&after=   runs, newest first; with an id, a redirect to that case
//	GET /{case_id}?run=N           one run, the current one without N
//	POST /{case_id}?run=N          with action=cancel or action=rerun as a form
//	GET /-/health                  what a sweep would find
//
// It rejects users that CONSOLE_USERS does not list, and cross-origin requests.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	f := function{
		cfg,
		reconciler,
		access.Console(cfg, reconciler.Log(), reconciler.Now),
		http.NewCrossOriginProtection(),
		newPages(),
	}
	h := answer.Handler(reconciler.Log(), f.serve, http.MethodGet, http.MethodHead, http.MethodPost)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Security-Policy", policy)
		h.ServeHTTP(rw, r)
	})
}

func (f function) serve(rw http.ResponseWriter, r *http.Request) error {
	h := rw.Header()
	h.Set("Cache-Control", "private, no-store")
	h.Set("Referrer-Policy", "same-origin") // needed so that browsers send the origin of a form
	h.Add("Vary", "Accept")
	user, err := f.user(r)
	if err == nil {
		err = f.route(rw, r, user)
	}
	if err == nil || wantsJSON(r) {
		return err
	}
	return f.errorPage(rw, r, user, err)
}

func (f function) route(rw http.ResponseWriter, r *http.Request, user string) error {
	if err := f.cross.Check(r); err != nil {
		return fault.Wrap(fault.Forbidden, err, "cross-origin requests are not allowed")
	}
	name, own := strings.CutPrefix(r.URL.Path, "/-/")
	switch {
	case r.Method == http.MethodPost && (own || r.URL.Path == "/"):
		return &fault.Error{
			Kind:   fault.Method,
			Detail: "this address accepts only GET and HEAD",
			Allow:  []string{http.MethodGet, http.MethodHead},
		}
	case r.URL.Path == "/":
		return f.list(rw, r, user)
	case name == "health" && own:
		return f.health(rw, r, user)
	case own:
		return f.pages.file(rw, r, name)
	}
	at, err := address.Parse(r)
	if err != nil {
		return err
	}
	if r.Method == http.MethodPost {
		return f.act(rw, r, at, user)
	}
	return f.run(rw, r, at, user)
}

// wantsJSON reports whether the caller prefers JSON to a page (RFC 9110, section 12.5.1). The
// default is a page.
func wantsJSON(r *http.Request) bool {
	var asJSON, asPage float64
	for mediaRange, weight := range answer.Accepted(r) {
		switch mediaRange {
		case "application/json", fault.ContentType:
			asJSON = max(asJSON, weight)
		case "text/html":
			asPage = max(asPage, weight)
		}
	}
	return asJSON > 0 && asJSON >= asPage
}

// health is the response of the health page. Healthy is nil if nothing was found but not everything
// was checked.
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
	return f.pages.show(
		rw,
		http.StatusOK,
		"health",
		page{Title: "Health", Base: "../", User: user, Now: f.reconciler.Now(), Refresh: 10, Data: h},
	)
}
