package console

import (
	"mime"
	"net/http"
	"net/url"
	"strconv"

	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
)

// maxBody is the limit of a request body in bytes, far above the largest form of the console's
// pages.
const maxBody = 4 << 10

// done maps each action to the message of the page that follows it. The address contains the
// action.
var done = map[string]string{
	"cancel": "The run is cancelled.",
	"rerun":  "This run was started with the form of the previous run.",
}

// doneMessage returns the message of an action. It returns "" if the run shows that the action did
// not happen: anybody can write the address that names it.
func doneMessage(d detail, action string) string {
	if action == "cancel" && d.Case.State != cases.Cancelled || action == "rerun" && d.Case.Run == 1 {
		return ""
	}
	return done[action]
}

// act does the action of the form with the run that the address names. The address must contain the
// run, so that an old page cannot act on a newer run.
func (f function) act(rw http.ResponseWriter, r *http.Request, at address.Address, user string) error {
	action, err := parseAction(rw, r)
	if err != nil {
		return err
	}
	if at.Run == 0 {
		return invalid([]fault.Fault{{Pointer: "run", Detail: "is required: the number of the run to act on"}})
	}
	run, status := at.Run, http.StatusOK
	switch action {
	case "cancel":
		_, err = f.reconciler.Cancel(r.Context(), at.CaseID, at.Run)
	case "rerun":
		begun, failed := f.reconciler.Rerun(r.Context(), at.CaseID, at.Run, gcplog.TraceParent(r.Context()))
		if run, err = begun.Case.Run, failed; begun.Begun {
			status = http.StatusAccepted
		}
	}
	if err == nil || fault.KindOf(err) == fault.Unavailable { // the action may be recorded in spite of the error
		f.reconciler.Log().InfoContext(
			r.Context(), "operator acted on a run",
			"action", action, "case_id", at.CaseID, "run", at.Run, "user", user, "sure", err == nil,
		)
	}
	if err != nil {
		return err
	}
	if !wantsJSON(r) {
		redirect(rw, http.StatusSeeOther, at.CaseID, url.Values{"run": {strconv.Itoa(run)}, "done": {action}})
		return nil
	}
	found, err := f.reconciler.Detail(r.Context(), at.CaseID, run)
	if err != nil {
		return err
	}
	answer.JSON(rw, status, f.detail(found))
	return nil
}

// parseAction returns the action of the form. The error is MediaType, TooLarge or Invalid.
func parseAction(rw http.ResponseWriter, r *http.Request) (string, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return "", fault.New(fault.MediaType, "the body must be sent as application/x-www-form-urlencoded")
	}
	body, err := answer.Body(rw, r, maxBody)
	if err != nil {
		return "", err
	}
	form, err := url.ParseQuery(string(body))
	action := form.Get("action")
	if err != nil || len(form["action"]) != 1 || done[action] == "" {
		return "", &fault.Error{
			Kind:   fault.Invalid,
			Detail: "the form is not valid",
			Faults: []fault.Fault{{Pointer: "action", Detail: "must be cancel or rerun"}},
		}
	}
	return action, nil
}
