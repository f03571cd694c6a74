package printable_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/printable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLine(t *testing.T) {
	for _, test := range []struct {
		name, text string
		limit      int
		want       string
	}{
		{"nothing", "", 5, ""},
		{"plain", "Ana Ruiz", 8, "Ana Ruiz"},
		{"lines and tabs", " a\r\n\tb \n", 9, "a b"},
		{"only space", " \n\t ", 9, ""},
		{"NUL", "a\x00b", 9, "a b"},
		{"escape sequences", "a\x1b[2Jb\x9bc", 9, "a [2Jb c"},
		{"C1 controls, as characters", "a\u009b31mb", 9, "a 31mb"},
		{"line separators", "a\u2028b\u2029c\u0085d", 9, "a b c d"},
		{"direction of text", "\u202ea\u200fb\u2066c", 9, "a b c"},
		{"no UTF-8", "a\xffb\xc3", 9, "a b"},
		{"a replacement character", "a\ufffdb", 9, "a b"},
		{"as long as it may be", "éééé", 4, "éééé"},
		{"cut", "ééééé", 4, "ééé…"},
		{"cut after a space", "abc def", 4, "abc…"},
		{"cut to nothing", "abc", 1, "…"},
		{"space after the limit", "abcd \n", 4, "abcd"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := printable.Line(test.text, test.limit); got != test.want {
				t.Errorf("Line(%q, %d) is %q, want %q", test.text, test.limit, got, test.want)
			}
		})
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		name, text string
		limit      int
		want       string
	}{
		{"short", "abc", 9, "abc"},
		{"cut", "abcdef", 4, "abcd"},
		{"inside a character", "aéé", 4, "aé"},
		{"no UTF-8", "a\xffb", 9, "ab"},
		{"controls stay", "a\x00\nb", 9, "a\x00\nb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := printable.Cut(test.text, test.limit); got != test.want {
				t.Errorf("Cut(%q, %d) is %q, want %q", test.text, test.limit, got, test.want)
			}
		})
	}
}

// FuzzLine: whatever the text is, the line is bounded, valid and holds nothing that is not shown.
func FuzzLine(f *testing.F) {
	f.Add("a\x00b\u202e c\xff", uint8(3))
	f.Add(strings.Repeat("é ", 300), uint8(255))
	f.Fuzz(func(t *testing.T, text string, limit uint8) {
		most := int(limit) + 1
		got := printable.Line(text, most)
		bad := strings.ContainsFunc(got, printable.IsControl) || strings.ContainsFunc(got, unicode.IsControl)
		if n := utf8.RuneCountInString(got); n > most || bad || !utf8.ValidString(got) {
			t.Errorf("Line(%q, %d) is %q, of %d runes", text, most, got, n)
		}
		if again := printable.Line(got, most); again != got {
			t.Errorf("Line(%q, %d) is %q, and of that it is %q", text, most, got, again)
		}
	})
}
