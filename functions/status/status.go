// Package status is the public function that shows a case, as JSON or as a stream of events, and serves what browsers need for that.
package status

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
)

const (
	// maxWait is the longest that a caller may ask to be kept waiting.
	maxWait = 60 * time.Second
	// waitReserve is what is left of a request's time for its answer.
	waitReserve = 5 * time.Second
)

type function struct {
	cfg        *config.Config
	reconciler *reconcile.Reconciler
	callers    access.Callers
	held       held
}

// New returns the function: GET /{case_id}?run=N&wait=20s → 200 with the case as JSON, 304 if it is what the caller has; or, for who
// accepts text/event-stream, a stream of its events. GET /-/ has public files: the browser's module and the description of the API.
func New(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
	f := &function{cfg: cfg, reconciler: reconciler, callers: access.NewCallers(cfg, reconciler.Now)}
	h := answer.Handler(reconciler.Log(), f.serve, http.MethodGet, http.MethodHead)
	shown := access.CORS(cfg.Access.AllowedOrigins, h, http.MethodGet, http.MethodHead)
	public := answer.Handler(reconciler.Log(), serveFile, http.MethodGet, http.MethodHead)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, filesPath) {
			public.ServeHTTP(rw, r)
			return
		}
		rw.Header().Add("Vary", "Accept")
		shown.ServeHTTP(rw, r)
	})
}

func (f *function) serve(rw http.ResponseWriter, r *http.Request) error {
	if wantsStream(r) {
		return f.stream(rw, r)
	}
	return f.json(rw, r)
}

// address reads which run is meant, and checks that the caller may see it.
func (f *function) address(r *http.Request) (address.Address, error) {
	at, err := address.Parse(r)
	if err != nil {
		return at, err
	}
	return at, f.callers.ToCase(r, access.ToRead, at.CaseID, f.reconciler.Owner)
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
		next = max(next, int(comeBackIn.Seconds()))
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

// wait reads how long the caller wants to be kept waiting for a change. The error is Invalid.
func (f *function) wait(r *http.Request) (time.Duration, error) {
	query := r.URL.Query()
	if !query.Has("wait") {
		return 0, nil
	}
	wait, err := time.ParseDuration(query.Get("wait"))
	if err != nil || wait < 0 || wait > maxWait {
		return 0, &fault.Error{Kind: fault.Invalid, Detail: "the address is not valid",
			Faults: []fault.Fault{{Pointer: "wait", Detail: fmt.Sprintf("must be a duration such as 20s, at most %v", maxWait)}}}
	}
	if limit := f.cfg.RequestTimeout - waitReserve; f.cfg.RequestTimeout > 0 {
		wait = max(0, min(wait, limit))
	}
	return wait, nil
}

// read returns the run. While it is what the caller knows, and more can be expected of it, it waits for a change, at most that long;
// but not if the case is crowded: enough requests about it are held already.
func (f *function) read(ctx context.Context, at address.Address, known string, wait time.Duration) (v cases.View, crowded bool, err error) {
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

// etag is weak: what is estimated from the time changes without it.
func etag(v cases.View) string { return fmt.Sprintf(`W/"%d.%d"`, v.Run, v.Version) }

// entityTags finds the members of an If-None-Match; suffix what a proxy that compresses an answer makes of its tag: "x-gzip" (Apache,
// lighttpd, Caddy), "x--gzip" (Jetty), "x;gzip" (Django) or "x"-gzip (Apache 2.2). Few of them take it away again.
var (
	entityTags = regexp.MustCompile(`\*|(?:W/)?"[^"]*"`)
	suffix     = regexp.MustCompile(`(?:--?|;)(?:gzip|br|zstd|deflate)"|"-gzip`)
)

// noneMatch returns the If-None-Match of a request, without the suffixes of proxies.
func noneMatch(r *http.Request) string {
	return suffix.ReplaceAllLiteralString(strings.Join(r.Header.Values("If-None-Match"), ","), `"`)
}

// matches reports whether an If-None-Match lists the tag (weak comparison, RFC 9110, section 13.1.2).
func matches(ifNoneMatch, tag string) bool {
	for _, candidate := range entityTags.FindAllString(ifNoneMatch, -1) {
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// retryAfter is when news of an open run can be expected, in whole seconds, at least 1; 0 once it has ended.
func retryAfter(v cases.View, now time.Time) int {
	if v.State.Ended() {
		return 0
	}
	if v.Checks.NextAt == nil {
		return 1
	}
	return max(1, int(math.Ceil(v.Checks.NextAt.Sub(now).Seconds())))
}
