package start

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

const (
	// maxWait is the longest that a start waits for the end of its run.
	maxWait = 60 * time.Second
	// waitReserve is the part of a request's time that is kept for sending the response.
	waitReserve = 5 * time.Second
	// maxWaits is how many requests of an instance wait at the same time: half of those that an
	// instance takes (deploy/gcp/functions.txt). The others are answered immediately, so that callers
	// who wait keep nobody from starting a case.
	maxWaits = 40
)

// preferredWait returns how long the caller wants to wait for the end of the run
// (https://www.rfc-editor.org/rfc/rfc7240#section-4.3), at most maxWait; 0 if the caller does not say
// so. As the RFC asks, what cannot be read is ignored, and of several waits the first one counts.
func preferredWait(headers []string) time.Duration {
	for _, preference := range strings.Split(strings.Join(headers, ","), ",") {
		preference, _, _ = strings.Cut(preference, ";")
		name, value, _ := strings.Cut(preference, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
		if err != nil {
			return 0
		}
		return min(time.Duration(seconds)*time.Second, maxWait)
	}
	return 0
}

// awaitEnd waits until a run has ended, and returns it. It reports false if the run is still open
// after that time, or if it could not wait: the run is recorded, and the caller is told where it is.
func (f function) awaitEnd(ctx context.Context, c cases.Case, wait time.Duration) (cases.View, bool) {
	select {
	case f.waits <- struct{}{}:
		defer func() { <-f.waits }()
	default:
		return cases.View{}, false
	}
	if limit := f.cfg.RequestTimeout; limit > 0 {
		wait = min(wait, limit-waitReserve)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	read, err := f.reconciler.Read(ctx, c.CaseID, c.Run)
	shown := &read
	for err == nil && shown.Open() {
		newer, failed := f.reconciler.Follow(ctx, c.CaseID, c.Run, shown)
		if newer != nil {
			shown = newer
		}
		err = failed
	}
	return shown.View, shown.View.State.Ended()
}
