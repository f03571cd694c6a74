// Package ctxtime waits as package time does, but no longer than a context lasts.
package ctxtime

import (
	"context"
	"time"
)

// Sleep returns after d, with nil, or as soon as ctx ends, with the error of ctx. If both are so, it
// returns the error. A d of 0 or less is no wait. It holds nothing after it returned, and is safe for
// concurrent use.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}
