package taskserver

import (
	"net/http"
	"strconv"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
)

// maxRetryAfter limits the delay that a target can request with Retry-After.
const maxRetryAfter = time.Hour

// backoff returns the delay after attempt n failed, where n counts from 1. The delay begins with
// min_backoff and doubles max_doublings times. After that it grows by the last doubled delay each
// time. It never exceeds max_backoff. See
// https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RetryConfig.
func backoff(c *cloudtaskspb.RetryConfig, n int) time.Duration {
	ceiling := c.GetMaxBackoff().AsDuration()
	interval := c.GetMinBackoff().AsDuration()
	for i := 1; i < n && i <= int(c.GetMaxDoublings()); i++ {
		interval *= 2
		if interval >= ceiling || interval < 0 { // negative after an overflow
			return ceiling
		}
	}
	if steps := n - 1 - int(c.GetMaxDoublings()); steps > 0 && interval > 0 {
		if int64(steps) >= int64(ceiling/interval) { // also prevents an overflow of the product
			return ceiling
		}
		interval *= time.Duration(steps + 1)
	}
	return min(interval, ceiling)
}

// exhausted reports whether a task has no retries left. attempts is the number of its attempts, and
// age the time since the first one. If the number of attempts and the age are both limited, both
// limits must be reached. If neither is limited, retries never end. See
// https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RetryConfig.
func exhausted(c *cloudtaskspb.RetryConfig, attempts int, age time.Duration) bool {
	maxAttempts := int(c.GetMaxAttempts())
	maxAge := c.GetMaxRetryDuration().AsDuration()
	if maxAttempts <= 0 && maxAge <= 0 {
		return false
	}
	return (maxAttempts <= 0 || attempts >= maxAttempts) && (maxAge <= 0 || age >= maxAge)
}

// retryAfter returns the delay that a 429 or 503 requests with Retry-After, in seconds or as a
// date. The result is at most maxRetryAfter, and 0 if no delay is requested.
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

// codeOf returns the gRPC status code for an HTTP status. See
// https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto.
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
