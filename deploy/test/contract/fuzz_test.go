package contract

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]+)\(f \*testing\.F\)`)

// TestFuzzTargetsHaveACorpus: what a fuzz target once found worth trying is kept beside it, in
// testdata/fuzz, and tried in every test.
func TestFuzzTargetsHaveACorpus(t *testing.T) {
	targets := 0
	for _, path := range strings.Fields(run(t, root(t), "git", "ls-files", "-co", "--exclude-standard", "*_test.go")) {
		source, err := os.ReadFile(filepath.Join(root(t), path))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range fuzzTarget.FindAllSubmatch(source, -1) {
			targets++
			pattern := filepath.Join(root(t), filepath.Dir(path), "testdata", "fuzz", string(match[1]), "*")
			kept, err := filepath.Glob(pattern)
			if err != nil || len(kept) == 0 {
				t.Errorf("%s has no corpus for %s (make fuzz, then keep some of $(go env GOCACHE)/fuzz)",
					filepath.Dir(path), match[1])
			}
		}
	}
	if targets == 0 {
		t.Error("no fuzz target was found")
	}
}
