package taskserver

import (
	"net/http"
	"strconv"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
)

// maxRetryAfter bounds what a target can ask for with Retry-After.
const maxRetryAfter = time.Hour

// backoff returns how long to wait after the nth attempt failed: min_backoff, doubled max_doublings times, then growing by the
// last doubled interval each time, at most max_backoff
// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RetryConfig.FIELDS.max_doublings).
func backoff(c *cloudtaskspb.RetryConfig, n int) time.Duration {
	ceiling := c.GetMaxBackoff().AsDuration()
	interval := c.GetMinBackoff().AsDuration()
	for i := 1; i < n && i <= int(c.GetMaxDoublings()); i++ {
		interval *= 2
		if interval >= ceiling || interval < 0 { // negative: it overflowed
			return ceiling
		}
	}
	if steps := n - 1 - int(c.GetMaxDoublings()); steps > 0 && interval > 0 {
		if int64(steps) >= int64(ceiling/interval) { // also when the product would overflow
			return ceiling
		}
		interval *= time.Duration(steps + 1)
	}
	return min(interval, ceiling)
}

// exhausted reports whether a task that has been attempted so often, since then, is given up: when the number of attempts and the
// time are both used up, of those that are limited at all
// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RetryConfig.FIELDS.max_attempts).
func exhausted(c *cloudtaskspb.RetryConfig, attempts int, since time.Duration) bool {
	limit := int(c.GetMaxAttempts())
	age := c.GetMaxRetryDuration().AsDuration()
	if limit <= 0 && age <= 0 {
		return false
	}
	return (limit <= 0 || attempts >= limit) && (age <= 0 || since >= age)
}

// retryAfter returns what a response with 429 or 503 asks for, in seconds or as a date; 0 for nothing.
func retryAfter(r *http.Response, now time.Time) time.Duration {
	if r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	value := r.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// codeOf returns the status code under which an HTTP status is remembered
// (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto).
func codeOf(httpStatus int) codes.Code {
	switch httpStatus {
	case http.StatusBadRequest:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusConflict:
		return codes.Aborted
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusNotImplemented:
		return codes.Unimplemented
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	}
	switch {
	case httpStatus >= 200 && httpStatus < 300:
		return codes.OK
	case httpStatus >= 400 && httpStatus < 500:
		return codes.FailedPrecondition
	case httpStatus >= 500:
		return codes.Internal
	}
	return codes.Unknown
}
