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

// Poll asks for the progress of a run, GET {URL}/api/progress/{case_id}, and waits at most for Config.CheckTimeout. It sends one request, and
// a second one only if a connection that was used before turns out dead. No connection is used for longer than a minute, so that a poll reaches
// the host that the name means by then. Of the outcome it sets Kind, Reading, RetryAfter, Message, Cause and Result; the kind is
//   - reading: 200 with a total above 0, or a status that is one of running, succeeded and failed. The Reading is as
//     [report.ParseProgress] says. With a result of "success": false the status is failed. Message and Result are those of a terminal status;
//     a result or counts that cannot be read are dropped, and Message says so;
//   - unknown: 404, or 200 with a total of 0 and no such status;
//   - busy, with a Message: 429, or 503 with Retry-After. RetryAfter is 0 if it says none that can be read, or one that is past;
//   - failed, with a Message: everything else: no answer, another status, redirects, no JSON, neither a status nor counts that are whole
//     numbers, an answer that names another case or run, that broke off, cannot be unpacked or is larger than Config.MaxAnswer.
//
// Answers are read as [report.ReadAll] says. Message and Cause are as those of [Client.Dispatch].
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
		return failedPoll("no answer: "+clean(faultText(ctx, err), maxMessage, secrets), c.because(ctx, err, secrets))
	}
	defer resp.Body.Close()
	return c.receive(ctx, resp, secrets).progress(caseID, run)
}

// progress reads the answer to a poll of that run, as [Client.Poll] says.
func (a answer) progress(caseID string, run int) cases.CheckOutcome {
	if a.busy() {
		return cases.CheckOutcome{Kind: cases.CheckBusy, RetryAfter: retryAfter(a.retryAfter, a.now),
			Message: or(a.said(), a.answered()), Cause: a.because("")}
	}
	if other := report.Another(a.body, caseID, run); other != "" && (a.status == http.StatusOK || a.status == http.StatusNotFound) {
		return failedPoll(a.answered()+", but about "+other, a.because(", about "+other))
	}
	switch {
	case a.status == http.StatusNotFound:
		return cases.CheckOutcome{Kind: cases.CheckUnknown}
	case a.fault != "":
		return failedPoll(a.answered()+", but "+a.fault, a.because(", but "+a.fault))
	case a.status != http.StatusOK:
		message := a.answered()
		if said := a.said(); said != "" {
			message = clean(message+": "+said, maxMessage, a.secrets)
		}
		return failedPoll(message, a.because(""))
	}
	return a.reading()
}

// reading reads the body of a 200.
func (a answer) reading() cases.CheckOutcome {
	failed := func(err error) cases.CheckOutcome { return failedPoll(err.Error(), a.because(", but "+err.Error())) }
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
	case cases.StatusRunning: // it is, whatever its counts are
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

// ask sends a poll, at most twice: a connection that idled may be dead, closed by the other side or frozen with this instance. Then
// it is asked once more, on a fresh one. Go's transport alone would try every idle connection in turn
// (https://pkg.go.dev/net/http#Transport), and ask a pipeline that breaks off its answers as many times for one poll.
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

// onlyOnce is no body at all, of which the transport does not know that it can be sent again.
type onlyOnce struct{}

func (onlyOnce) Read([]byte) (int, error) { return 0, io.EOF }
func (onlyOnce) Close() error             { return nil }

func failedPoll(message, cause string) cases.CheckOutcome {
	return cases.CheckOutcome{Kind: cases.CheckFailed, Message: message, Cause: cause}
}
