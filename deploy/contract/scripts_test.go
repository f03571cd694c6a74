package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	t.Parallel()
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

func TestWithoutUsersThereIsNoConsole(t *testing.T) {
	t.Parallel()
	needsTools(t, "jq")
	env, _ := unreachable(t)
	out, status := script(t, env, "deploy.sh", environment(t, "production", "CONSOLE_USERS=", "CONSOLE_IAP="), "--dry-run")
	const why = "no casewatch-console: CONSOLE_USERS is not set"
	if status != 0 || strings.Count(out, why) != 1 || strings.Contains(strings.Replace(out, why, "", 1), "casewatch-console") {
		t.Errorf("it exits with %d and says\n%s", status, out)
	}
}

// answering is an environment in which gcloud lists what it is given, and says which other commands it was called with.
func answering(t *testing.T, lists map[string]string) (env []string, called func() string) {
	t.Helper()
	env, _ = unreachable(t)
	dir := t.TempDir()
	stub := "#!/bin/sh\ncase \"$*\" in\n"
	for _, command := range slices.Sorted(maps.Keys(lists)) {
		file := filepath.Join(dir, strings.ReplaceAll(command, " ", "-"))
		if err := os.WriteFile(file, []byte(lists[command]), 0o600); err != nil {
			t.Fatal(err)
		}
		stub += "\"" + command + " \"*) exec cat " + file + " ;;\n"
	}
	stub += "esac\necho \"gcloud $*\" >>" + filepath.Join(dir, "called") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "gcloud"), []byte(stub), 0o755); err != nil {
		t.Fatal(err)
	}
	return append(env, "PATH="+dir+":"+strings.TrimPrefix(env[len(env)-1], "PATH=")), func() string {
		data, err := os.ReadFile(filepath.Join(dir, "called"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(data)
	}
}

// A function that came with the release that is taken back has nothing to go back to, and does not keep the others from it.
func TestRollbackOfWhatCameLater(t *testing.T) {
	t.Parallel()
	needsTools(t, "jq")
	type revision struct {
		name, before string
		release      int
	}
	of := func(revisions ...revision) string {
		var all []any
		for _, r := range revisions {
			all = append(all, map[string]any{
				"metadata": map[string]any{"name": r.name, "labels": map[string]string{"casewatch-release": fmt.Sprint(r.release), "casewatch-before": r.before}},
				"status":   map[string]any{"conditions": []any{map[string]string{"type": "Ready", "status": "True"}}},
			})
		}
		data, _ := json.Marshal(all)
		return string(data)
	}
	var services []any
	for service, serving := range map[string]string{"casewatch-start": "start-2", "casewatch-console": "console-1"} {
		services = append(services, map[string]any{
			"metadata": map[string]any{"name": service, "labels": map[string]string{"casewatch": "casewatch"}},
			"status":   map[string]any{"traffic": []any{map[string]any{"revisionName": serving, "percent": 100}}},
		})
	}
	live, _ := json.Marshal(services)
	for name, test := range map[string]struct {
		revisions string
		args      []string
		moved     string // what is called, "" for nothing
		says      string
	}{
		"the release before":  {of(revision{"start-1", "", 1}, revision{"start-2", "start-1", 2}, revision{"console-1", "", 2}), nil, "start-1=100", "casewatch-console serves console-1: it was not there before"},
		"a release of old":    {of(revision{"start-1", "", 1}, revision{"start-2", "start-1", 2}, revision{"console-1", "", 2}), []string{"--to", "1"}, "start-1=100", "casewatch-console serves console-1: it was not there before"},
		"what is gone":        {of(revision{"start-2", "start-1", 2}, revision{"console-1", "", 2}), nil, "", "start-1 of casewatch-start is not there any more"},
		"a broken chain":      {of(revision{"start-2", "start-1", 2}, revision{"console-1", "", 2}), []string{"--to", "1"}, "", "casewatch-start has nothing to go back to for 1"},
		"a revision unknown":  {of(revision{"start-2", "", 2}), []string{"--to", "1"}, "", "casewatch-console has nothing to go back to for 1"},
		"the first of all":    {of(revision{"start-2", "", 1}, revision{"console-1", "", 1}), nil, "", "has nothing to go back to"},
		"a source that never": {of(revision{"start-1", "", 1}, revision{"start-2", "start-1", 2}, revision{"console-1", "", 2}), []string{"--to", "0123456789abcdef"}, "", "has nothing to go back to for 0123456789abcdef"},
	} {
		t.Run(name, func(t *testing.T) {
			env, called := answering(t, map[string]string{"run services list": string(live), "run revisions list": test.revisions})
			out, status := script(t, env, "rollback.sh", append([]string{environment(t, "production")}, test.args...)...)
			moves := ""
			for line := range strings.Lines(called()) {
				if strings.Contains(line, "update-traffic") {
					moves += line
				}
			}
			if status == 0 || !strings.Contains(out, test.says) || (test.moved == "") != (moves == "") || !strings.Contains(moves, test.moved) || strings.Count(moves, "\n") > 1 {
				t.Errorf("it exits with %d, calls\n%sand says\n%s", status, moves, out)
			}
		})
	}
}

func TestBadEnvironmentIsRefusedBeforeAnyCall(t *testing.T) {
	t.Parallel()
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
	cmd := fake.Command(t, args...)
	cmd.Stdin = io.NopCloser(strings.NewReader(stdin))
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
