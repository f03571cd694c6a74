package pipeline

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/report"
)

// maxRetryAfter bounds the delay that is taken from a Retry-After.
const maxRetryAfter = 24 * time.Hour

// answer is an HTTP answer of the pipeline, read to its end.
type answer struct {
	status     int
	retryAfter string // the header; "" without one
	body       []byte // as [report.Text] returns it
	unreadable string // why the body is incomplete or unreadable; "" if it was read
	now        time.Time
	secrets    []string
	host       string // of the pipeline, for Cause
}

// receive reads the whole body of an answer.
func (c *Client) receive(ctx context.Context, resp *http.Response, secrets []string) answer {
	a := answer{
		status:     resp.StatusCode,
		retryAfter: resp.Header.Get("Retry-After"),
		now:        c.config.Now(),
		secrets:    secrets,
		host:       c.host,
	}
	body, err := report.ReadAll(resp.Body, c.config.MaxAnswer) // to its end, or the connection cannot be used again
	if err != nil {
		a.unreadable = errorText(ctx, err)
		return a
	}
	switch strings.ToLower(resp.Header.Get("Content-Encoding")) {
	case "", "identity", "gzip", "x-gzip":
	default: // some servers name an encoding although they send plain JSON
		if !json.Valid(body) {
			a.unreadable = "it is in an encoding that was not asked for"
			return a
		}
	}
	a.body = body
	return a
}

// statusLine describes the status of the answer.
func (a answer) statusLine() string { return "the pipeline answered " + statusText(a.status) }

// message returns the message that the body holds.
func (a answer) message() string { return clean(report.Message(a.body), maxMessage, a.secrets) }

// logCause returns the Cause of an outcome for the log: the status, why, and the host. It holds
// nothing of the body.
func (a answer) logCause(why string) string {
	return clean(cause(statusText(a.status)+why, a.host), maxMessage, a.secrets)
}

// busy reports whether the pipeline asks the client to try again.
func (a answer) busy() bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable && a.retryAfter != ""
}

// outcome returns the outcome of the dispatch of that run; [Client.Dispatch] lists the outcomes.
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

// retryAfter reads a Retry-After: seconds, or an HTTP date (RFC 9110, section 10.2.3). It returns 0
// for anything else.
func retryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if seconds, err := strconv.ParseFloat(header, 64); err == nil {
		if math.IsNaN(seconds) || math.IsInf(seconds, 0) || seconds < 0 {
			return 0
		}
		return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}
