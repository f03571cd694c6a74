package gcp_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/deploy/gcp/env"
)

// TestDryRuns shows that a dry run calls nothing, and that gcloud accepts every command of every
// dry run: it has the command and each flag, and each value has the type of its flag.
func TestDryRuns(t *testing.T) {
	t.Parallel()
	skipShort(t)
	needs(t, "bash", "jq")
	sdk := findSDK(t)
	commands := commandSet{}
	other := env.Example(t, "production", "CONSOLE_IAP=true", "PUBLIC_ACCESS=allUsers", "STORE=secret", "BACKUP_DAYS=")
	for _, file := range []string{"env/production.env", "env/staging.env", other} {
		p := &project{t, t.TempDir(), file}
		for _, script := range []string{"deploy.sh", "verify.sh", "rollback.sh", "destroy.sh --data"} {
			out := p.mustRun(script + " --dry-run")
			for _, m := range regexp.MustCompile(`(?m)^[+?] (gcloud .*)$`).FindAllStringSubmatch(out, -1) {
				commands.add(strings.NewReplacer("{PROJECT_NUMBER}", "123456789012", "{", "", "}", "").Replace(m[1]))
			}
		}
		if calls := p.takeCalls(); len(calls) > 0 {
			t.Errorf("a dry run calls %q", calls)
		}
	}
	if len(commands) < 100 {
		t.Errorf("the dry runs print %d different commands, want at least 100", len(commands))
	}
	sdk.lint(t, commands)
}

// lintUpdates shows that gcloud accepts the commands among calls that a dry run never prints: those
// for resources that exist.
func lintUpdates(t *testing.T, calls []string) {
	t.Helper()
	commands := commandSet{}
	for _, call := range calls {
		if strings.HasPrefix(call, "gcloud ") && regexp.MustCompile(` (update|patch|access) `).MatchString(call) {
			commands.add(call)
		}
	}
	findSDK(t).lint(t, commands)
}

// TestServicesMatchTheAPI shows that the types of the SDK accept the services that service.yaml
// describes, and that gcloud knows their annotations.
func TestServicesMatchTheAPI(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "jq")
	sdk, dir := findSDK(t), t.TempDir()
	p := &project{t, dir, env.Example(t, "production", "NETWORK=vpc", "SUBNET=functions", "CONSOLE_IAP=true")}
	out := p.mustRun("deploy.sh --dry-run")
	var files []string
	replaced := regexp.MustCompile(`(?m)^\+ gcloud (?:beta )?run services replace .*\n((?:     .*\n)+)`)
	for i, m := range replaced.FindAllStringSubmatch(out, -1) {
		file := filepath.Join(dir, fmt.Sprintf("%d.yaml", i))
		text := strings.NewReplacer("{RELEASE}", "0123456789ab", "{IMAGE}", "sha256:0").Replace(m[1])
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if len(files) != 9 {
		t.Fatalf("the dry run deploys %d services, want 9", len(files))
	}
	if out := sdk.python(t, "services.py", "", files...); out != "" {
		t.Error(out)
	}
}

// gcloudSDK is the folder of the installed Google Cloud SDK. The tests use its Python modules: they
// need neither a network nor an account.
type gcloudSDK string

// findSDK returns the installed SDK. It skips the test if there is none.
func findSDK(t *testing.T) gcloudSDK {
	t.Helper()
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("gcloud is not on the PATH: https://cloud.google.com/sdk/docs/install")
	}
	if gcloud, err = filepath.EvalSymlinks(gcloud); err != nil {
		t.Fatal(err)
	}
	sdk := filepath.Dir(filepath.Dir(gcloud))
	if _, err := os.Stat(filepath.Join(sdk, "lib/googlecloudsdk")); err != nil {
		t.Skipf("the SDK is not beside %s: %v", gcloud, err)
	}
	return gcloudSDK(sdk)
}

// commandSet holds one command of each kind: commands that differ only in the name of a resource or
// project count as one.
type commandSet map[string]string

var resourceName = regexp.MustCompile(`[^ =/]*(casewatch|demo-p|your-)[^ ]*|--project=[^ ]*`)

func (s commandSet) add(command string) { s[resourceName.ReplaceAllString(command, "")] = command }

// lint reports the commands that gcloud does not accept.
func (sdk gcloudSDK) lint(t *testing.T, commands commandSet) {
	t.Helper()
	var lines strings.Builder
	for _, command := range commands {
		lines.WriteString(command + "\n")
	}
	if out := sdk.python(t, "commands.py", lines.String()); out != "" {
		t.Error(out)
	}
	t.Logf("gcloud was asked about %d commands", len(commands))
}

// python runs a program of testdata with the modules of the SDK, and returns its output. It uses
// the interpreter that the SDK brings, if there is one: the modules are compiled for that.
func (sdk gcloudSDK) python(t *testing.T, program, input string, args ...string) string {
	t.Helper()
	python := filepath.Join(string(sdk), "platform/bundledpythonunix/bin/python3")
	if _, err := os.Stat(python); err != nil {
		needs(t, "python3")
		python = "python3"
	}
	cmd := exec.Command(python, append([]string{filepath.Join("testdata", program), string(sdk)}, args...)...)
	cmd.Env = append(os.Environ(), "CLOUDSDK_CONFIG="+t.TempDir(), "CLOUDSDK_CORE_DISABLE_PROMPTS=1")
	cmd.Stdin = strings.NewReader(input)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, &errs)
	}
	return string(out)
}
