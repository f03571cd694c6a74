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

// Handler is a [slog.Handler] around that of slog for JSON, which encodes. Handler keeps the groups
// itself, because the fields of a trace are never in one. It is safe for concurrent use: a line is
// one Write.
type Handler struct {
	json    slog.Handler
	project string
	groups  []group // those that are open, the outermost first
}

// group is an open group with the attributes that WithAttrs put into it.
type group struct {
	name  string
	attrs []slog.Attr
}

// New returns a handler that writes to w. Errors of w are returned to slog, which drops them.
func New(w io.Writer, opts Options) *Handler {
	var json slog.Handler = slog.NewJSONHandler(&lineWriter{w: w}, &slog.HandlerOptions{
		Level: opts.Level, AddSource: opts.Source, ReplaceAttr: replaceBuiltIn,
	})
	if len(opts.Labels) > 0 {
		json = json.WithAttrs([]slog.Attr{{Key: special + "labels", Value: cleanValue(slog.AnyValue(opts.Labels))}})
	}
	return &Handler{json: json, project: opts.Project}
}

// Enabled reports whether lines of the level are written.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.json.Enabled(ctx, level)
}

// WithAttrs returns a handler whose lines have the attributes too.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	last := len(h.groups) - 1
	if last < 0 {
		c.json = h.json.WithAttrs(cleanAll(nil, attrs, true))
		return &c
	}
	c.groups = slices.Clone(h.groups)
	c.groups[last].attrs = cleanAll(slices.Clip(h.groups[last].attrs), attrs, false)
	return &c
}

// WithGroup returns a handler that puts the attributes to come into an object of that name. A group
// without attributes is not written.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.groups = append(slices.Clip(h.groups), group{name: cleanKey(name, len(h.groups) == 0)})
	return &c
}

// Handle writes one line.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	line := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	if t, ok := ctx.Value(traceKey{}).(trace); ok && h.project != "" {
		line.AddAttrs(
			slog.String(special+"trace", "projects/"+h.project+"/traces/"+t.traceID),
			slog.String(special+"spanId", t.spanID),
			slog.Bool(special+"trace_sampled", t.sampled),
		)
	}
	var few [8]slog.Attr
	attrs := few[:0]
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == insertIDKey {
			line.AddAttrs(slog.String(special+"insertId", clip(a.Value.String(), maxText)))
		} else {
			attrs = append(attrs, clean(a, len(h.groups) == 0))
		}
		return true
	})
	for _, g := range slices.Backward(h.groups) {
		attrs = []slog.Attr{{Key: g.name, Value: slog.GroupValue(slices.Concat(g.attrs, attrs)...)}}
	}
	line.AddAttrs(attrs...)
	return h.json.Handle(ctx, line)
}
