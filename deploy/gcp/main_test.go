// Package gcp_test runs the scripts of this folder from a first deployment to the deletion of
// everything. Package stub stands in for gcloud and curl.
package gcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/gcp/env"
)

// tools is a folder with the commands that the scripts call: the stub as gcloud and as curl,
// settings and drill.
var tools string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "casewatch-gcp")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		cmd := exec.Command("go", "build", "-o", dir+"/", "./stub", "./settings", "../test/drill")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		for _, name := range []string{"gcloud", "curl"} {
			if err := os.Symlink("stub", filepath.Join(dir, name)); err != nil {
				panic(err)
			}
		}
		tools = dir
		return m.Run()
	}())
}

// toolEnv returns the environment of a script that calls the commands of tools.
func toolEnv(extra ...string) []string {
	return append(os.Environ(), append([]string{
		"PATH=" + tools + ":" + os.Getenv("PATH"),
		"SETTINGS=" + filepath.Join(tools, "settings"),
		"DRILL_BINARY=" + filepath.Join(tools, "drill"),
		"WAIT=0",
		"PATIENCE=30",
	}, extra...)...)
}

func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the scripts call gcloud some hundred times, which takes half a minute: run without -short")
	}
}

// needs skips the test if a program is not installed.
func needs(t *testing.T, names ...string) {
	t.Helper()
	for _, tool := range names {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not on the PATH: apt-get install %s", tool, tool)
		}
	}
}

// object is a resource as gcloud prints it.
type object = map[string]any

// resources is what is live on the stub, by kind and name. The stub keeps it in the file
// state.json.
type resources struct {
	Names []string // in the order of creation
	Live  map[string]object
}

// project is a Google Cloud project on the stub, and the env file that the scripts deploy to it.
type project struct {
	t       *testing.T
	dir     string // the stub's folder
	envFile string
}

// newProject returns a project that holds nothing but the secret that an operator has to create.
func newProject(t *testing.T, example string, lines ...string) *project {
	t.Helper()
	skipShort(t)
	needs(t, "bash", "jq", "openssl")
	p := &project{t, t.TempDir(), env.Example(t, example, lines...)}
	p.edit(func(live object) {
		live["secrets casewatch-pipeline-api-key"] = object{"name": "casewatch-pipeline-api-key"}
		live["versions casewatch-pipeline-api-key 1"] = object{
			"name":  "projects/demo-p/secrets/casewatch-pipeline-api-key/versions/1",
			"state": "enabled",
			"value": pipelineKey,
		}
	})
	return p
}

const pipelineKey = "the-key-of-the-pipeline"

// first is the first deployment of production.env. Each run of a script takes seconds, so all tests
// that begin with a deployed project share this one.
var first struct {
	sync.Once
	project *project // nil if the deployment failed
	outputs []string // of each run of deploy.sh
	calls   []string
}

// deployFirst deploys production.env to a new project, in three runs of deploy.sh. Commands fail in
// the first two, once for good in each, otherwise for a right that Google Cloud does not know yet.
// TestFirstDeployment checks the outcome.
func deployFirst(t *testing.T) {
	t.Helper()
	needs(t, "bash", "jq", "openssl")
	first.Do(func() {
		p := newProject(t, "production")
		p.write("faults.json", firstFaults)
		for range 2 {
			out := p.mustFail("deploy.sh", "This command failed", "INTERNAL: broken off")
			first.outputs = append(first.outputs, out)
		}
		first.outputs = append(first.outputs, p.mustRun("deploy.sh"))
		first.calls = p.takeCalls()
		first.project = &project{dir: filepath.Join(tools, "first")}
		if err := os.CopyFS(first.project.dir, os.DirFS(p.dir)); err != nil {
			t.Fatal(err)
		}
	})
	if first.project == nil {
		t.Fatal("the first deployment failed, in another test")
	}
}

// firstFaults are the commands that fail during the first deployment. The messages, but for the
// last two, are those of Google Cloud for a right, an account or an API that is not known yet.
var firstFaults = []fault{
	{
		Match: `services enable`, Times: 1,
		Message: "SERVICE_DISABLED: Service Usage API has not been used in project 1 before",
	},
	{
		Match: `iam-policy casewatch-token-secret`, Times: 2,
		Message: "INVALID_ARGUMENT: Service account casewatch-start@demo-p.iam.gserviceaccount.com does not exist.",
	},
	{
		Match: `builds submit`, Times: 2,
		Message: "INVALID_ARGUMENT: could not resolve source: googleapi: Error 403: " +
			"casewatch-build@demo-p.iam.gserviceaccount.com does not have storage.objects.get access to the " +
			"Google Cloud Storage object. " +
			"Permission 'storage.objects.get' denied on resource (or it may not exist).",
	},
	{
		Match: `run services replace`, Times: 1,
		Message: "Google Cloud Run Service Agent must have permission to read the image, " +
			"us-central1-docker.pkg.dev/demo-p/casewatch/casewatch@sha256:0.",
	},
	{
		Match: `pubsub topics create casewatch-ended`, Times: 1, AfterEffect: true,
		Message: "INTERNAL: broken off",
	},
	{
		Match: `run services replace \S+casewatch-start`, Times: 1, AfterEffect: true,
		Message: "INTERNAL: broken off",
	},
}

// deployedProject returns a project to which production.env was deployed. It is a copy of the first
// deployment.
func deployedProject(t *testing.T) *project {
	t.Helper()
	skipShort(t)
	deployFirst(t)
	p := &project{t, t.TempDir(), env.Example(t, "production")}
	if err := os.CopyFS(p.dir, os.DirFS(first.project.dir)); err != nil {
		t.Fatal(err)
	}
	return p
}

