package googlefake

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ending is all that one gcloud leaves behind.
type ending struct {
	stdout, stderr, left string
	status               int
}

// end runs one gcloud in a folder with one file, and with something to read.
func end(t *testing.T, cmd *exec.Cmd) ending {
	t.Helper()
	cmd.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(cmd.Dir, "value"), []byte("of a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("of the input"), &out, &errs
	_ = cmd.Run() // its status tells
	read, _ := os.ReadFile(filepath.Join(cmd.Dir, "read"))
	return ending{out.String(), errs.String(), string(read), cmd.ProcessState.ExitCode()}
}

// A gcloud that is kept loaded does, says and sends what the one on the PATH does, the first time and the second.
func TestWarmGcloudIsGcloud(t *testing.T) {
	t.Parallel()
	var endings [2][]ending
	var calls [2]string
	for i, warm := range []bool{false, true} {
		f := Start(t, Options{AllServices: true})
		if warm {
			f.Warm(t)
			if f.warm == "" {
				t.Error("gcloud cannot be loaded once: the tests with gcloud take ten times as long")
			}
		}
		for _, line := range []string{
			"secrets create token --replication-policy=automatic",
			"secrets versions add token --data-file=-",
			"secrets versions add token --data-file=value",
			"secrets versions access 1 --secret=token",
			"secrets versions access 2 --secret=token --out-file=read",
			"secrets versions list token --format=json(name.basename(),state)",
			"secrets describe nobody",
			"secrets nonsense",
			"config get core/project",
		} {
			cmd := f.Command(t, words(line)...)
			cmd.Env = append(cmd.Env, "CLOUDSDK_CORE_PROJECT=demo-p")
			if strings.HasPrefix(line, "config") { // a command has an environment of its own
				cmd.Env = append(cmd.Env, "CLOUDSDK_CORE_PROJECT=other-p")
			}
			e := end(t, cmd)
			e.stderr = strings.ReplaceAll(e.stderr, f.token, "TOKEN")
			endings[i] = append(endings[i], e)
		}
		for _, c := range f.Calls() {
			calls[i] += c.String() + "\n"
		}
	}
	for i, cold := range endings[0] {
		if warm := endings[1][i]; warm != cold {
			t.Errorf("command %d ends with\n%+v\nand kept loaded with\n%+v", i, cold, warm)
		}
	}
	if calls[0] != calls[1] || !strings.Contains(calls[0], "addVersion") {
		t.Errorf("it calls\n%s\nand kept loaded\n%s", calls[0], calls[1])
	}
}
