package pipeline

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/description"
)

// Poll asks the pipeline for the job of a run with the request poll of the description. If the
// answer says that the job succeeded and its result is elsewhere, Poll fetches that too. It waits
// for at most Config.CheckTimeout in all. Each request is sent once, and a second time only if it
// reused a connection and that connection turned out to be dead. No connection is reused for longer
// than a minute, so that polls follow a change of the host's address.
//
// The Kind of the outcome is
//   - reading: a 2xx, or a status code that a list of the description has. Its Status is as the
//     lists say; a status that is missing or that no list has is running, and Unmapped is the
//     latter. Without a description of the status, the total is above 0. Message is set for a
//     failure. RetryAfter is as a running job's answer asks.
//   - unknown: a status code of poll.unknown; without a description of the status also a total of
//     0.
//   - busy, with a Message: 429, or 503 with Retry-After. RetryAfter is 0 if its value is
//     unreadable or in the past.
//   - failed, with a Message: everything else. Examples are no answer, a redirect, another status,
//     an answer that names another job, a job whose address is at an origin that the description
//     does not name, and an answer that broke off, cannot be unpacked or is larger than
//     Config.MaxAnswer.
//
// With ResultMissing, the reading is succeeded, and its result could not be fetched.
//
// The preset documents has its own outcomes; see documents.go. Answers, Message and Cause are as in
// [Client.Dispatch].
func (c *Client) Poll(ctx context.Context, job Job) cases.CheckOutcome {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.CheckTimeout, timeoutError(c.config.CheckTimeout))
	defer cancel()
	a, err := c.get(ctx, c.pipeline.Poll.Request, job, "")
	if err != nil {
		return failedPoll(err.message, err.cause)
	}
	if c.documents() {
		return a.progress(job.CaseID, job.Run)
	}
	out := c.polled(a, job)
	if out.Kind == cases.CheckReading && out.Reading.Status == cases.StatusSucceeded && c.fetches(a) {
		c.fetch(ctx, a, job, &out)
	}
	return out
}

// fetch fetches the result of a job that succeeded.
func (c *Client) fetch(ctx context.Context, polled answer, job Job, out *cases.CheckOutcome) {
	d := c.pipeline.Result
	address := polled.resultURL(d)
	a, err := c.get(ctx, d.Request, job, address)
	switch {
	case err != nil:
		out.Message, out.Cause = err.message, err.cause
	case a.busy():
		out.Message, out.Cause = or(a.message(), a.statusLine()), a.logCause("")
		out.RetryAfter = retryAfter(a.retryAfter, a.now)
	case a.status/100 != 2:
		out.Message, out.Cause = a.statusLine(), a.logCause("")
	case a.unreadable != "":
		out.Message, out.Cause = a.statusLine()+", but "+a.unreadable, a.logCause(", but "+a.unreadable)
	default:
		out.Result, out.Dropped.Result = a.result(d)
		if address != "" {
			if out.Result == nil {
				out.Result = &cases.Result{}
			}
			out.Result.OutputURL = or(out.Result.OutputURL, address)
		}
		return
	}
	out.ResultMissing, out.Result = true, nil
	out.Message = "the result cannot be fetched: " + out.Message
}

// exchangeError says why there is no answer.
type exchangeError struct{ message, cause string }

// get makes a request over the connections of polls, and reads its answer.
func (c *Client) get(ctx context.Context, what description.Request, job Job, result string) (answer, *exchangeError) {
	r, err := c.request(context.WithValue(ctx, pollKey{}, ctx), what, job, result, nil)
	if err != nil {
		message := clean("the request cannot be made: "+err.Error(), maxMessage, nil)
		return answer{}, &exchangeError{message, cause(message, c.host)}
	}
	r.Header.Set("Cache-Control", "no-cache")
	secrets, err := c.authorize(ctx, r, job)
	if err != nil {
		message := c.noToken(err, secrets)
		return answer{}, &exchangeError{message, cause(message, c.host)}
	}
	resp, err := c.ask(r)
	if err != nil {
		message := "no answer: " + clean(errorText(ctx, err), maxMessage, secrets)
		c.observe(r, nil, answer{secrets: secrets}, message)
		return answer{}, &exchangeError{message, c.logCause(ctx, err, r.URL.Host, secrets)}
	}
	defer resp.Body.Close()
	a := c.receive(ctx, resp, secrets)
	c.observe(r, nil, a, "")
	return a, nil
}

// request returns a request of the description, without the headers that identify the caller.
func (c *Client) request(
	ctx context.Context, what description.Request, job Job, result string, body io.Reader,
) (*http.Request, error) {
	target, err := c.target(what.Target, job, result)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, what.Method, target, body)
	if err != nil {
		return nil, errNoAddress // the error quotes the address
	}
	r.Header.Set("Accept", "application/json")
	return r, nil
}

// noToken is the message of a request that was not made for want of an ID token.
func (c *Client) noToken(err error, secrets []string) string {
	return clean("no ID token for the pipeline: "+err.Error(), maxMessage, secrets)
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
