// Package status is the public function that shows a case, as JSON or as a stream of events. It
// also serves the files that browsers need for that.
package status

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
)

const (
	// maxWait is the longest long poll that a caller may request.
	maxWait = 60 * time.Second
	// waitReserve is the part of a request's time that is kept for sending the response.
	waitReserve = 5 * time.Second
)

type function struct {
	cfg        *config.Config
	reconciler *reconcile.Reconciler
	callers    access.Callers
	held       held
}

// New returns the handler of GET /{case_id}?run=N&wait=20s. It responds 200 with the case as JSON,
// or 304 if the caller already has it. To a caller that accepts text/event-stream it sends a stream
// of events. GET /-/ serves public files: the browser module and the description of the API.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	f := &function{cfg: cfg, reconciler: reconciler, callers: access.NewCallers(cfg, reconciler.Now)}
	h := answer.Handler(reconciler.Log(), f.serve, http.MethodGet, http.MethodHead)
	caseHandler := access.CORS(cfg.Access.AllowedOrigins, h, http.MethodGet, http.MethodHead)
	public := answer.Handler(reconciler.Log(), serveFile, http.MethodGet, http.MethodHead)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, filesPath) {
			public.ServeHTTP(rw, r)
			return
		}
		rw.Header().Add("Vary", "Accept")
		caseHandler.ServeHTTP(rw, r)
	})
}

func (f *function) serve(rw http.ResponseWriter, r *http.Request) error {
	if wantsStream(r) {
		return f.stream(rw, r)
	}
	return f.json(rw, r)
}

// address returns the run that the URL names, and checks that the caller may read it.
func (f *function) address(r *http.Request) (address.Address, error) {
	at, err := address.Parse(r)
	if err != nil {
		return at, err
	}
	return at, f.callers.ToCase(r, casetoken.ToRead, at.CaseID, f.reconciler.Owner)
}

func (f *function) json(rw http.ResponseWriter, r *http.Request) error {
	at, err := f.address(r)
	if err != nil {
		return err
	}
	wait, err := f.wait(r)
	if err != nil {
		return err
	}
	known := noneMatch(r)
	view, crowded, err := f.read(r.Context(), at, known, wait)
	if err != nil {
		return err
	}
	h := rw.Header()
	h.Set("ETag", etag(view))
	next := retryAfter(view, f.reconciler.Now())
	if crowded {
		next = max(next, int(reconnectAfter.Seconds()))
	}
	if next > 0 {
		h.Set("Retry-After", strconv.Itoa(next))
	}
	if matches(known, etag(view)) {
		rw.WriteHeader(http.StatusNotModified)
		return nil
	}
	answer.JSON(rw, http.StatusOK, view)
	return nil
}

// wait returns how long the caller wants to wait for a change, bounded by the time of the request.
// The error is Invalid.
func (f *function) wait(r *http.Request) (time.Duration, error) {
	query := r.URL.Query()
	if !query.Has("wait") {
		return 0, nil
	}
	wait, err := time.ParseDuration(query.Get("wait"))
	if err != nil || wait < 0 || wait > maxWait {
		return 0, &fault.Error{Kind: fault.Invalid, Detail: "the address is not valid",
			Faults: []fault.Fault{
				{Pointer: "wait", Detail: fmt.Sprintf("must be a duration such as 20s, at most %v", maxWait)},
			}}
	}
	if limit := f.cfg.RequestTimeout - waitReserve; f.cfg.RequestTimeout > 0 {
		wait = max(0, min(wait, limit))
	}
	return wait, nil
}

// read returns the run. If the caller already has this version and the run is open, read waits up
// to wait for a change. It does not wait if the instance already holds maxHeld requests for the
// case: then crowded is true.
func (f *function) read(
	ctx context.Context,
	at address.Address,
	known string,
	wait time.Duration,
) (v cases.View, crowded bool, err error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	s, err := f.reconciler.Read(ctx, at.CaseID, at.Run)
	isKnown := func() bool { return s.Open() && matches(known, etag(s.View)) }
	if err != nil || wait == 0 || !isKnown() {
		return s.View, false, err
	}
	if !f.held.take(at.CaseID) {
		return s.View, true, nil
	}
	defer f.held.release(at.CaseID)
	for isKnown() {
		news, err := f.reconciler.FollowVersion(waiting, at.CaseID, at.Run, &s)
		switch {
		case waiting.Err() != nil && ctx.Err() == nil && err != nil:
			return s.View, false, nil
		case err != nil:
			return s.View, false, err
		case news != nil:
			s = *news
		}
	}
	return s.View, false, nil
}

