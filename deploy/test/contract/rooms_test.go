package contract

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRooms holds the top of the tree, and of deploy/, to what AGENTS.md and deploy/README.md say is in them.
func TestRooms(t *testing.T) {
	for _, test := range []struct {
		dir  string
		want []string
	}{
		{".", []string{"AGENTS.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "deploy",
			"function.go", "functions", "go.mod", "go.sum", "shared"}},
		{"deploy", []string{"README.md", "bench", "docs", "gcp", "local", "test", "tools"}},
		{"deploy/bench", []string{"coldstart", "cost", "go.mod", "go.sum", "peers", "policy"}},
		{"deploy/test", []string{"browser", "contract", "drill", "sim", "system", "witness"}},
	} {
		t.Run(test.dir, func(t *testing.T) {
			var got []string
			for line := range strings.Lines(run(t, root(t), "git", "ls-files", "--cached", "--others",
				"--exclude-standard", test.dir)) {
				name, err := filepath.Rel(test.dir, strings.TrimSpace(line))
				if err != nil {
					t.Fatal(err)
				}
				top, _, _ := strings.Cut(filepath.ToSlash(name), "/")
				_, err = os.Stat(filepath.Join(root(t), test.dir, top))
				if err == nil && !strings.HasPrefix(top, ".") && !slices.Contains(got, top) {
					got = append(got, top)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("%s holds %q, want %q", test.dir, got, test.want)
			}
		})
	}
}
