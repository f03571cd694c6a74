package pipeline

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// Dispatch sends the run to the pipeline with the request start of the description. It waits for
// the answer for at most the timeout of its dispatches. It sends exactly one request, with the
// Idempotency-Key "<case_id>:<run>". The request has a new connection, which is closed when
// Dispatch returns.
//
// The Nonce of the outcome is empty. Its Kind is
//   - unreachable: no byte of the request was written to the network. There was no ID token, no
//     address or no connection; or the TLS handshake failed, the connection broke, or ctx ended
//     before the first byte.
//   - busy: 429, or 503 with Retry-After, whatever the body holds. RetryAfter is 0 if its value is
//     unreadable or in the past.
//   - accepted: a status of start.accepted. JobID is the job's name. Reading is what the answer
//     shows of it. With a status code that means success, an answer that names a job is accepted.
//   - succeeded, failed, cancelled: a status of start.accepted, and the job is done already. A
//     result that is elsewhere is fetched by a poll: then the run is accepted.
//   - refused: any other 4xx, and any other 3xx, since redirects are not followed. Message is the
//     pipeline's. A form that is not a JSON object is refused too, and is not sent.
//   - uncertain: everything else. Examples are another 5xx, and an answer that is accepted and does
//     not name the job that it should. So is an answer that did not arrive in time.
//
// The preset documents has its own outcomes; see documents.go.
//
// Answers are read with [report.ReadAll]. Message is one line for people. It holds no content of
// the form, no secret and no address. Cause is one line for the log. It names the error and the
// host, and holds nothing of the body.
func (c *Client) Dispatch(ctx context.Context, job Job) cases.DispatchOutcome {
	body, err := c.body(job)
	if err != nil {
		return cases.DispatchOutcome{Kind: cases.DispatchRefused, Message: err.Error(), Cause: err.Error()}
	}
	timeout := c.pipeline.Dispatch.Timeout
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, timeoutError(timeout))
	defer cancel()

	r, err := c.request(ctx, c.pipeline.Start.Request, job, "", bytes.NewReader(body))
	if err != nil {
		return cases.DispatchOutcome{
			Kind:    cases.DispatchUnreachable,
			Message: "the request cannot be made",
			Cause:   cause("the request cannot be made", c.host),
		}
	}
	r.GetBody = nil // without it, the transport cannot repeat the request
	secrets, err := c.authorize(ctx, r, job)
	if err != nil {
		message := c.noToken(err, secrets)
		return cases.DispatchOutcome{Kind: cases.DispatchUnreachable, Message: message, Cause: cause(message, c.host)}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", job.idempotencyKey())

	w := new(wire)
	transport := c.dispatchTransport(ctx, w)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		reason := clean(errorText(ctx, err), maxMessage, secrets)
		out := cases.DispatchOutcome{
			Kind:    cases.DispatchUnreachable,
			Message: "the pipeline could not be reached: " + reason,
			Cause:   c.logCause(ctx, err, r.URL.Host, secrets),
		}
		if w.seal() {
			out.Kind, out.Message = cases.DispatchUncertain, "no answer to the request: "+reason
		}
		c.observe(r, body, answer{secrets: secrets}, out.Message)
		return out
	}
	defer resp.Body.Close()

	if resp.StatusCode == http.StatusAccepted {
		// The run is accepted, unless the body says that it failed. A slow body must not keep the
		// dispatch waiting.
		w.readUntil(time.Now().Add(c.config.CheckTimeout))
	}
	a := c.receive(ctx, resp, secrets)
	c.observe(r, body, a, "")
	if c.documents() {
		return a.outcome(job.CaseID, job.Run)
	}
	return c.started(a)
}
