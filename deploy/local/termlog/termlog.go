// Package termlog writes the log of `make run` to a terminal: one short, coloured line for each
// event.
//
//	17:04:05 INF progress checked                 case=c-1 run=1 found=reading completed=1 total=3
//
// It leaves out what a person does not need: traces, sequence numbers, message ids, usual values,
// and sweeps that repaired nothing. Programs read the JSON lines of gcplog instead.
package termlog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/lmittmann/tint"

	"github.com/casewatch/casewatch/shared/printable"
)

const (
	messageWidth = 32  // shorter messages are padded, so that the attributes begin in one column
	maxValue     = 300 // characters of a value: a pipeline's error can be long
)

// Colours of attributes, by their 8-bit ANSI numbers:
// https://en.wikipedia.org/wiki/ANSI_escape_code#8-bit
const (
	red   = 9
	green = 10
	amber = 11
	cyan  = 6 // bright cyan (14) cannot be read on a white background
)

// shortNames are the attributes that this log shows under a shorter name.
var shortNames = map[string]string{"case_id": "case", "deadline_at": "deadline", "again_at": "again"}

// hidden are the attributes that are never shown: they help to search a log, but not to read it.
var hidden = map[string]bool{"seq": true, "moved": true, "message_id": true, "bytes": true}

// usualValues are the values of healthy runs and sweeps. An attribute with its usual value is not
// shown.
var usualValues = map[string]string{
	"verdict":     "applied",
	"adopted":     "false",
	"failed":      "0",
	"open":        "0",
	"overdue":     "0",
	"rearmed":     "0",
	"timed_out":   "0",
	"republished": "0",
	"purged":      "0",
	"leaked":      "0",
}

// New returns a handler that writes records of level Info and above to w, each with one Write. With
// colours false, no line contains an escape sequence. Escape sequences in messages and attributes
// are always replaced. The handler is safe for concurrent use.
func New(w io.Writer, colours bool) slog.Handler {
	options := &tint.Options{TimeFormat: time.TimeOnly, NoColor: !colours, ReplaceAttr: replace}
	return handler{tint.NewTextHandler(w, options)}
}

type handler struct{ slog.Handler }

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }

// Handle writes a line. It drops the report of a sweep that repaired nothing, because a sweep runs
// every few seconds.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	sweep, idle := false, true
	r.Attrs(func(a slog.Attr) bool {
		sweep = sweep || a.Key == "leaked"
		idle = idle && (a.Key == "open" || usualValues[a.Key] == a.Value.String())
		return true
	})
	if sweep && idle {
		return nil
	}
	if r.Message = clean(r.Message); r.NumAttrs() > 0 {
		r.Message = pad(r.Message)
	}
	return h.Handler.Handle(ctx, r)
}

// replace returns an attribute in the form that is shown, or the zero Attr if it is not shown.
func replace(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		return a
	}
	if _, ok := a.Value.Any().(slog.Level); ok {
		return a
	}
	if m := a.Value.String(); a.Key == slog.MessageKey && m == pad(clean(m)) {
		return a // Handle padded it
	}
	usual, ok := usualValues[a.Key]
	// The key of gcplog's insert id begins with NUL.
	if hidden[a.Key] || strings.HasPrefix(a.Key, "\x00") || ok && a.Value.String() == usual {
		return slog.Attr{}
	}
	key := a.Key
	if short, ok := shortNames[key]; ok {
		key = short
	}
	text := a.Value.String()
	switch {
	case a.Value.Kind() == slog.KindTime:
		text = a.Value.Time().Local().Format(time.TimeOnly)
	case a.Value.Kind() == slog.KindFloat64 && strings.HasSuffix(key, "_seconds"):
		key = strings.TrimSuffix(key, "_seconds")
		text = time.Duration(a.Value.Float64() * float64(time.Second)).Round(100 * time.Millisecond).String()
	case key == "task": // projects/P/locations/L/queues/Q/tasks/T
		text = path.Base(path.Dir(path.Dir(text))) + "/" + path.Base(text)
	}
	a = slog.String(clean(key), clean(text))
	switch {
	case a.Key == "case" || a.Key == "run":
		return tint.Attr(cyan, a)
	case a.Key == "error" || text == "failed" || text == "timed_out":
		return tint.Attr(red, a)
	case text == "succeeded":
		return tint.Attr(green, a)
	case text == "cancelled":
		return tint.Attr(amber, a)
	}
	return a
}

// pad fills a message with spaces, so that the attributes of all lines begin in one column.
func pad(message string) string { return fmt.Sprintf("%-*s", messageWidth, message) }

// clean returns text as [printable.Line] does. Values may contain text of the pipeline, and tint does
// not remove escape sequences.
func clean(text string) string { return printable.Line(text, maxValue) }
