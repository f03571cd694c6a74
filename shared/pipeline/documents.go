package pipeline

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/jsonscan"
	"github.com/casewatch/casewatch/shared/pipeline/report"
)

// This file is what only the preset documents has: the protocol of the document pipeline.

// outcome returns the outcome of the dispatch of that run. The Nonce of the outcome is empty. Its
// Kind is
//   - unreachable: no byte of the request was written to the network. There was no ID token, no
//     address or no connection; or the TLS handshake failed, the connection broke, or ctx ended
//     before the first byte.
//   - busy: 429, or 503 with Retry-After, whatever the body holds. RetryAfter is 0 if its value is
//     unreadable or in the past. If the body holds "success": false, SaysFailed is true, and
//     Message and Result come from the body.
//   - failed: the complete answer holds "success": false, at the top or under "detail", with any
//     status. Message and Result come from the body.
//   - accepted: 202.
//   - succeeded: 200, or another 2xx except 202, with "success": true. Result is the answer;
//     [report.ParseResult] shortens a large one.
//   - refused: any other 4xx, and any 3xx, since redirects are not followed. Message is the
//     pipeline's. A form that is not a JSON object is refused too, and is not sent.
//   - uncertain: everything else. Examples are an answer that names another case or run, a 2xx
//     without "success", and another 5xx. So is an answer that broke off, did not arrive in time,
//     cannot be unpacked or is larger than Config.MaxAnswer. However, a status of 202, 3xx, 4xx or
//     busy counts even if the body is unreadable.
//
// The cases of the switch are in order of precedence.
func (a answer) outcome(caseID string, run int) cases.DispatchOutcome {
	var result *report.Result
	said := ""
	if a.unreadable == "" {
		if other := report.Another(a.body, caseID, run); other != "" {
			return cases.DispatchOutcome{Kind: cases.DispatchUncertain,
				Message: a.statusLine() + ", but about " + other, Cause: a.logCause(", about " + other)}
		}
		result, _ = report.ParseResult(a.body) // nil if the body is no object
		if result != nil && result.Success != nil {
			result.Message = clean(result.Message, maxMessage, a.secrets)
			said = result.Message
		} else {
			said = a.message()
		}
	}
	out := cases.DispatchOutcome{Cause: a.logCause("")}
	switch {
	case a.busy():
		out.Kind = cases.DispatchBusy
		out.RetryAfter = retryAfter(a.retryAfter, a.now)
		out.Message = or(said, a.statusLine())
		if result.Failed() {
			out.SaysFailed, out.Result = true, result.Kept()
		}
	case result.Failed():
		return cases.DispatchOutcome{
			Kind:    cases.DispatchFailed,
			Result:  result.Kept(),
			Message: or(said, "the pipeline says that it failed, and not why"),
		}
	case a.status == http.StatusAccepted:
		return cases.DispatchOutcome{Kind: cases.DispatchAccepted}
	case a.status >= 300 && a.status < 400:
		out.Kind, out.Message = cases.DispatchRefused, or(said, a.statusLine()+", a redirect, which is not followed")
	case a.status >= 400 && a.status < 500:
		out.Kind, out.Message = cases.DispatchRefused, or(said, a.statusLine())
	case a.unreadable != "":
		// The missing part could be the pipeline's terminal report.
		out.Kind, out.Message, out.Cause = cases.DispatchUncertain, a.statusLine()+", but "+a.unreadable, a.logCause(
			", but "+a.unreadable,
		)
	case a.status/100 == 2 && result != nil && result.Success != nil:
		return cases.DispatchOutcome{Kind: cases.DispatchSucceeded, Result: result.Kept(), Message: result.Message}
	case a.status == http.StatusOK:
		out.Kind, out.Message = cases.DispatchUncertain, a.statusLine()+" without saying whether it succeeded"
		out.Cause = a.logCause(" without saying whether it succeeded")
	default:
		out.Kind, out.Message = cases.DispatchUncertain, a.statusLine()
		if said != "" {
			out.Message = clean(out.Message+": "+said, maxMessage, a.secrets)
		}
	}
	return out
}

