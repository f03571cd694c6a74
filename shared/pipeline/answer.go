package pipeline

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/pipeline/report"
)

// maxRetryAfter bounds the delay that is taken from a Retry-After.
const maxRetryAfter = 24 * time.Hour

// answer is an HTTP answer of the pipeline, read to its end.
type answer struct {
	status     int
	header     http.Header
	retryAfter string   // the header; "" without one
	request    *url.URL // what it answers; relative addresses are resolved against it
	body       []byte   // as [report.Text] returns it
	unreadable string   // why the body is incomplete or unreadable; "" if it was read
	now        time.Time
	secrets    []string
	host       string // of the pipeline, for Cause
}

// receive reads the whole body of an answer.
func (c *Client) receive(ctx context.Context, resp *http.Response, secrets []string) answer {
	a := answer{
		status:     resp.StatusCode,
		header:     resp.Header,
		request:    resp.Request.URL,
		retryAfter: resp.Header.Get("Retry-After"),
		now:        c.config.Now(),
		secrets:    secrets,
		host:       resp.Request.URL.Host,
	}
	body, err := report.ReadAll(resp.Body, c.config.MaxAnswer) // to its end, or the connection cannot be used again
	if err != nil {
		a.unreadable = errorText(ctx, err)
		return a
	}
	switch strings.ToLower(resp.Header.Get("Content-Encoding")) {
	case "", "identity", "gzip", "x-gzip":
	default: // some servers name an encoding although they send plain JSON
		if !json.Valid(body) {
			a.unreadable = "it is in an encoding that was not asked for"
			return a
		}
	}
	a.body = body
	return a
}

// statusLine describes the status of the answer.
func (a answer) statusLine() string { return "the pipeline answered " + statusText(a.status) }

// message returns the message that the body holds.
func (a answer) message() string { return clean(report.Message(a.body), maxMessage, a.secrets) }

// logCause returns the Cause of an outcome for the log: the status, why, and the host. It holds
// nothing of the body.
func (a answer) logCause(why string) string {
	return clean(cause(statusText(a.status)+why, a.host), maxMessage, a.secrets)
}

// busy reports whether the pipeline asks the client to try again.
func (a answer) busy() bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable && a.retryAfter != ""
}

// retryAfter reads a Retry-After: seconds, or an HTTP date (RFC 9110, section 10.2.3). It returns 0
// for anything else.
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
