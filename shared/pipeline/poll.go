package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/jsonscan"
	"github.com/casewatch/casewatch/shared/pipeline/report"
)

// Poll reads the progress of a run with GET {URL}/api/progress/{case_id}. It waits for at most
// Config.CheckTimeout. It sends one request. It sends a second one only if it reused a connection
// and that connection turned out to be dead. No connection is reused for longer than a minute, so
// that polls follow a change of the host's address.
//
// Poll sets Kind, Reading, RetryAfter, Message, Cause and Result of the outcome. The Kind is
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
//
// Answers are read with [report.ReadAll]. Message and Cause are as in [Client.Dispatch].
func (c *Client) Poll(ctx context.Context, caseID string, run int, traceParent string) cases.CheckOutcome {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.CheckTimeout, timeoutError(c.config.CheckTimeout))
	defer cancel()
	target := c.base + "/api/progress/" + url.PathEscape(caseID)
	r, err := http.NewRequestWithContext(context.WithValue(ctx, pollKey{}, ctx), http.MethodGet, target, nil)
	if err != nil {
		return failedPoll("the request cannot be made", cause("the request cannot be made", c.host))
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Cache-Control", "no-cache")
	secrets, err := c.authorize(ctx, r.Header, traceParent)
	if err != nil {
		message := clean("no ID token for the pipeline: "+err.Error(), maxMessage, []string{c.config.APIKey})
		return failedPoll(message, cause(message, c.host))
	}
	resp, err := c.ask(r)
	if err != nil {
		return failedPoll("no answer: "+clean(errorText(ctx, err), maxMessage, secrets), c.logCause(ctx, err, secrets))
	}
	defer resp.Body.Close()
	return c.receive(ctx, resp, secrets).progress(caseID, run)
}

// progress returns the outcome of a poll of that run; [Client.Poll] lists the outcomes.
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

// ask sends a poll. If it failed on a reused connection, ask sends it once more on a new
// connection: the server may have closed the old one while this instance was frozen.
//
// Go's transport would retry by itself on each idle connection in turn
// (https://pkg.go.dev/net/http#Transport). A pipeline that breaks off its answers would then get
// many requests for one poll.
func (c *Client) ask(r *http.Request) (*http.Response, error) {
	idled := false
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { idled = got.Reused },
	}))
	r.Body = onlyOnce{}
	transport := c.polls()
	resp, err := transport.RoundTrip(r)
	if err == nil || !idled || r.Context().Err() != nil {
		return resp, err
	}
	transport.CloseIdleConnections()
	return transport.RoundTrip(r)
}

// onlyOnce is an empty body. The transport does not know that it is empty, so it does not retry the
// request by itself.
type onlyOnce struct{}

func (onlyOnce) Read([]byte) (int, error) { return 0, io.EOF }
func (onlyOnce) Close() error             { return nil }

func failedPoll(message, cause string) cases.CheckOutcome {
	return cases.CheckOutcome{Kind: cases.CheckFailed, Message: message, Cause: cause}
}