// runScript runs a script in env. It returns the script's output and exit status, and logs the CPU
// time of the script and of all commands that it called.
func runScript(t *testing.T, env []string, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "./"+name, args...)
	cmd.Env = env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // a command of a killed script may hold the output open
	err := cmd.Run()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		t.Fatalf("%s: %v\n%s", name, err, &out)
	}
	t.Logf("%s: %v of CPU time", name,
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(10*time.Millisecond))
	return out.String(), cmd.ProcessState.ExitCode()
}

// run runs a script with the project's env file as its first argument.
func (p *project) run(name string, args ...string) (string, int) {
	p.t.Helper()
	return runScript(p.t, toolEnv("STUB="+p.dir), name, append([]string{p.envFile}, args...)...)
}

// mustRun runs a command line, a script and its flags, that has to succeed. It returns the output.
func (p *project) mustRun(line string) string {
	p.t.Helper()
	words := strings.Fields(line)
	out, status := p.run(words[0], words[1:]...)
	if status != 0 {
		p.t.Fatalf("%s exits with %d:\n%s", line, status, lastPart(out))
	}
	return out
}

// mustFail runs a command line, a script and its flags, that has to exit with 1 and to print each
// text. It returns the output.
func (p *project) mustFail(line string, texts ...string) string {
	p.t.Helper()
	words := strings.Fields(line)
	out, status := p.run(words[0], words[1:]...)
	if status != 1 {
		p.t.Fatalf("%s exits with %d, want 1:\n%s", line, status, lastPart(out))
	}
	p.mustContain(out, texts...)
	return out
}

// mustContain reports every text that a script did not print.
func (p *project) mustContain(out string, texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			p.t.Errorf("the output does not contain %q:\n%s", text, lastPart(out))
		}
	}
}

func lastPart(out string) string { return out[max(0, len(out)-3000):] }

// write writes a file of the stub as JSON.
func (p *project) write(name string, v any) {
	p.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, name), data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// state returns what is live.
func (p *project) state() resources {
	p.t.Helper()
	s := resources{Live: map[string]object{}}
	data, err := os.ReadFile(filepath.Join(p.dir, "state.json"))
	if os.IsNotExist(err) {
		return s
	}
	if err := json.Unmarshal(data, &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// edit changes what is live, as somebody would do by hand. An entry that is set to nil is deleted.
func (p *project) edit(change func(live object)) {
	p.t.Helper()
	before := p.state()
	live := object{}
	for name, o := range before.Live {
		live[name] = o
	}
	change(live)
	after := resources{Live: map[string]object{}}
	for name, o := range live {
		if o == nil {
			continue
		}
		after.Live[name] = o.(object)
		if before.Live[name] == nil {
			after.Names = append(after.Names, name)
		}
	}
	kept := slices.DeleteFunc(before.Names, func(name string) bool { return after.Live[name] == nil })
	after.Names = append(kept, after.Names...)
	p.write("state.json", after)
}

// takeCalls returns the commands that were called since the last takeCalls, quoted as in a shell.
// Those of curl begin with "curl".
func (p *project) takeCalls() []string {
	p.t.Helper()
	path := filepath.Join(p.dir, "calls")
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	_ = os.Remove(path)
	var calls []string
	for line := range strings.Lines(string(data)) {
		var words []string
		if err := json.Unmarshal([]byte(line), &words); err != nil {
			p.t.Fatal(err)
		}
		calls = append(calls, quote(words))
	}
	return calls
}

// quote writes a command as a shell reads it.
func quote(words []string) string {
	plain := regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]+$`)
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; !plain.MatchString(word) {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// serving returns, for each function, the revision that gets all traffic.
func (p *project) serving() map[string]string {
	p.t.Helper()
	return p.revisions(func(traffic object) bool { return traffic["percent"] == 100.0 })
}

// tagged returns, for each function, the revision that has a tag.
func (p *project) tagged(tag string) map[string]string {
	p.t.Helper()
	return p.revisions(func(traffic object) bool { return traffic["tag"] == tag })
}

// revisions returns, for each function, the revision with an entry in the traffic that match
// accepts.
func (p *project) revisions(match func(traffic object) bool) map[string]string {
	p.t.Helper()
	found := map[string]string{}
	for name, o := range p.state().Live {
		function, ok := strings.CutPrefix(name, "run services ")
		if !ok {
			continue
		}
		for _, traffic := range at(o, "status")["traffic"].([]any) {
			if traffic := traffic.(object); match(traffic) {
				found[function] = traffic["revisionName"].(string)
			}
		}
	}
	return found
}

// TestOptions shows that flags come from the arguments alone, whatever the environment has, and that
// other arguments are rejected.
func TestOptions(t *testing.T) {
	needs(t, "bash")
	const usage = "usage: lib.sh ENV [--yes] [--dry-run]"
	for _, test := range []struct{ args, want string }{
		{"staging", "staging,,"},
		{"staging --dry-run", "staging,,1"},
		{"--yes staging --dry-run", "staging,1,1"},
		{"", usage},
		{"--yes", usage},
		{"staging --data", usage},
		{"staging production", usage},
	} {
		t.Run(test.args, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "bash", "-c",
				`. ./lib.sh; options '--yes --dry-run' "$@"; echo "$NAME,$YES,$DRY_RUN"`, "lib.sh")
			cmd.Args = append(cmd.Args, strings.Fields(test.args)...)
			cmd.Env = append(os.Environ(), "YES=1", "DRY_RUN=1")
			out, _ := cmd.CombinedOutput()
			if strings.TrimPrefix(strings.TrimSpace(string(out)), "lib.sh: ") != test.want {
				t.Errorf("got %q, want %q", out, test.want)
			}
		})
	}
}
