package pipeline

import (
	"context"
	"net/http"

	"github.com/casewatch/casewatch/shared/cases"
)

// Cancel asks the pipeline to cancel the job of a run, with the request cancel of the description.
// It waits for at most Config.CheckTimeout. It sends one request on a connection of its own.
//
// The Kind of the outcome is
//   - confirmed: 2xx; or 404, 409 or 410, which say that there is nothing to cancel.
//   - again: no answer, 429, or 5xx except 501. RetryAfter is as the answer asks.
//   - failed: everything else. Also if the description has no such request, or if it needs the
//     job's name and that is not known.
//
// Message and Cause are as in [Client.Dispatch].
func (c *Client) Cancel(ctx context.Context, job Job) cases.CancelOutcome {
	if !c.pipeline.CanCancel() {
		const message = "the pipeline's description has no cancel request"
		return cases.CancelOutcome{Kind: cases.CancelFailed, Message: message, Cause: cause(message, c.host)}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.CheckTimeout, timeoutError(c.config.CheckTimeout))
	defer cancel()
	r, err := c.request(ctx, c.pipeline.Cancel, job, "", nil)
	if err != nil {
		message := clean("the request cannot be made: "+err.Error(), maxMessage, nil)
		return cases.CancelOutcome{Kind: cases.CancelFailed, Message: message, Cause: cause(message, c.host)}
	}
	secrets, err := c.authorize(ctx, r, job)
	if err != nil {
		message := c.noToken(err, secrets)
		return cases.CancelOutcome{Kind: cases.CancelAgain, Message: message, Cause: cause(message, c.host)}
	}
	transport := c.dispatchTransport(ctx, new(wire))
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		message := "no answer: " + clean(errorText(ctx, err), maxMessage, secrets)
		c.observe(r, nil, answer{secrets: secrets}, message)
		return cases.CancelOutcome{Kind: cases.CancelAgain, Message: message,
			Cause: c.logCause(ctx, err, r.URL.Host, secrets)}
	}
	defer resp.Body.Close()
	a := c.receive(ctx, resp, secrets)
	c.observe(r, nil, a, "")
	return a.cancelled()
}

// cancelled returns the outcome of a cancel request.
func (a answer) cancelled() cases.CancelOutcome {
	out := cases.CancelOutcome{Message: or(a.message(), a.statusLine()), Cause: a.logCause("")}
	switch {
	case a.status/100 == 2, a.status == http.StatusNotFound, a.status == http.StatusConflict,
		a.status == http.StatusGone:
		return cases.CancelOutcome{Kind: cases.CancelConfirmed}
	case a.status == http.StatusTooManyRequests, a.status >= 500 && a.status != http.StatusNotImplemented:
		out.Kind, out.RetryAfter = cases.CancelAgain, retryAfter(a.retryAfter, a.now)
	default:
		out.Kind = cases.CancelFailed
	}
	return out
}
