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

// maxRetryAfter bounds what a Retry-After can ask for: no run lives longer.
const maxRetryAfter = 24 * time.Hour

// answer is what the pipeline answered to a request.
type answer struct {
	status     int
	retryAfter string // the header; "" without one
	body       []byte // as [report.Text] returns it
	fault      string // why the body is not whole, or cannot be read; "" if it is
	now        time.Time
	secrets    []string
	host       string // of the pipeline, for causes
}

// receive reads an answer.
func (c *Client) receive(ctx context.Context, resp *http.Response, secrets []string) answer {
	a := answer{
		status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"), now: c.config.Now(), secrets: secrets, host: c.host,
	}
	body, err := report.ReadAll(resp.Body, c.config.MaxAnswer) // to its end, or the connection cannot be used again
	if err != nil {
		a.fault = faultText(ctx, err)
		return a
	}
	switch strings.ToLower(resp.Header.Get("Content-Encoding")) {
	case "", "identity", "gzip", "x-gzip":
	default: // it may be said of what is plain JSON all the same
		if !json.Valid(body) {
			a.fault = "it is in an encoding that was not asked for"
			return a
		}
	}
	a.body = body
	return a
}

// answered says which status came.
func (a answer) answered() string { return "the pipeline answered " + statusText(a.status) }

// said returns the message of the body.
func (a answer) said() string { return clean(report.Message(a.body), maxMessage, a.secrets) }

// because returns the cause of an outcome for the log: the status and the host, and never what the body says.
func (a answer) because(why string) string {
	return clean(cause(statusText(a.status)+why, a.host), maxMessage, a.secrets)
}

// busy reports whether the pipeline asks to try again.
func (a answer) busy() bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable && a.retryAfter != ""
}

// outcome reads the answer to a dispatch of that run, as [Client.Dispatch] says.
func (a answer) outcome(caseID string, run int) cases.DispatchOutcome {
	var result *report.Result
	said := ""
	if a.fault == "" {
		if other := report.Another(a.body, caseID, run); other != "" {
			return cases.DispatchOutcome{Kind: cases.DispatchUncertain,
				Message: a.answered() + ", but about " + other, Cause: a.because(", about " + other)}
		}
		result, _ = report.ParseResult(a.body) // nil if the body is no object
		if result != nil && result.Success != nil {
			result.Message = clean(result.Message, maxMessage, a.secrets)
			said = result.Message
		} else {
			said = a.said()
		}
	}
	out := cases.DispatchOutcome{Cause: a.because("")}
	switch {
	case a.busy():
		out.Kind, out.RetryAfter, out.Message = cases.DispatchBusy, retryAfter(a.retryAfter, a.now), or(said, a.answered())
		if result.Failed() {
			out.SaysFailed, out.Result = true, result.Kept()
		}
	case result.Failed():
		return cases.DispatchOutcome{Kind: cases.DispatchFailed, Result: result.Kept(), Message: or(said, "the pipeline says that it failed, and not why")}
	case a.status == http.StatusAccepted:
		return cases.DispatchOutcome{Kind: cases.DispatchAccepted}
	case a.status >= 300 && a.status < 400:
		out.Kind, out.Message = cases.DispatchRefused, or(said, a.answered()+", a redirect, which is not followed")
	case a.status >= 400 && a.status < 500:
		out.Kind, out.Message = cases.DispatchRefused, or(said, a.answered())
	case a.fault != "":
		// What did not come could be the pipeline's own report.
		out.Kind, out.Message, out.Cause = cases.DispatchUncertain, a.answered()+", but "+a.fault, a.because(", but "+a.fault)
	case a.status/100 == 2 && result != nil && result.Success != nil:
		return cases.DispatchOutcome{Kind: cases.DispatchSucceeded, Result: result.Kept(), Message: result.Message}
	case a.status == http.StatusOK:
		out.Kind, out.Message = cases.DispatchUncertain, a.answered()+" without saying whether it succeeded"
		out.Cause = a.because(" without saying whether it succeeded")
	default:
		out.Kind, out.Message = cases.DispatchUncertain, a.answered()
		if said != "" {
			out.Message = clean(out.Message+": "+said, maxMessage, a.secrets)
		}
	}
	return out
}

// retryAfter reads a Retry-After: seconds, or a date of HTTP (RFC 9110, section 10.2.3). It is 0 for anything else.
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