// progress returns the outcome of a poll of that run. It sets Kind, Reading, RetryAfter, Message,
// Cause and Result. The Kind is
//   - reading: 200 with a total above 0, or with a status of running, succeeded or failed. Reading
//     is as [report.ParseProgress] describes. If the result holds "success": false, the status is
//     failed. Message and Result are set for a terminal status. A result or counts that are
//     unreadable are dropped, and Message says so.
//   - unknown: 404, or 200 with a total of 0 and no such status.
//   - busy, with a Message: 429, or 503 with Retry-After. RetryAfter is 0 if its value is
//     unreadable or in the past.
//   - failed, with a Message: everything else. Examples are no answer, a redirect, another status,
//     and a body without JSON. So is a body with neither a status nor whole counts, an answer that
//     names another case or run, and one that broke off, cannot be unpacked or is larger than
//     Config.MaxAnswer.
func (a answer) progress(caseID string, run int) cases.CheckOutcome {
	if a.busy() {
		return cases.CheckOutcome{Kind: cases.CheckBusy, RetryAfter: retryAfter(a.retryAfter, a.now),
			Message: or(a.message(), a.statusLine()), Cause: a.logCause("")}
	}
	if other := report.Another(a.body, caseID, run); other != "" &&
		(a.status == http.StatusOK || a.status == http.StatusNotFound) {
		return failedPoll(a.statusLine()+", but about "+other, a.logCause(", about "+other))
	}
	switch {
	case a.status == http.StatusNotFound:
		return cases.CheckOutcome{Kind: cases.CheckUnknown}
	case a.unreadable != "":
		return failedPoll(a.statusLine()+", but "+a.unreadable, a.logCause(", but "+a.unreadable))
	case a.status != http.StatusOK:
		message := a.statusLine()
		if said := a.message(); said != "" {
			message = clean(message+": "+said, maxMessage, a.secrets)
		}
		return failedPoll(message, a.logCause(""))
	}
	return a.reading()
}

// reading returns the outcome of a 200.
func (a answer) reading() cases.CheckOutcome {
	failed := func(err error) cases.CheckOutcome { return failedPoll(err.Error(), a.logCause(", but "+err.Error())) }
	p, err := report.ParseProgress(a.body)
	if err != nil {
		return failed(err)
	}
	out := cases.CheckOutcome{Kind: cases.CheckReading, Reading: p.Reading}
	out.Reading.Current = clean(p.Current, maxCurrent, a.secrets)
	if p.Unreadable != nil {
		out.Cause = clean(cause("the progress cannot be read: "+p.Unreadable.Error(), a.host), maxMessage, a.secrets)
	}

	members := jsonscan.Find(a.body, "result")
	result, err := report.ParseResult(members[0])
	unreadable := err != nil && report.Given(members[0])
	if result.Failed() {
		out.Reading.Status = cases.StatusFailed
	}
	out.Result = result.Kept()
	switch out.Reading.Status {
	case cases.StatusSucceeded, cases.StatusFailed:
		out.Message = a.reportMessage(out.Reading.Status, members[0], result)
		out.Dropped = cases.Dropped{Result: unreadable, Progress: p.Unreadable != nil}
	case cases.StatusRunning: // a running run needs no counts
	default:
		switch {
		case p.Unreadable != nil:
			return failed(fmt.Errorf("the progress cannot be read: %w", p.Unreadable))
		case !p.HasTotal:
			return failed(errors.New("the progress has no total"))
		case p.Total == 0:
			return cases.CheckOutcome{Kind: cases.CheckUnknown}
		}
	}
	return out
}

// reportMessage picks the message of a terminal report: of a failure what the answer says, else what its
// result says.
func (a answer) reportMessage(status cases.Status, raw json.RawMessage, result *report.Result) string {
	var message string
	if status == cases.StatusFailed {
		message = report.Message(a.body)
	}
	if result != nil {
		if status == cases.StatusFailed {
			message = cmp.Or(message, report.Message(raw))
		}
		message = cmp.Or(message, result.Message)
	}
	return clean(message, maxMessage, a.secrets)
}

// splice returns the form with case_id and run set.
func splice(form []byte, caseID string, run int) ([]byte, error) {
	id, err := json.Marshal(caseID)
	if err != nil {
		return nil, err
	}
	return setMembers(form, []string{"case_id", "run"}, [][]byte{id, strconv.AppendInt(nil, int64(run), 10)})
}
