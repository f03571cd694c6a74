// Package gcp_test takes the scripts of this folder through their flows, on a stub of gcloud and curl (package stub).
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
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/gcp/env"
)

// tools is a folder with the stub as gcloud and as curl, and with the settings command.
var tools string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "casewatch-gcp")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		for name, pkg := range map[string]string{"gcloud": "./stub", "settings": "./settings"} {
			if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg).CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
				return 1
			}
		}
		if err := os.Symlink("gcloud", filepath.Join(dir, "curl")); err != nil {
			panic(err)
		}
		tools = dir
		return m.Run()
	}())
}

// project is a project on the stub, and an env file to deploy to it.
type project struct {
	t         *testing.T
	dir, file string
}

func needs(t *testing.T, names ...string) {
	t.Helper()
	for _, tool := range names {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not on the PATH: apt-get install %s", tool, tool)
		}
	}
}

type object = map[string]any

// newProject is an empty project with the secret that the operator has to give.
func newProject(t *testing.T, example string, lines ...string) *project {
	t.Helper()
	needs(t, "bash", "jq", "openssl")
	p := &project{t, t.TempDir(), env.Example(t, example, lines...)}
	p.edit(func(live object) {
		live["secrets casewatch-pipeline-api-key"] = object{"name": "casewatch-pipeline-api-key"}
		live["versions casewatch-pipeline-api-key 1"] = object{"name": "projects/demo-p/secrets/casewatch-pipeline-api-key/versions/1", "state": "enabled", "value": "the-key-of-the-pipeline"}
	})
	return p
}

// script runs a script with the env file, and returns what it wrote and its exit status.
func (p *project) script(name string, args ...string) (string, int) {
	p.t.Helper()
	began := time.Now()
	defer func() { p.t.Logf("%s: %v", name, time.Since(began).Round(100*time.Millisecond)) }()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "./"+name, append([]string{p.file}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"), "STUB="+p.dir, "SETTINGS="+filepath.Join(tools, "settings"), "WAIT=0", "PATIENCE=30")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // what a killed script has started may hold its output
	err := cmd.Run()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		p.t.Fatalf("%s: %v\n%s", name, err, &out)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// runs is script, which has to succeed.
func (p *project) runs(name string, args ...string) string {
	p.t.Helper()
	out, status := p.script(name, args...)
	if status != 0 {
		p.t.Fatalf("%s exits with %d:\n%s", name, status, tail(out))
	}
	return out
}

// TestOptions: a flag is what the arguments say, whatever is in the environment, and what is no flag is refused.
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
			cmd := exec.CommandContext(t.Context(), "bash", "-c", `. ./lib.sh; options '--yes --dry-run' "$@"; echo "$NAME,$YES,$DRY_RUN"`, "lib.sh")
			cmd.Args = append(cmd.Args, strings.Fields(test.args)...)
			cmd.Env = append(os.Environ(), "YES=1", "DRY_RUN=1")
			if out, _ := cmd.CombinedOutput(); strings.TrimPrefix(strings.TrimSpace(string(out)), "lib.sh: ") != test.want {
				t.Errorf("got %q, want %q", out, test.want)
			}
		})
	}
}

// fails is script, which has to fail and to say each text.
func (p *project) fails(name string, says ...string) string {
	p.t.Helper()
	out, status := p.script(name)
	if status != 1 {
		p.t.Fatalf("%s exits with %d:\n%s", name, status, tail(out))
	}
	p.says(out, says...)
	return out
}

// tail is the end of what a script wrote.
func tail(out string) string { return out[max(0, len(out)-3000):] }

func (p *project) says(out string, texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			p.t.Errorf("%q is not said:\n%s", text, tail(out))
		}
	}
}

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

type saved struct {
	Names []string
	Live  map[string]object
}

func (p *project) state() saved {
	p.t.Helper()
	s := saved{Live: map[string]object{}}
	data, err := os.ReadFile(filepath.Join(p.dir, "state.json"))
	if os.IsNotExist(err) {
		return s
	}
	if err := json.Unmarshal(data, &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// edit changes what is live by hand.
func (p *project) edit(change func(live object)) {
	p.t.Helper()
	s := p.state()
	live := object{}
	for name, o := range s.Live {
		live[name] = o
	}
	change(live)
	s.Live = map[string]object{}
	var names []string
	for _, name := range s.Names {
		if live[name] != nil {
			names = append(names, name)
		}
	}
	for name, o := range live {
		if s.Live[name], _ = o.(object); o != nil && !strings.Contains("\n"+strings.Join(names, "\n")+"\n", "\n"+name+"\n") {
			names = append(names, name)
		}
		if o == nil {
			delete(s.Live, name)
		}
	}
	s.Names = names
	p.write("state.json", s)
}

// calls are the commands since the last time, as a shell takes them; those of curl begin with "curl".
func (p *project) calls() []string {
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
		calls = append(calls, shell(words))
	}
	return calls
}

func shell(words []string) string {
	plain := regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]+$`)
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; !plain.MatchString(word) {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// serving is the revision of each function that all traffic goes to.
func (p *project) serving() map[string]string {
	p.t.Helper()
	found := map[string]string{}
	for name, o := range p.state().Live {
		function, ok := strings.CutPrefix(name, "run services ")
		if !ok {
			continue
		}
		for _, t := range o["status"].(object)["traffic"].([]any) {
			if t := t.(object); t["percent"] == 100.0 {
				found[function] = t["revisionName"].(string)
			}
		}
	}
	return found
}
