package pipeline

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// Request is a run to dispatch.
type Request struct {
	CaseID      string
	Run         int
	Form        []byte // a JSON object; only case_id and run are changed before it is sent
	TraceParent string // W3C traceparent; "" for none
}

// Dispatch sends the run to the pipeline with POST {URL}/api/normalize. It waits for the answer for
// at most Config.Timeout. It sends exactly one request, with the Idempotency-Key "<case_id>:<run>".
// The request has a new connection, which is closed when Dispatch returns.
//
// The Nonce of the outcome is empty. Its Kind is
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
// Answers are read with [report.ReadAll]. Message is one line for people. It holds no content of
// the form, no secret and no address. Cause is one line for the log. It names the error and the
// host, and holds nothing of the body.
func (c *Client) Dispatch(ctx context.Context, req Request) cases.DispatchOutcome {
	body, err := splice(req.Form, req.CaseID, req.Run)
	if err != nil {
		return cases.DispatchOutcome{
			Kind:    cases.DispatchRefused,
			Message: errNotAnObject.Error(),
			Cause:   errNotAnObject.Error(),
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.Timeout, timeoutError(c.config.Timeout))
	defer cancel()

	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/api/normalize", bytes.NewReader(body))
	if err != nil {
		return cases.DispatchOutcome{
			Kind:    cases.DispatchUnreachable,
			Message: "the request cannot be made",
			Cause:   cause("the request cannot be made", c.host),
		}
	}
	r.GetBody = nil // without it, the transport cannot repeat the request
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
		reason := clean(errorText(ctx, err), maxMessage, secrets)
		out := cases.DispatchOutcome{
			Kind:    cases.DispatchUnreachable,
			Message: "the pipeline could not be reached: " + reason,
			Cause:   c.logCause(ctx, err, secrets),
		}
		if w.seal() {
			out.Kind, out.Message = cases.DispatchUncertain, "no answer to the request: "+reason
		}
		return out
	}
	defer resp.Body.Close()

	if resp.StatusCode == http.StatusAccepted {
		// The run is accepted, unless the body says that it failed. A slow body must not keep the
		// dispatch waiting.
		w.readUntil(time.Now().Add(c.config.CheckTimeout))
	}
	return c.receive(ctx, resp, secrets).outcome(req.CaseID, req.Run)
}
