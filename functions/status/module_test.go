package status

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/cases"
)

// TestModule runs the browser module's own tests.
func TestModule(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: apt-get install nodejs (20 or newer)")
	}
	tests, err := filepath.Glob("testdata/*.test.mjs")
	if err != nil || len(tests) == 0 {
		t.Fatal(tests, err)
	}
	out, err := exec.CommandContext(t.Context(), node, append([]string{"--test", "--test-reporter=spec"}, tests...)...).
		CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestModuleUsesTheMessagesOfTheStream checks that the module builds the same messages from JSON as
// the stream sends.
func TestModuleUsesTheMessagesOfTheStream(t *testing.T) {
	module := string(read("casewatch.js"))
	for _, v := range []cases.View{
		{State: cases.Pending},
		{State: cases.Running},
		{State: cases.Running, Progress: cases.Progress{Completed: 2, Total: 2}},
		{State: cases.Running, Progress: cases.Progress{Completed: 1, Total: 2}},
	} {
		message := strings.NewReplacer("1 of 2", "${completed} of ${total}").Replace(doing(v))
		if !strings.Contains(module, message) {
			t.Errorf("the module lacks the message %q of the stream", message)
		}
	}
}
