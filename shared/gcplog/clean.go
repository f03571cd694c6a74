package gcplog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxText is where texts and values are cut, in bytes as they are written, so that an entry stays
	// below Cloud Logging's 256 KiB (https://cloud.google.com/logging/quotas#log-limits) unless there
	// are very many.
	maxText = 16 << 10
	// maxName is where names of fields are cut.
	maxName = 512
)

// special is what the fields with a meaning of their own begin with.
const special = "logging.googleapis.com/"

// reserved are the top-level fields that are not attributes; an attribute of such a name is written
// as "attr.<name>".
var reserved = []string{"severity", "message", "time", "timestamp", "timestampSeconds", "timestampNanos", "httpRequest"}

// builtIn are the keys of slog's own fields. A top-level attribute of such a name is marked until it
// is written, so that [replaceBuiltIn] can tell the two apart.
var builtIn = []string{slog.TimeKey, slog.LevelKey, slog.MessageKey, slog.SourceKey}

const mark = "\x00"

// replaceBuiltIn gives slog's own fields the names and values that Cloud Logging reads, and takes
// the marks off attributes.
func replaceBuiltIn(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	case slog.LevelKey:
		level, _ := a.Value.Any().(slog.Level)
		return slog.String("severity", severity(level))
	case slog.MessageKey:
		return slog.String("message", clip(a.Value.String(), maxText))
	case slog.SourceKey:
		a.Key = special + "sourceLocation"
	default:
		a.Key = strings.TrimPrefix(a.Key, mark)
	}
	return a
}

// cleanAll appends attributes to list as [clean] leaves them.
func cleanAll(list, attrs []slog.Attr, top bool) []slog.Attr {
	for _, a := range attrs {
		list = append(list, clean(a, top))
	}
	return list
}

// clean returns an attribute with a name that no other field has and a value that slog encodes as it
// should be. top says that it is in no group.
func clean(a slog.Attr, top bool) slog.Attr {
	v := a.Value.Resolve() // survives a LogValue that panics
	switch {
	case v.Kind() == slog.KindGroup:
		inner := cleanAll(nil, v.Group(), top && a.Key == "")
		return slog.Attr{Key: cleanKey(a.Key, top), Value: slog.GroupValue(inner...)}
	case a.Key == "" && v.Equal(slog.Value{}): // slog leaves it out
		return slog.Attr{}
	}
	key := cleanKey(a.Key, top)
	if top && (slices.Contains(builtIn, key) || strings.HasPrefix(key, mark)) {
		key = mark + key
	}
	return slog.Attr{Key: key, Value: cleanValue(v)}
}

func cleanKey(key string, top bool) string {
	if top && (slices.Contains(reserved, key) || strings.HasPrefix(key, special)) {
		key = "attr." + key
	}
	return clip(key, maxName)
}

func cleanValue(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(clip(v.String(), maxText))
	case slog.KindFloat64: // JSON has no number for these
		if f := v.Float64(); math.IsNaN(f) || math.IsInf(f, 0) {
			return slog.StringValue(strconv.FormatFloat(f, 'g', -1, 64))
		}
	case slog.KindDuration: // in seconds, as everywhere
		return slog.Float64Value(v.Duration().Seconds())
	case slog.KindTime:
		return slog.TimeValue(v.Time().UTC())
	case slog.KindAny:
		raw, text := encode(v.Any())
		switch {
		case raw == nil:
			return slog.StringValue(clip(text, maxText))
		case len(raw) > maxText:
			return slog.StringValue(clip(string(raw), maxText))
		}
		return slog.AnyValue(json.RawMessage(raw))
	}
	return v
}

// encode returns an error as its text and anything else as its JSON. A value that has none, or
// panics, becomes a text that says so.
func encode(v any) (raw []byte, text string) {
	defer func() {
		if p := recover(); p != nil {
			raw, text = nil, fmt.Sprintf("!PANIC: a %T does not print", v)
		}
	}()
	switch v := v.(type) {
	case error:
		return nil, v.Error()
	case []byte:
		return nil, string(v)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Sprintf("!ERROR: a %T is no JSON", v)
	}
	return raw, ""
}

// clip cuts a text that would take more than that many bytes in a line, and says how long it was.
func clip(s string, limit int) string {
	if len(s) <= limit/6 { // the most that a byte becomes is \u0000
		return s
	}
	written := 0
	for i, r := range s {
		switch {
		case r == utf8.RuneError || unseen(r):
			written += 6
		case r == '"' || r == '\\':
			written += 2
		default:
			written += utf8.RuneLen(r)
		}
		if written > limit {
			return fmt.Sprintf("%s… (%d bytes)", s[:i], len(s))
		}
	}
	return s
}

// unseen reports whether a character does something to what shows it: it controls a terminal, ends
// a line for some readers, or turns the direction of the text around it. JSON lets most of them
// stand in a text.
func unseen(r rune) bool {
	return unicode.IsControl(r) || r > unicode.MaxLatin1 && unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// lineWriter writes lines of JSON without a character that is [unseen], which it escapes, and with
// U+FFFD for NUL, which some readers of JSON cannot store. In a line of JSON there can be one only
// inside a text. One Write at a time, as slog does it.
type lineWriter struct {
	w   io.Writer
	buf []byte
}

func (l *lineWriter) Write(line []byte) (int, error) {
	const nul = `\u0000`
	if !slices.ContainsFunc(line, func(b byte) bool { return b >= 0x7f }) && !bytes.Contains(line, []byte(nul)) {
		return l.w.Write(line)
	}
	if l.buf = l.buf[:0]; cap(l.buf) > 64<<10 {
		l.buf = nil
	}
	for rest := bytes.TrimSuffix(line, []byte("\n")); len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case bytes.HasPrefix(rest, []byte(nul)):
			size = len(nul)
			l.buf = utf8.AppendRune(l.buf, utf8.RuneError)
		case r == '\\': // what is escaped is no beginning of another escape
			size = 2
			l.buf = append(l.buf, rest[:size]...)
		case unseen(r):
			l.buf = fmt.Appendf(l.buf, `\u%04x`, r) // none needs more than four digits
		default:
			l.buf = append(l.buf, rest[:size]...)
		}
		rest = rest[size:]
	}
	l.buf = append(l.buf, '\n')
	if _, err := l.w.Write(l.buf); err != nil {
		return 0, err
	}
	return len(line), nil
}
