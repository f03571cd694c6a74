package gcp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/deploy/gcp/env"
)

// TestDryRuns: every command of every dry run is one that gcloud knows, with flags that it has and values of their types.
func TestDryRuns(t *testing.T) {
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("gcloud is not on the PATH: https://cloud.google.com/sdk/docs/install")
	}
	t.Parallel()
	all := map[string]bool{}
	other := env.Example(t, "production", "CONSOLE_IAP=true", "PUBLIC_ACCESS=allUsers", "STORE=secret", "BACKUP_DAYS=")
	for _, file := range []string{"env/production.env", "env/staging.env", other} {
		p := &project{t, t.TempDir(), file}
		for _, script := range [][]string{{"deploy.sh"}, {"verify.sh"}, {"rollback.sh"}, {"destroy.sh", "--data"}} {
			out := p.runs(script[0], append(script[1:], "--dry-run")...)
			for _, m := range regexp.MustCompile(`(?m)^[+?] (gcloud .*)$`).FindAllStringSubmatch(out, -1) {
				all[m[1]] = true
			}
		}
		if calls := p.calls(); len(calls) > 0 {
			t.Errorf("a dry run calls %q", calls)
		}
	}
	if len(all) < 250 {
		t.Errorf("only %d commands are printed", len(all))
	}
	lint(t, gcloud, all)
}

// lintCalls is lint for the updates among the commands that a script called, which a dry run does not show.
func lintCalls(t *testing.T, calls []string) {
	t.Helper()
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		return // TestDryRuns says so
	}
	all := map[string]bool{}
	for _, call := range calls {
		if strings.HasPrefix(call, "gcloud ") && regexp.MustCompile(` (update|patch|access) `).MatchString(call) {
			all[call] = true
		}
	}
	lint(t, gcloud, all)
}

var (
	flagName = regexp.MustCompile(`--[a-z-]+`)
	plain    = regexp.MustCompile(`^[a-z-]+$`)
)

// shapeOf is a command without the names and values in it.
func shapeOf(command string) string {
	var shape []string
	for _, word := range strings.Fields(command) {
		if strings.HasPrefix(word, "-") || strings.HasPrefix(word, "'-") {
			break
		}
		if plain.MatchString(word) && !strings.HasPrefix(word, "casewatch") && !strings.HasPrefix(word, "your-") {
			shape = append(shape, word)
		}
	}
	return strings.Join(append(shape, flagName.FindAllString(command, -1)...), " ")
}

// lint asks the real gcloud about commands; it needs neither a network nor an account for that.
func lint(t *testing.T, gcloud string, all map[string]bool) {
	t.Helper()
	type entry struct {
		ID      int    `json:"id"`
		Command string `json:"command_string"`
	}
	var list []entry
	shapes := map[string]bool{}
	for command := range all {
		// One of each shape: the same command about another resource says nothing new, and each takes its time.
		shape := shapeOf(command)
		if shapes[shape] {
			continue
		}
		shapes[shape] = true
		command = strings.NewReplacer("{PROJECT_NUMBER}", "123456789012", "{", "", "}", "").Replace(command)
		list = append(list, entry{len(list), command})
	}
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "commands.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(gcloud, "meta", "lint-gcloud-commands", "--commands-file="+file)
	cmd.Env = append(os.Environ(), "CLOUDSDK_CONFIG="+t.TempDir(), "CLOUDSDK_CORE_DISABLE_PROMPTS=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the linter of gcloud: %v\n%s", err, out)
	}
	var answers []struct {
		Success      bool   `json:"success"`
		Command      string `json:"command_string"`
		ErrorMessage string `json:"error_message"`
	}
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(list) {
		t.Fatalf("the linter of gcloud answers %d of %d commands: %v\n%s", len(answers), len(list), err, out[:min(len(out), 2000)])
	}
	for _, a := range answers {
		if !a.Success {
			t.Errorf("%s\n  %s", a.Command, a.ErrorMessage)
		}
	}
	t.Logf("%d commands, %d shapes", len(all), len(list))
}

// TestServicesAreOfTheAPI: the SDK's own types take what service.yaml becomes, and know its annotations.
func TestServicesAreOfTheAPI(t *testing.T) {
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("gcloud is not on the PATH: https://cloud.google.com/sdk/docs/install")
	}
	needs(t, "python3")
	t.Parallel()
	if gcloud, err = filepath.EvalSymlinks(gcloud); err != nil {
		t.Fatal(err)
	}
	sdk := filepath.Dir(filepath.Dir(gcloud))
	if _, err := os.Stat(filepath.Join(sdk, "lib/googlecloudsdk")); err != nil {
		t.Skipf("the SDK is not beside %s: %v", gcloud, err)
	}
	dir := t.TempDir()
	args := []string{"testdata/services.py", sdk}
	p := &project{t, dir, env.Example(t, "production", "NETWORK=vpc", "SUBNET=functions", "CONSOLE_IAP=true")}
	out := p.runs("deploy.sh", "--dry-run")
	for i, m := range regexp.MustCompile(`(?m)^\+ gcloud (?:beta )?run services replace .*\n((?:     .*\n)+)`).FindAllStringSubmatch(out, -1) {
		file := filepath.Join(dir, fmt.Sprintf("%d.yaml", i))
		text := strings.NewReplacer("{RELEASE}", "0123456789ab", "{IMAGE}", "sha256:0").Replace(m[1])
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	if len(args) != 2+8 {
		t.Fatalf("%d services are deployed", len(args)-2)
	}
	if out, err := exec.Command("python3", args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
