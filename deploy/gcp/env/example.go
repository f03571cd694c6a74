// Package env gives tests the example env files, filled in.
package env

import (
	"embed"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

//go:embed *.env
var examples embed.FS

// Example writes a filled in copy of an example, "production" or "staging", and returns its path. Each
// of lines, "KEY=value", replaces that key's line or is added; "KEY=" removes the line.
func Example(t testing.TB, name string, lines ...string) string {
	t.Helper()
	data, err := examples.ReadFile(name + ".env")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(
		"your-staging-project", "demo-p", "your-project", "demo-p", "your-domain.example", "example.com",
	).Replace(string(data))
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		text = regexp.MustCompile(`(?m)^`+key+`=.*\n`).ReplaceAllString(text, "")
		if value != "" {
			text += line + "\n"
		}
	}
	file := filepath.Join(t.TempDir(), name+".env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
