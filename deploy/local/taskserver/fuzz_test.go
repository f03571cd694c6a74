package taskserver

import (
	"net/http"
	"testing"
	"time"
)

// FuzzRetryAfter: what is asked for is waited for within bounds, and only with the statuses that may ask.
func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"", "5", "-1", "1e3", "99999999999999999999", "Mon, 23 Nov 2026 12:01:30 GMT", "Mon, 23 Nov 0000 12:01:30 GMT"} {
		f.Add(503, value)
	}
	f.Add(200, "5")
	f.Fuzz(func(t *testing.T, status int, value string) {
		wait := retryAfter(&http.Response{StatusCode: status, Header: http.Header{"Retry-After": {value}}}, time.Unix(1_700_000_000, 0))
		if wait < 0 || wait > maxRetryAfter || wait > 0 && status != 429 && status != 503 {
			t.Errorf("%d with %q waits %v", status, value, wait)
		}
	})
}
