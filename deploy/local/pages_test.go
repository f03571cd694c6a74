package main_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	// answered is a block of shell commands with the block of what they print right below it.
	answered = regexp.MustCompile("```sh\n([^`]*)```\n+```text\n([^`]*)```")
	spaces   = regexp.MustCompile(`\s+`)
)

// endOfBlock is printed after the commands of each block.
const endOfBlock = "\x1e"

// TestAnswersInPages runs the commands of the pages that show their answers, in one shell a page,
// and wants them to print what the page says. Spaces and line ends do not count, and an ellipsis
// (…) is any text.
func TestAnswersInPages(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl", "jq", "node"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not on the PATH: apt-get install curl jq nodejs", tool)
		}
	}
	for _, page := range []string{"README.md", "functions/README.md"} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("../..", page))
			if err != nil {
				t.Fatal(err)
			}
			blocks := answered.FindAllStringSubmatch(string(text), -1)
			if len(blocks) == 0 {
				t.Fatal("it has no command with an answer: is the pattern of this test right?")
			}
			p := newProgram(t)
			p.run()
			answers := p.shell(blocks)
			for i, block := range blocks {
				name, _, _ := strings.Cut(block[1], "\n")
				t.Run(name, func(t *testing.T) {
					want := regexp.QuoteMeta(spaces.ReplaceAllString(block[2], ""))
					want = "(?s)^" + strings.ReplaceAll(want, "…", ".*") + "$"
					if !regexp.MustCompile(want).MatchString(spaces.ReplaceAllString(answers[i], "")) {
						t.Errorf("got\n%s\nwant\n%s", answers[i], block[2])
					}
				})
			}
		})
	}
}

// shell runs the commands of all blocks, and returns what those of each printed. Addresses are those that pages show.
func (p *program) shell(blocks [][]string) []string {
	p.t.Helper()
	const shown, answers = "http://localhost:8080", "http://127.0.0.1:8080"
	var script strings.Builder
	for _, block := range blocks {
		script.WriteString(strings.ReplaceAll(block[1], shown, p.base) + "printf '" + endOfBlock + "'\n")
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", script.String())
	shell.Dir = p.t.TempDir()
	out, err := shell.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%v\n%s", err, out)
	}
	return strings.Split(strings.ReplaceAll(string(out), p.base, answers), endOfBlock)
}
