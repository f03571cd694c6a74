// Package answer is how every function answers: JSON, or problem+json for every error.
package answer

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
)

// Func is a handler that returns its error instead of answering it.
type Func func(w http.ResponseWriter, r *http.Request) error

// Handler serves fn for the given methods. The request's context is given its trace, or a new one. An error that fn returns, and a panic,
// is answered as problem+json; what is not the caller's fault is logged. A body has 30 s to come.
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
		h.Set("Referrer-Policy", "no-referrer") // addresses carry tokens
		h.Set("X-Content-Type-Options", "nosniff")
		defer recovered(w, r, log)
		if !slices.Contains(methods, r.Method) {
			Problem(w, r, log, &fault.Error{Kind: fault.Method, Detail: "this address is for " + strings.Join(methods, " and "), Allow: methods})
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

// Log logs an error, unless it is the caller's fault or the caller is gone.
func Log(r *http.Request, log *slog.Logger, err error) {
	status := fault.KindOf(err).Status()
	if status < 500 || errors.Is(r.Context().Err(), context.Canceled) {
		return
	}
	level := slog.LevelError
	if status == http.StatusServiceUnavailable {
		level = slog.LevelWarn // it comes again
	}
	path, _, _ := strings.Cut(r.RequestURI, "?") // queries hold tokens
	log.Log(r.Context(), level, "a request could not be served", "method", r.Method, "path", path, "status", status, "error", err.Error())
}

// Problem answers an error, and logs it. Nothing of what it wraps is told to the caller.
func Problem(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	e := Refuse(w, r, log, err)
	write(w, e.Kind.Status(), fault.ContentType, e.Problem(r.URL.Path))
}

// Refuse logs an error and sets the headers that its answer has, whatever its body is. It returns what may be told of it.
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
	if left(r) {
		h.Set("Connection", "close") // or the answer would wait for the rest of the body
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="casewatch"`)
	}
	return e
}

// JSON answers v with a status.
func JSON(w http.ResponseWriter, status int, v any) {
	write(w, status, "application/json", v)
}

func write(w http.ResponseWriter, status int, contentType string, v any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // addresses stay readable, and results as they came
	if err := encoder.Encode(v); err != nil {
		status, contentType = http.StatusInternalServerError, fault.ContentType
		body.Reset()
		body.WriteString(`{"type":"about:blank","title":"Internal Server Error","status":500}` + "\n")
	}
	send(w, status, contentType, body.Bytes())
}

// Page answers with a page of HTML.
func Page(w http.ResponseWriter, status int, page []byte) {
	send(w, status, "text/html; charset=utf-8", page)
}

func send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	within(w, len(body))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}
