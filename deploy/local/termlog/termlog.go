// Package termlog is the log of `make run` for people at a terminal: one short line an event, with
// colours.
//
//	17:04:05 INF progress checked                 case=smith-2026-114 run=1 found=reading completed=1 total=3 next=2s
//
// It shows what a person looks for and leaves out the rest: traces, sequence numbers, message ids,
// values that say that nothing is unusual, and sweeps that found nothing to do. Programs read the
// JSON lines of gcplog instead.
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
	messageWidth = 32  // shorter messages are padded, so that what follows them is in one column
	maxValue     = 300 // runes of a message, a name or a value; a pipeline's error can be long
)

// Colours of attributes, as tint numbers them: https://en.wikipedia.org/wiki/ANSI_escape_code#8-bit
const (
	red   = 9
	green = 10
	amber = 11
	cyan  = 6 // not the bright one, which cannot be read on white
)

// names are attributes that have a shorter name here.
var names = map[string]string{"case_id": "case", "deadline_at": "deadline", "again_at": "again"}

// hidden are attributes that help to search a log, not to read it.
var hidden = map[string]bool{"seq": true, "moved": true, "message_id": true, "bytes": true}

// usual are the values that say that nothing is unusual. Zero counts of repairs are among them.
var usual = map[string]string{
	"verdict": "applied", "adopted": "false", "failed": "0",
	"open": "0", "overdue": "0", "rearmed": "0", "timed_out": "0", "republished": "0", "purged": "0", "leaked": "0",
}

// New returns a handler that writes lines of the level Info and above to w, each with one Write. It
// is safe for concurrent use. Without colours no line holds an escape sequence; neither way does
// one hold any that it was given.
func New(w io.Writer, colours bool) slog.Handler {
	return handler{tint.NewTextHandler(w, &tint.Options{TimeFormat: time.TimeOnly, NoColor: !colours, ReplaceAttr: replace})}
}

type handler struct{ slog.Handler }

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }

// Handle writes a line, unless it is the report of a sweep that had nothing to do: there is one
// every few seconds.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	sweep, idle := false, true
	r.Attrs(func(a slog.Attr) bool {
		sweep = sweep || a.Key == "leaked"
		idle = idle && (a.Key == "open" || usual[a.Key] == a.Value.String())
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

// replace returns an attribute as it is shown; the zero Attr for none.
func replace(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		return a
	}
	if _, ok := a.Value.Any().(slog.Level); ok {
		return a
	}
	if m := a.Value.String(); a.Key == slog.MessageKey && m == pad(clean(m)) {
		return a // Handle made it so
	}
	value, isUsual := usual[a.Key]
	// The key of gcplog's insert id begins with NUL.
	if hidden[a.Key] || strings.HasPrefix(a.Key, "\x00") || isUsual && a.Value.String() == value {
		return slog.Attr{}
	}
	key := a.Key
	if short, ok := names[key]; ok {
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

func pad(message string) string { return fmt.Sprintf("%-*s", messageWidth, message) }

// clean returns text as [printable.Line] does: values hold what the pipeline said, tint lets escape
// sequences through, and it ends a text at U+FFFD.
func clean(text string) string { return printable.Line(text, maxValue) }
