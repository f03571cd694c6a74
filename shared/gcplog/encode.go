package gcplog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxText is where texts and values are cut, in bytes, so that an entry stays below Cloud Logging's 256 KiB
// (https://cloud.google.com/logging/quotas#log-limits) unless there are very many.
const maxText = 16 << 10

// maxName is where names of fields are cut.
const maxName = 512

// encoder appends the fields of JSON objects. Whatever it is given, what it appends is valid JSON in one line, without
// NUL characters and without any that controls what shows it.
type encoder struct {
	buf   []byte
	depth int // how many objects are open inside the line's own
}

// key begins a field. A comma is due unless an object has just begun.
func (e *encoder) key(name string) {
	if n := len(e.buf); n == 0 || e.buf[n-1] != '{' {
		e.buf = append(e.buf, ',')
	}
	e.text(name, maxName)
	e.buf = append(e.buf, ':')
}

func (e *encoder) field(name, text string) {
	e.key(name)
	e.string(text)
}

// attrs appends attributes inside the given groups, which it opens unless there is nothing to
// write, and returns how many are open then, of which open were before.
func (e *encoder) attrs(groups []string, open int, attrs []slog.Attr) int {
	before := len(e.buf)
	for _, g := range groups {
		e.open(g)
	}
	start := len(e.buf)
	for _, a := range attrs {
		e.attr(a)
	}
	if len(e.buf) == start {
		e.buf = e.buf[:before]
		e.depth -= len(groups)
		return open
	}
	return open + len(groups)
}

func (e *encoder) open(name string) {
	e.name(name)
	e.buf = append(e.buf, '{')
	e.depth++
}

// name begins a field that is named by a caller.
func (e *encoder) name(name string) {
	if e.depth == 0 && (slices.Contains(reserved, name) || strings.HasPrefix(name, special)) {
		name = "attr." + name
	}
	e.key(name)
}

func (e *encoder) attr(a slog.Attr) {
	v := a.Value.Resolve() // survives a LogValue that panics
	if a.Key == "" && v.Equal(slog.Value{}) {
		return
	}
	if v.Kind() != slog.KindGroup {
		e.name(a.Key)
		e.value(v)
		return
	}
	if a.Key == "" {
		for _, inner := range v.Group() {
			e.attr(inner)
		}
		return
	}
	if e.attrs([]string{a.Key}, 0, v.Group()) > 0 {
		e.buf = append(e.buf, '}')
		e.depth--
	}
}

func (e *encoder) value(v slog.Value) {
	switch v.Kind() {
	case slog.KindString:
		e.string(v.String())
	case slog.KindInt64:
		e.buf = strconv.AppendInt(e.buf, v.Int64(), 10)
	case slog.KindUint64:
		e.buf = strconv.AppendUint(e.buf, v.Uint64(), 10)
	case slog.KindFloat64:
		e.float(v.Float64())
	case slog.KindBool:
		e.bool(v.Bool())
	case slog.KindDuration: // in seconds, as everywhere
		e.float(v.Duration().Seconds())
	case slog.KindTime:
		e.time(v.Time())
	default:
		e.any(v.Any())
	}
}

func (e *encoder) bool(b bool) { e.buf = strconv.AppendBool(e.buf, b) }

func (e *encoder) time(t time.Time) { e.string(t.UTC().Format(time.RFC3339Nano)) }

// float appends what JSON has no number for as a text.
func (e *encoder) float(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		e.string(strconv.FormatFloat(f, 'g', -1, 64))
		return
	}
	e.buf = strconv.AppendFloat(e.buf, f, 'g', -1, 64)
}

// any appends an error as its text and anything else as its JSON. A value that has none, or panics,
// becomes a text that says so.
func (e *encoder) any(v any) {
	raw, text := encode(v)
	switch {
	case raw == nil:
		e.string(text)
	case len(raw) > maxText:
		e.string(string(raw))
	default:
		// Only a text inside a JSON value can hold a NUL, and only escaped.
		raw = bytes.ReplaceAll(raw, []byte(`\u0000`), []byte(`\ufffd`))
		for i := bytes.IndexFunc(raw, unseen); i >= 0; i = bytes.IndexFunc(raw, unseen) {
			r, size := utf8.DecodeRune(raw[i:])
			e.buf = append(e.buf, raw[:i]...)
			e.escape(r)
			raw = raw[i+size:]
		}
		e.buf = append(e.buf, raw...)
	}
}

// unseen reports whether a character does something to what shows it: it controls a terminal, ends
// a line for some readers, or turns the direction of the text around it. JSON lets most of them
// stand in a text.
func unseen(r rune) bool {
	return unicode.IsControl(r) || r > unicode.MaxLatin1 && unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// escape appends a character of [unseen], none of which needs more than four digits.
func (e *encoder) escape(r rune) { e.buf = fmt.Appendf(e.buf, `\u%04x`, r) }

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

// string appends a JSON string: cut after maxText bytes as written, with what is [unseen] escaped,
// and with U+FFFD for NUL and for what is not UTF-8.
func (e *encoder) string(s string) { e.text(s, maxText) }

func (e *encoder) text(s string, limit int) {
	e.buf = append(e.buf, '"')
	limit += len(e.buf)
	for i := 0; i < len(s); {
		if len(e.buf) >= limit {
			e.buf = fmt.Appendf(e.buf, "… (%d bytes)", len(s))
			break
		}
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' && c != 0x7f {
			e.buf = append(e.buf, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch {
		case c == '"' || c == '\\':
			e.buf = append(e.buf, '\\', c)
		case c == '\n':
			e.buf = append(e.buf, '\\', 'n')
		case c == 0 || r == utf8.RuneError:
			e.buf = utf8.AppendRune(e.buf, utf8.RuneError)
		case unseen(r):
			e.escape(r)
		default:
			e.buf = utf8.AppendRune(e.buf, r)
		}
	}
	e.buf = append(e.buf, '"')
}
