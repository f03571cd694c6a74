// Package printable makes text that came from outside fit to be shown: in a page, an answer, a log
// line or a terminal. It is the one place that says which characters are not shown.
//
// Its functions are pure and safe for concurrent use.
package printable

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsControl reports whether r acts on what shows it instead of being shown: it controls a terminal,
// ends a line for some readers, or changes the direction of the text around it. It is wider than
// [unicode.IsControl].
func IsControl(r rune) bool {
	return unicode.IsControl(r) ||
		r > unicode.MaxLatin1 && unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// Line returns s as one line of valid UTF-8 with at most limit runes; limit is at least 1. Each run
// of white space, of characters that [IsControl] reports and of bytes that are not UTF-8 becomes one
// space, or nothing at either end of the line. A line that is cut ends with "…".
func Line(s string, limit int) string {
	line := make([]rune, 0, min(len(s), limit+2))
	gap := false
	for _, r := range s {
		if r == utf8.RuneError || unicode.IsSpace(r) || IsControl(r) {
			gap = len(line) > 0
			continue
		}
		if gap {
			line = append(line, ' ')
			gap = false
		}
		line = append(line, r)
		if len(line) > limit {
			return string(line[:limit-1]) + "…"
		}
	}
	return string(line)
}

// Cut returns the first limit bytes of s as valid UTF-8: it leaves out a character that the limit
// divides, and bytes that are not UTF-8. It changes nothing else.
func Cut(s string, limit int) string {
	return strings.ToValidUTF8(s[:min(len(s), limit)], "")
}
