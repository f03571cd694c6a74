package config

import (
	"regexp"
	"strings"
	"testing"
)

// grammars say what each kind of name is, as a regular expression.
var grammars = []struct {
	name string
	is   func(string) bool
	as   *regexp.Regexp
}{
	{"project", projectID, regexp.MustCompile(`^([a-z0-9.-]+:)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)},
	{"location", locationID, regexp.MustCompile(`^[a-z][a-z0-9-]{0,61}[a-z0-9]$`)},
	{"queue", queueID, regexp.MustCompile(`^[A-Za-z0-9-]{1,96}$`)},
	{"topic", topicID, regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)},
	{"email", email, regexp.MustCompile(`^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)},
}

// FuzzNames holds what reads names to their grammars.
func FuzzNames(f *testing.F) {
	for _, text := range []string{
		"", "a", "A", "1", "-", "_", ".", ":", "@", "a-", "-a", "a.", ".a", "a..b", "a_b", "a:b", ":b", "a:",
		"a:b:c", "example.com:my-project", "my-project", "us-central1", "us",
		"(default)", "(default", "abc", "abcd", "goog", "google", "go", "a@b", "a@b.c", "a@b.c.", "a@.c",
		"@b.c", "a@b@c.d", "a b", "a\n", "\na", "é", "a\x00", "\xff", "a%b~c+d", "x..", "a-b.c_d.",
		"a" + strings.Repeat("b", 61), "a" + strings.Repeat("b", 62), "a" + strings.Repeat("b", 63),
		"a" + strings.Repeat("-", 61) + "b", "a" + strings.Repeat("-", 62) + "b",
		strings.Repeat("q", 96), strings.Repeat("q", 97), strings.Repeat("t", 255), strings.Repeat("t", 256),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, g := range grammars {
			want := g.as.MatchString(text) && (g.name != "topic" || !strings.HasPrefix(text, "goog"))
			if got := g.is(text); got != want {
				t.Errorf("%q as the name of a %s: %v", text, g.name, got)
			}
		}
	})
}
