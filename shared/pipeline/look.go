package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/report"
)

// maxCount is the largest number of documents that is believed.
const maxCount = 1 << 31

// Look asks for the progress of a case, GET {URL}/api/progress/{case_id}, and waits at most for Config.CheckTimeout. It sends one request, and
// a second one only if a connection that was used before turns out dead. Of the outcome it sets Kind,
// Reading, Message and Result; the kind is
//   - reading: 200 with a total above 0 or a status that is final. Numbers below 0 are 0, and Percent is -1 if it is not said. Message and
//     Result are the pipeline's own, if it gives them; with a result of "success": false the status is failed;
//   - unknown: 404, or 200 with a total of 0;
//   - unable, with a Message: everything else: no answer, another status, redirects, no JSON, counts that are no whole numbers, an answer that broke off
//     or is larger than Config.MaxAnswer.
func (c *Client) Look(ctx context.Context, caseID, traceParent string) cases.CheckOutcome {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.CheckTimeout, timeoutError(c.config.CheckTimeout))
	defer cancel()
	target := c.base + "/api/progress/" + url.PathEscape(caseID)
	r, err := http.NewRequestWithContext(context.WithValue(ctx, lookKey{}, ctx), http.MethodGet, target, nil)
	if err != nil {
		return unable("the request cannot be made")
	}
	r.Header.Set("Accept", "application/json")
	secrets, err := c.authorize(ctx, r.Header, traceParent)
	if err != nil {
		return unable(clean("no ID token for the pipeline: "+err.Error(), maxMessage, []string{c.config.APIKey}))
	}
	resp, err := c.ask(r)
	if err != nil {
		return unable("no answer: " + clean(faultText(ctx, err), maxMessage, secrets))
	}
	defer resp.Body.Close()

	answered := "the pipeline answered " + statusText(resp.StatusCode)
	body, err := readAll(resp.Body, c.config.MaxAnswer) // to its end, or the connection cannot be used again
	if resp.StatusCode == http.StatusNotFound {
		return cases.CheckOutcome{Kind: cases.CheckUnknown}
	}
	if err != nil {
		return unable(answered + ", but " + faultText(ctx, err))
	}
	if resp.StatusCode != http.StatusOK {
		if said := report.Message(body); said != "" {
			answered += ": " + said
		}
		return unable(clean(answered, maxMessage, secrets))
	}
	return decodeProgress(body, secrets)
}

// ask sends a look, at most twice: a connection that idled may be dead, closed by the other side or frozen with this instance. Then
// it is asked once more, on a fresh one. Go's transport alone would try every idle connection in turn
// (https://pkg.go.dev/net/http#Transport), and ask a pipeline that breaks off its answers as many times for one look.
func (c *Client) ask(r *http.Request) (*http.Response, error) {
	idled := false
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { idled = got.Reused },
	}))
	r.Body = onlyOnce{}
	resp, err := c.looks.RoundTrip(r)
	if err == nil || !idled || r.Context().Err() != nil {
		return resp, err
	}
	c.looks.CloseIdleConnections()
	return c.looks.RoundTrip(r)
}

// onlyOnce is no body at all, of which the transport does not know that it can be sent again.
type onlyOnce struct{}

func (onlyOnce) Read([]byte) (int, error) { return 0, io.EOF }
func (onlyOnce) Close() error             { return nil }

func unable(message string) cases.CheckOutcome {
	return cases.CheckOutcome{Kind: cases.CheckUnable, Message: message}
}

// decodeProgress reads the body of a 200.
func decodeProgress(body []byte, secrets []string) cases.CheckOutcome {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields == nil {
		return unable("the progress is not a JSON object")
	}
	out := cases.CheckOutcome{Kind: cases.CheckReading}
	out.Reading.Percent = percent(fields["progress_percent"])
	var current string
	if json.Unmarshal(fields["current_doc"], &current) == nil {
		out.Reading.Current = clean(current, maxCurrent, secrets)
	}
	var status string
	if json.Unmarshal(fields["status"], &status) == nil {
		switch status {
		case "running", "succeeded", "failed":
			out.Reading.Status = status
		}
	}
	out.Result, _ = report.ParseResult(fields["result"]) // nil if there is none
	if r := out.Result; r != nil {
		r.Message = clean(report.Message(fields["result"]), maxMessage, secrets)
		if r.Success != nil && !*r.Success {
			out.Reading.Status = "failed"
		}
	}
	final := out.Reading.Status == "succeeded" || out.Reading.Status == "failed"
	if out.Reading.Status == "failed" {
		out.Message = clean(report.Message(fields["error"]), maxMessage, secrets)
		if out.Message == "" && out.Result != nil {
			out.Message = out.Result.Message
		}
	}

	var faults [2]error
	out.Reading.Completed, faults[0] = count(fields, "completed")
	out.Reading.Total, faults[1] = count(fields, "total")
	switch err := errors.Join(faults[:]...); {
	case final: // the end is said, whatever the counts are
		return out
	case err != nil:
		return unable("the progress cannot be read: " + clean(err.Error(), maxMessage, secrets))
	case fields["total"] == nil:
		return unable("the progress has no total")
	case out.Reading.Total == 0:
		return cases.CheckOutcome{Kind: cases.CheckUnknown}
	}
	return out
}

// count reads a number of documents. What is missing, null or below 0 is 0; a float without a fraction is the whole number it is.
func count(fields map[string]json.RawMessage, name string) (int, error) {
	raw := string(fields[name])
	if raw == "" || raw == "null" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(raw, 64)
	if err != nil || n != math.Trunc(n) || math.Abs(n) > maxCount {
		return 0, fmt.Errorf("%s is no whole number of documents", name)
	}
	return max(int(n), 0), nil
}

// percent reads a percentage, from 0 to 100. What is missing or no number is -1: not said.
func percent(raw json.RawMessage) float64 {
	var p *float64
	if json.Unmarshal(raw, &p) != nil || p == nil {
		return -1
	}
	return min(max(*p, 0), 100)
}
