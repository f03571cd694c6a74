package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

var errTooLarge = errors.New("the answer is larger than is read")

// Dispatch sends the run to the pipeline, POST {URL}/api/normalize, and waits for the answer at most for Config.Timeout. It sends exactly one
// request, with Idempotency-Key "<case_id>:<run>", over a new connection that is closed when it returns.
//
// The outcome, its Nonce left empty, is
//   - unreachable: no byte of the request was handed to the network: no token, no address, no connection, a TLS handshake that
//     failed, a connection broken before the first byte, ctx ended before that;
//   - failed: the whole answer says "success": false, whatever its status, at the top or under "detail". Message and Result are its own;
//   - accepted: 202;
//   - succeeded: 200, or another 2xx but 202, with "success": true. Result is the answer; a large one is kept as [report.ParseResult] says;
//   - busy: 429, or 503 with Retry-After. RetryAfter is 0 if it says none that can be read, or one that is past;
//   - refused: any other 4xx, and 3xx, since redirects are not followed. Message is the pipeline's. Also a form that is not a JSON object, which is
//     not sent at all;
//   - uncertain: everything else: another 200 or 2xx, another 5xx, an answer that broke off, did not come in time or is larger than
//     Config.MaxAnswer. A status line of 202, 3xx or 4xx (but 429) counts even when the body behind it broke off.
//
// Message is one line for people, without form content of ours, secrets or URLs.
func (c *Client) Dispatch(ctx context.Context, req Request) cases.DispatchOutcome {
	body, err := splice(req.Form, req.CaseID, req.Run)
	if err != nil {
		return cases.DispatchOutcome{Kind: cases.DispatchRefused, Message: errNotAnObject.Error()}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.Timeout, timeoutError(c.config.Timeout))
	defer cancel()

	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/api/normalize", bytes.NewReader(body))
	if err != nil {
		return unreachable("the request cannot be made")
	}
	r.GetBody = nil // nothing may send it again
	secrets, err := c.authorize(ctx, r.Header, req.TraceParent)
	if err != nil {
		return unreachable(clean("no ID token for the pipeline: "+err.Error(), maxMessage, []string{c.config.APIKey}))
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
		if w.seal() {
			return cases.DispatchOutcome{Kind: cases.DispatchUncertain, Message: "no answer to the request: " + reason}
		}
		return unreachable("the pipeline could not be reached: " + reason)
	}
	defer resp.Body.Close()

	if resp.StatusCode == http.StatusAccepted {
		// The body behind it can only turn it into a failure; it does not hold the dispatch open.
		w.readUntil(time.Now().Add(c.config.CheckTimeout))
	}
	a := answer{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"), now: c.config.Now(), secrets: secrets}
	a.body, err = readAll(resp.Body, c.config.MaxAnswer)
	if err != nil {
		a.fault = faultText(ctx, err)
	}
	return a.outcome()
}

func unreachable(message string) cases.DispatchOutcome {
	return cases.DispatchOutcome{Kind: cases.DispatchUnreachable, Message: message}
}

// readAll reads at most limit bytes. The error is errTooLarge if there are more.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
	}
	return data, err
}
