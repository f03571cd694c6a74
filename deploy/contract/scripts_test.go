package contract

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/deploy/contract/googlefake"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (-update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", name, diff)
	}
}

// environment writes an env file: the example of that name, filled in, with lines replaced or added. "KEY=" removes a line.
func environment(t *testing.T, example string, lines ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), "deploy/env", example+".env"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("your-project", "demo-p", "your-domain.example", "example.com").Replace(string(data))
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		there := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(key) + `=.*\n`)
		if value == "" {
			line = ""
		} else {
			line += "\n"
		}
		if there.MatchString(text) {
			text = there.ReplaceAllLiteralString(text, line)
		} else {
			text += line
		}
	}
	file := filepath.Join(t.TempDir(), example+".env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// needsTools skips a test without what the scripts call.
func needsTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not on the PATH: apt-get install %s", name, name)
		}
	}
}

// scriptTime is how long one script may take: a hundred commands of about a second, on a machine that does other things too.
const scriptTime = 10 * time.Minute

// script runs one of the deploy scripts and returns what it wrote, both ways, and its exit status.
func script(t *testing.T, env []string, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root(t), "deploy", name), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Stdin = &out, &out, env, nil
	cmd.WaitDelay = 10 * time.Second
	began := time.Now()
	err := cmd.Run()
	t.Logf("%s %s: %v, %v", name, strings.Join(args[1:], " "), cmd.ProcessState, time.Since(began).Round(100*time.Millisecond))
	if ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", name, err, &out)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// unreachable is an environment in which gcloud and curl can be called and say that they were.
func unreachable(t *testing.T) (env []string, called func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "called")
	for _, name := range []string{"gcloud", "curl"} {
		stub := "#!/bin/sh\necho \"" + name + " $*\" >>" + log + "\nexit 1\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(stub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH")), func() string {
		data, err := os.ReadFile(log)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(data)
	}
}

func TestDryRunCallsNothing(t *testing.T) {
	needsTools(t, "jq")
	for _, example := range []string{"production", "staging"} {
		t.Run(example, func(t *testing.T) {
			env, called := unreachable(t)
			file := environment(t, example)
			out, status := script(t, env, "deploy.sh", file, "--dry-run")
			if status != 0 || called() != "" {
				t.Errorf("it exits with %d and calls %q\n%s", status, called(), out)
			}
			golden(t, "dry-run-"+example+".txt", strings.ReplaceAll(out, file, "ENV"))
		})
	}
}

func TestBadEnvironmentIsRefusedBeforeAnyCall(t *testing.T) {
	needsTools(t, "jq")
	for _, test := range []struct {
		name   string
		lines  []string
		faults []string
	}{
		{"the example as it is", nil, []string{"PROJECT"}},
		{"several at once", []string{"PROJECT=demo-p", "PIPELINE_API_URL=http://localhost:8000", "REGION=nowhere!", "NO_SUCH_SETTING=1", "QUEUE_SHARDS=0", "PIPELINE_TIMEOUT=2h"},
			[]string{"PIPELINE_API_URL", "REGION", "NO_SUCH_SETTING", "QUEUE_SHARDS", "PIPELINE_TIMEOUT"}},
		{"a secret", []string{"PROJECT=demo-p", "TOKEN_SECRET=hunter2-hunter2-hunter2-hunter2-hunter2"}, []string{"TOKEN_SECRET"}},
		{"nothing", []string{"PROJECT=", "REGION=", "STORE=", "PIPELINE_API_URL="}, []string{"PROJECT", "REGION", "STORE", "PIPELINE_API_URL"}},
		{"a dispatch that the timeout would cut", []string{"PROJECT=demo-p", "TIMEOUT_DISPATCH=300"}, []string{"PIPELINE_TIMEOUT"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			env, called := unreachable(t)
			file := environment(t, "production", test.lines...)
			if test.lines == nil {
				file = "production"
			}
			for _, name := range []string{"deploy.sh", "verify.sh"} {
				out, status := script(t, env, name, file)
				if status == 0 || called() != "" {
					t.Errorf("%s exits with %d and calls %q", name, status, called())
				}
				for _, fault := range test.faults {
					if !strings.Contains(out, fault) {
						t.Errorf("%s does not name %s:\n%s", name, fault, out)
					}
				}
				if strings.Contains(out, "hunter2") {
					t.Errorf("%s tells the secret", name)
				}
			}
		})
	}
}

// gcloud runs the real gcloud against the fake.
func gcloud(t *testing.T, fake *googlefake.Fake, stdin string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), googlefake.Gcloud(t), args...)
	cmd.Env, cmd.Stdin = fake.Env(), io.NopCloser(strings.NewReader(stdin))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcloud %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// mutations are the calls that change something, one a line.
func mutations(fake *googlefake.Fake) string {
	var b strings.Builder
	for _, c := range fake.Mutations() {
		b.WriteString(c.String() + "\n")
	}
	return b.String()
}