// etag returns the ETag of a case. It is weak, because the estimate changes with time while the tag
// stays the same.
func etag(v cases.View) string { return fmt.Sprintf(`W/"%d.%d"`, v.Run, v.Version) }

// entityTags matches the members of an If-None-Match header. suffix matches what a compressing
// proxy adds to a tag: "x-gzip" (Apache, lighttpd, Caddy), "x--gzip" (Jetty), "x;gzip" (Django) or
// "x"-gzip (Apache 2.2). Few proxies remove it again.
var (
	entityTags = regexp.MustCompile(`\*|(?:W/)?"[^"]*"`)
	suffix     = regexp.MustCompile(`(?:--?|;)(?:gzip|br|zstd|deflate)"|"-gzip`)
)

// noneMatch returns the If-None-Match header of a request, without the suffixes of proxies.
func noneMatch(r *http.Request) string {
	return suffix.ReplaceAllLiteralString(strings.Join(r.Header.Values("If-None-Match"), ","), `"`)
}

// matches reports whether an If-None-Match lists the tag (weak comparison, RFC 9110, section
// 13.1.2).
func matches(ifNoneMatch, tag string) bool {
	for _, candidate := range entityTags.FindAllString(ifNoneMatch, -1) {
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// retryAfter returns the whole seconds, at least 1, after which an open run may have changed. It is
// 0 for a run that has ended.
func retryAfter(v cases.View, now time.Time) int {
	if v.State.Ended() {
		return 0
	}
	if v.Checks.NextAt == nil {
		return 1
	}
	return max(1, int(math.Ceil(v.Checks.NextAt.Sub(now).Seconds())))
}

const (
	eventStream = "text/event-stream"
	jsonType    = "application/json"
)

// jsonRanges are the media ranges that include JSON, the most specific first.
var jsonRanges = []string{jsonType, "application/*", "*/*"}

// wantsStream reports whether a request prefers a stream of events to JSON (RFC 9110, section
// 12.5.1). The request must name text/event-stream: an instance holds a stream open, so a caller
// that accepts anything gets JSON. If both types have the same weight, the first counts.
func wantsStream(r *http.Request) bool {
	weights := map[string]float64{} // only of the ranges that matter, so that its size is bounded
	var first string
	for mediaRange, weight := range answer.Accepted(r) {
		if _, ok := weights[mediaRange]; ok || mediaRange != eventStream && !slices.Contains(jsonRanges, mediaRange) {
			continue
		}
		weights[mediaRange] = weight
		if first == "" && (mediaRange == eventStream || mediaRange == jsonType) {
			first = mediaRange
		}
	}
	stream := weights[eventStream]
	for _, mediaRange := range jsonRanges { // the most specific range decides
		if weight, ok := weights[mediaRange]; ok {
			return stream > weight || stream == weight && weight > 0 && first == eventStream
		}
	}
	return stream > 0
}

const (
	// maxHeld is how many requests for one case, streams and long polls, an instance holds at the
	// same time. An instance serves a limited number of requests, and one case must not occupy them
	// all.
	maxHeld = 32
	// reconnectAfter is when a caller that was not held should try again.
	reconnectAfter = 5 * time.Second
)

// held counts the held requests by case. The zero value is ready to use. It is safe for concurrent
// use.
type held struct {
	mu sync.Mutex
	n  map[string]int
}

// take reserves a place for one more request of the case. It reports whether there was one; then
// the caller must release it.
func (h *held) take(caseID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n[caseID] == maxHeld {
		return false
	}
	if h.n == nil {
		h.n = map[string]int{}
	}
	h.n[caseID]++
	return true
}

func (h *held) release(caseID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n[caseID]--; h.n[caseID] == 0 {
		delete(h.n, caseID)
	}
}
