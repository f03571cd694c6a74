// Package answer writes the responses of every function: JSON, pages and files, or problem+json for
// an error. It also bounds how long a request and its response may take.
package answer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
)

// Func is a handler that returns an error instead of writing it.
type Func func(w http.ResponseWriter, r *http.Request) error

// Handler returns a handler that calls fn for the methods. The context of the request carries its
// trace, or a new one. An error or a panic of fn is sent as problem+json. Errors that the caller
// did not cause are logged. The body must arrive within 30 s.
func Handler(log *slog.Logger, fn Func, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		traceParent := gcplog.TraceParentOf(r.Header.Get("Traceparent"), r.Header.Get("X-Cloud-Trace-Context"))
		if traceParent == "" {
			traceParent = gcplog.NewTraceParent(rand.Reader)
		}
		r = r.WithContext(gcplog.WithTrace(r.Context(), traceParent))
		r.Body = limit(w, r)
		h := w.Header()
		h.Set("Cache-Control", "private, no-cache")
		h.Set("Referrer-Policy", "no-referrer") // addresses contain tokens
		h.Set("X-Content-Type-Options", "nosniff")
		defer recovered(w, r, log)
		if !slices.Contains(methods, r.Method) {
			Problem(w, r, log, &fault.Error{
				Kind:   fault.Method,
				Detail: "this address accepts only " + strings.Join(methods, " and "),
				Allow:  methods,
			})
			return
		}
		if err := fn(w, r); err != nil {
			Problem(w, r, log, err)
		}
	})
}

func recovered(w http.ResponseWriter, r *http.Request, log *slog.Logger) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	Problem(w, r, log, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
}

// Log logs an error, unless the caller caused it or closed the connection.
func Log(r *http.Request, log *slog.Logger, err error) {
	status := fault.KindOf(err).Status()
	if status < 500 || errors.Is(r.Context().Err(), context.Canceled) {
		return
	}
	level := slog.LevelError
	if status == http.StatusServiceUnavailable {
		level = slog.LevelWarn // the client retries
	}
	path, _, _ := strings.Cut(r.RequestURI, "?") // the query may contain a token
	log.Log(
		r.Context(), level, "a request could not be served",
		"method", r.Method, "path", path, "status", status, "error", err.Error(),
	)
}

// Problem logs an error and sends it as problem+json. Errors that it wraps are not sent.
func Problem(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	e := Refuse(w, r, log, err)
	write(w, e.Kind.Status(), fault.ContentType, e.Problem(r.URL.Path))
}

// Refuse logs an error and sets the headers of its response, whatever the format of the body. It
// returns the part of the error that may be sent.
func Refuse(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) *fault.Error {
	Log(r, log, err)
	e := fault.From(err)
	status := e.Kind.Status()
	h := w.Header()
	if len(e.Allow) > 0 {
		h.Set("Allow", strings.Join(e.Allow, ", "))
	}
	if seconds := e.RetryAfterSeconds(); seconds > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
	if hasUnreadBody(r) {
		h.Set("Connection", "close") // else the response would wait for the rest of the body
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="casewatch"`)
	}
	return e
}

// JSON sends v as JSON.
func JSON(w http.ResponseWriter, status int, v any) {
	write(w, status, "application/json", v)
}

func write(w http.ResponseWriter, status int, contentType string, v any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // keeps addresses readable and results unchanged
	if err := encoder.Encode(v); err != nil {
		status, contentType = http.StatusInternalServerError, fault.ContentType
		body.Reset()
		body.WriteString(`{"type":"about:blank","title":"Internal Server Error","status":500}` + "\n")
	}
	send(w, status, contentType, body.Bytes())
}

// Page sends an HTML page.
func Page(w http.ResponseWriter, status int, page []byte) {
	send(w, status, "text/html; charset=utf-8", page)
}

func send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	within(w, len(body))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have closed the connection
}

// Accepted yields the media ranges of the Accept headers in their order. Each range is in lower
// case and has a weight from 0 (not acceptable) to 1 (RFC 9110, section 12.5.1). An invalid weight
// counts as 0.
func Accepted(r *http.Request) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for _, line := range r.Header.Values("Accept") {
			for entry := range strings.SplitSeq(line, ",") {
				mediaRange, params, _ := strings.Cut(entry, ";")
				if !yield(strings.ToLower(strings.TrimSpace(mediaRange)), weight(params)) {
					return
				}
			}
		}
	}
}

// weight returns the weight in the parameters of a media range. It is 1 if there is none.
func weight(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}

// File is static content that is served unchanged. It is safe for concurrent use.
type File struct {
	contentType, etag string
	data              []byte
}

// NewFile returns a File of the content type. The caller must not change data later.
func NewFile(contentType string, data []byte) File {
	sum := sha256.Sum256(data)
	return File{contentType, `"` + hex.EncodeToString(sum[:12]) + `"`, data}
}

// ServeHTTP sends the file, a range of it, or 304 if the caller already has it. Callers set all
// other headers before, Cache-Control above all.
func (f File) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("ETag", f.etag)
	within(w, len(f.data))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}
