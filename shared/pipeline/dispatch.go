package pipeline

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// Request is a run to hand over.
type Request struct {
	CaseID      string
	Run         int
	Form        []byte // a JSON object; it is sent as it is, but for case_id and run
	TraceParent string // W3C traceparent; "" for none
}

// Dispatch sends the run to the pipeline, POST {URL}/api/normalize, and waits for the answer at most for Config.Timeout. It sends exactly one
// request, with Idempotency-Key "<case_id>:<run>", over a new connection that is closed when it returns.
//
// The outcome, its Nonce left empty, is
//   - unreachable: no byte of the request was handed to the network: no token, no address, no connection, a TLS handshake that
//     failed, a connection broken before the first byte, ctx ended before that;
//   - busy: 429, or 503 with Retry-After, whatever the body says. RetryAfter is 0 if it says none that can be read, or one that is
//     past. SaysFailed, Message and Result are those of a body that says "success": false;
//   - failed: the whole answer says "success": false, whatever its status, at the top or under "detail". Message and Result are its own;
//   - accepted: 202;
//   - succeeded: 200, or another 2xx but 202, with "success": true. Result is the answer; a large one is kept as [report.ParseResult] says;
//   - refused: any other 4xx, and 3xx, since redirects are not followed. Message is the pipeline's. Also a form that is not a JSON object, which is
//     not sent at all;
//   - uncertain: everything else: an answer of any status that names another case or run, another 200 or 2xx, another 5xx, an answer
//     that broke off, did not come in time, cannot be unpacked or is larger than Config.MaxAnswer. A status line of 202, 3xx, 4xx, or of a
//     busy pipeline counts even when the body behind it cannot be read.
//
// Answers are read as [report.ReadAll] says. Message is one line for people, without form content of ours, secrets or addresses.
// Cause is one line for the log: what went wrong with which host, without what the pipeline said.
func (c *Client) Dispatch(ctx context.Context, req Request) cases.DispatchOutcome {
	body, err := splice(req.Form, req.CaseID, req.Run)
	if err != nil {
		return cases.DispatchOutcome{Kind: cases.DispatchRefused, Message: errNotAnObject.Error(), Cause: errNotAnObject.Error()}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.Timeout, timeoutError(c.config.Timeout))
	defer cancel()

	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/api/normalize", bytes.NewReader(body))
	if err != nil {
		return cases.DispatchOutcome{Kind: cases.DispatchUnreachable, Message: "the request cannot be made", Cause: cause("the request cannot be made", c.host)}
	}
	r.GetBody = nil // nothing may send it again
	secrets, err := c.authorize(ctx, r.Header, req.TraceParent)
	if err != nil {
		message := clean("no ID token for the pipeline: "+err.Error(), maxMessage, []string{c.config.APIKey})
		return cases.DispatchOutcome{Kind: cases.DispatchUnreachable, Message: message, Cause: cause(message, c.host)}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Idempotency-Key", req.CaseID+":"+strconv.Itoa(req.Run))

	w := new(wire)
	transport := c.dispatchTransport(ctx, w)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		reason := clean(faultText(ctx, err), maxMessage, secrets)
		out := cases.DispatchOutcome{Kind: cases.DispatchUnreachable, Message: "the pipeline could not be reached: " + reason, Cause: c.because(ctx, err, secrets)}
		if w.seal() {
			out.Kind, out.Message = cases.DispatchUncertain, "no answer to the request: "+reason
		}
		return out
	}
	defer resp.Body.Close()

	if resp.StatusCode == http.StatusAccepted {
		// The body behind it can only turn it into a failure; it does not hold the dispatch open.
		w.readUntil(time.Now().Add(c.config.CheckTimeout))
	}
	return c.receive(ctx, resp, secrets).outcome(req.CaseID, req.Run)
}
