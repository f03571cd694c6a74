// Package start is the public function that starts a run of a case.
package start

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// retryAfter is the number of seconds after which the client of a new case should first poll its
// status.
const retryAfter = "2"

type function struct {
	cfg        *config.Config
	reconciler *reconcile.Reconciler
	callers    access.Callers
	read       casetoken.Tokens
	cancel     casetoken.Tokens
	waits      chan struct{} // a place for each request that waits for the end of its run
}

// New returns the handler of POST /, whose body is the form as JSON. It responds 202 with the run
// that it started, or 200 with the existing run that the request names.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	f := function{
		cfg,
		reconciler,
		access.NewCallers(cfg, reconciler.Now),
		casetoken.New(casetoken.ToRead, cfg.Access.TokenSecrets),
		casetoken.New(casetoken.ToCancel, cfg.Access.TokenSecrets),
		make(chan struct{}, maxWaits),
	}
	return access.CORS(cfg.Access.AllowedOrigins,
		answer.Handler(reconciler.Log(), f.serve, http.MethodPost), http.MethodPost)
}

func (f function) serve(rw http.ResponseWriter, r *http.Request) error {
	if r.URL.Path != "/" && r.URL.Path != "" {
		return fault.New(fault.NotFound, "the path must be /")
	}
	caller, err := f.callers.Identify(r)
	if err != nil {
		return err
	}
	if caller.Anonymous() && !f.cfg.Access.AllowAnonymous {
		return fault.New(fault.Unauthorized, "%s is needed", f.callers.Needed())
	}
	if err := answer.RequireJSON(r); err != nil {
		return err
	}
	body, err := answer.Body(rw, r, reconcile.MaxForm)
	if err != nil {
		return err
	}
	req, named, err := decode(r, body, caller, limits{f.cfg.Rules.MaxDeadline, f.cfg.Pipelines.Names()})
	if err != nil {
		return err
	}
	if err := f.authorize(caller, req, named); err != nil {
		return err
	}
	req.Owner, req.AnyCase = caller.Owner(), caller.APIKey
	req.TraceParent = gcplog.TraceParent(r.Context())
	started, err := f.reconciler.Start(r.Context(), req)
	if err != nil {
		return err
	}
	if wait := preferredWait(r.Header.Values("Prefer")); wait > 0 {
		if view, ended := f.awaitEnd(r.Context(), started.Case, wait); ended {
			rw.Header().Set("Preference-Applied", fmt.Sprintf("wait=%d", int(wait.Seconds())))
			rw.Header().Set("Location", f.body(started).StatusURL)
			answer.JSON(rw, http.StatusOK, view)
			return nil
		}
	}
	f.answer(rw, started)
	return nil
}

// authorize returns Forbidden if the caller may not name the case or adopt a run. In `make run`,
// where one process serves all functions, every caller may.
func (f function) authorize(caller access.Caller, req reconcile.StartRequest, named bool) error {
	switch {
	case f.cfg.Function == config.Local && !f.cfg.OnGoogleCloud:
		return nil
	case named && caller.Anonymous():
		return fault.New(fault.Forbidden, "an anonymous caller may not name a case_id")
	case req.Adopt && !caller.APIKey:
		return fault.New(fault.Forbidden, "adopt=true needs an API key")
	}
	return nil
}

// body is the response.
type body struct {
	CaseID     string      `json:"case_id"`
	Run        int         `json:"run"`
	State      cases.State `json:"state"`
	StatusURL  string      `json:"status_url"`
	CancelURL  string      `json:"cancel_url"`
	CreatedAt  time.Time   `json:"created_at"`
	DeadlineAt time.Time   `json:"deadline_at"`
}

// body returns what the caller is told of a run.
func (f function) body(started reconcile.StartAnswer) body {
	c := started.Case
	until := c.DeadlineAt.Add(f.cfg.Rules.Retention)
	run := strconv.Itoa(c.Run)
	status := url.Values{"token": {f.read.Sign(c.CaseID, until)}}
	if !started.Current {
		status.Set("run", run) // without it, the address names the current run
	}
	cancel := url.Values{"run": {run}, "token": {f.cancel.Sign(c.CaseID, until)}}
	return body{
		CaseID: c.CaseID, Run: c.Run, State: c.State, CreatedAt: c.CreatedAt, DeadlineAt: c.DeadlineAt,
		StatusURL: f.cfg.URLs.Status + "/" + url.PathEscape(c.CaseID) + "?" + status.Encode(),
		CancelURL: f.cfg.URLs.Cancel + "/" + url.PathEscape(c.CaseID) + "?" + cancel.Encode(),
	}
}

func (f function) answer(rw http.ResponseWriter, started reconcile.StartAnswer) {
	b := f.body(started)
	rw.Header().Set("Location", b.StatusURL)
	if !b.State.Ended() {
		rw.Header().Set("Retry-After", retryAfter)
	}
	code := http.StatusOK
	if started.Begun {
		code = http.StatusAccepted
	}
	answer.JSON(rw, code, b)
}
