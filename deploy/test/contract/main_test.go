package contract

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

const module = "github.com/casewatch/casewatch"

// opencensus is a dependency of Google's clients, which the rehearsal links; its worker is begun by an init function.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// root returns the top of the tree that is tested.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("the module is not where these tests think it is: %v", err)
	}
	return dir
}

// run runs a command in dir and returns its output; the test fails if it does. The go command is
// the one on the PATH, without a workspace, and does not look for a repository.
func run(t *testing.T, dir string, name string, args ...string) string {
	t.Helper()
	out, err := command(t, dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return out
}

// command is run, for commands that may fail. The error holds what was written to standard error.
func command(t *testing.T, dir string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(withoutGit(os.Environ()), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), &failure{err, errs.String()}
	}
	return out.String(), nil
}

type failure struct {
	err    error
	stderr string
}

func (f *failure) Error() string { return f.err.Error() + "\n" + f.stderr }

// needsTools skips a test without the commands that it calls.
func needsTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not on the PATH: apt-get install %s", name, name)
		}
	}
}

// withoutGit drops the variables that a git hook sets, which would point git to another repository.
func withoutGit(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "GIT_") })
}
