// Package gcplog writes log records as Cloud Logging reads them from standard output: one JSON
// object a line (https://cloud.google.com/logging/docs/structured-logging). The lines of one case
// carry one trace, which travels in a context.
//
// People read the same lines with jq.
package gcplog

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
)

// Levels between and beyond those of slog that Cloud Logging has a severity for.
const (
	LevelNotice   = slog.Level(2)
	LevelCritical = slog.Level(12)
)

// severity returns the LogSeverity of a level
// (https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#LogSeverity).
func severity(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < LevelNotice:
		return "INFO"
	case l < slog.LevelWarn:
		return "NOTICE"
	case l < slog.LevelError:
		return "WARNING"
	case l < LevelCritical:
		return "ERROR"
	}
	return "CRITICAL"
}

// special is what the fields with a meaning of their own begin with.
const special = "logging.googleapis.com/"

// reserved are the top-level fields that are not attributes; an attribute of such a name is written as "attr.<name>".
var reserved = []string{"severity", "message", "time", "timestamp", "timestampSeconds", "timestampNanos", "httpRequest"}

// insertIDKey is not a field name: no attribute is named so by chance.
const insertIDKey = "\x00insertId"

// InsertID returns an attribute that makes Cloud Logging keep one of all lines with the same id and
// time. It counts only as an attribute of a line, not in With.
func InsertID(id string) slog.Attr {
	return slog.String(insertIDKey, id) //nolint:sloglint // the key is a mark, and is not written
}

// Options are what a handler is made with.
type Options struct {
	Level   slog.Leveler      // the least level that is written; nil for Info
	Project string            // of the traces; "" writes none
	Labels  map[string]string // of every line
	Source  bool              // say which line of code it was
}

// Handler is a [slog.Handler]. It is safe for concurrent use: a line is one Write.
type Handler struct {
	mu     *sync.Mutex
	w      io.Writer
	opts   Options
	labels []byte // the labels as a field, "" if there are none

	pre    []byte   // attributes given by WithAttrs, written out
	opened int      // how many of groups are open at the end of pre
	groups []string // all groups
}

// New returns a handler that writes to w. Errors of w are returned to slog, which drops them.
func New(w io.Writer, opts Options) *Handler {
	if opts.Level == nil {
		opts.Level = slog.LevelInfo
	}
	h := &Handler{mu: new(sync.Mutex), w: w, opts: opts}
	if len(opts.Labels) > 0 {
		e := encoder{buf: []byte{}}
		e.key(special + "labels")
		e.any(opts.Labels)
		h.labels = e.buf
	}
	return h
}

// Enabled reports whether lines of the level are written.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.opts.Level.Level()
}

// WithAttrs returns a handler whose lines have the attributes too.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	e := encoder{buf: slices.Clone(h.pre), depth: h.opened}
	c.opened = e.attrs(h.groups[h.opened:], h.opened, attrs)
	c.pre = e.buf
	return &c
}

// WithGroup returns a handler that puts the attributes to come into an object of that name. A group
// without attributes is not written.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.groups = append(slices.Clip(h.groups), name)
	return &c
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// Handle writes one line.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	b := buffers.Get().(*[]byte)
	defer func() {
		if cap(*b) <= 64<<10 {
			buffers.Put(b)
		}
	}()
	e := encoder{buf: append((*b)[:0], '{')}
	e.field("severity", severity(r.Level))
	e.field("message", r.Message)
	if !r.Time.IsZero() {
		e.key("time")
		e.time(r.Time)
	}
	h.special(ctx, &e, r)
	var few [8]slog.Attr
	attrs := few[:0]
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == insertIDKey {
			e.field(special+"insertId", a.Value.String())
		} else {
			attrs = append(attrs, a)
		}
		return true
	})
	e.buf = append(e.buf, h.pre...)
	e.depth = h.opened
	for range e.attrs(h.groups[h.opened:], h.opened, attrs) {
		e.buf = append(e.buf, '}')
	}
	e.buf = append(e.buf, '}', '\n')
	*b = e.buf

	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(e.buf)
	return err
}

// special writes the fields that Cloud Logging takes out of the payload.
func (h *Handler) special(ctx context.Context, e *encoder, r slog.Record) {
	if t, ok := ctx.Value(traceKey{}).(trace); ok && h.opts.Project != "" {
		e.field(special+"trace", "projects/"+h.opts.Project+"/traces/"+t.traceID)
		e.field(special+"spanId", t.spanID)
		e.key(special + "trace_sampled")
		e.bool(t.sampled)
	}
	e.buf = append(e.buf, h.labels...)
	if s := r.Source(); h.opts.Source && s != nil {
		e.key(special + "sourceLocation")
		e.any(map[string]any{"file": s.File, "line": s.Line, "function": s.Function})
	}
}
