package pipeline

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/report"
)

// maxRetryAfter bounds what a Retry-After can ask for: no run lives longer.
const maxRetryAfter = 24 * time.Hour

// answer is the pipeline's answer to a dispatch.
type answer struct {
	status     int
	retryAfter string // the header; "" without one
	body       []byte
	fault      string // why the body is not whole; "" if it is
	now        time.Time
	secrets    []string
}

// outcome reads the answer as [Client.Dispatch] says.
func (a answer) outcome() cases.DispatchOutcome {
	var result *cases.Result
	said := ""
	if a.fault == "" {
		result, _ = report.ParseResult(a.body) // nil if the body is no object
		said = clean(report.Message(a.body), maxMessage, a.secrets)
	}
	if result != nil && result.Success != nil {
		result.Message = said
		if !*result.Success {
			return cases.DispatchOutcome{Kind: cases.DispatchFailed, Result: result,
				Message: or(said, "the pipeline says that it failed, and not why")}
		}
	}

	answered := "the pipeline answered " + statusText(a.status)
	wait := retryAfter(a.retryAfter, a.now)
	switch {
	case a.status == http.StatusAccepted:
		return cases.DispatchOutcome{Kind: cases.DispatchAccepted}
	case a.status >= 300 && a.status < 400:
		return cases.DispatchOutcome{Kind: cases.DispatchRefused, Message: or(said, answered+", a redirect, which is not followed")}
	case a.status >= 400 && a.status < 500 && a.status != http.StatusTooManyRequests:
		return cases.DispatchOutcome{Kind: cases.DispatchRefused, Message: or(said, answered)}
	case a.fault != "":
		// What did not come could be the pipeline's own word.
		return cases.DispatchOutcome{Kind: cases.DispatchUncertain, Message: answered + ", but " + a.fault}
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable && a.retryAfter != "":
		return cases.DispatchOutcome{Kind: cases.DispatchBusy, RetryAfter: wait, Message: or(said, answered)}
	case a.status/100 == 2 && result != nil && result.Success != nil:
		return cases.DispatchOutcome{Kind: cases.DispatchSucceeded, Result: result}
	case a.status == http.StatusOK:
		return cases.DispatchOutcome{Kind: cases.DispatchUncertain, Message: answered + " without saying whether it succeeded"}
	}
	if said != "" {
		answered += ": " + said
	}
	return cases.DispatchOutcome{Kind: cases.DispatchUncertain, Message: clean(answered, maxMessage, a.secrets)}
}

// retryAfter reads a Retry-After: seconds, or a date of HTTP (RFC 9110, section 10.2.3). It is 0 for anything else.
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
