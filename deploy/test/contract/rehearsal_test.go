package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/casewatch/casewatch/shared/config"
)

// The main that the buildpack writes for a package that declares its functions, below the source at functions.local/app
// (https://github.com/GoogleCloudPlatform/buildpacks/blob/main/cmd/go/functions_framework/lib/lib.go).
const (
	appDir  = "functions.local/app"
	appMain = `package main

import (
	"log"
	"os"

	_ "` + module + `"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	if err := funcframework.Start(port); err != nil {
		log.Fatalf("Function failed to start: %v\n", err)
	}
}
`
)

// TestRehearsal builds what would be uploaded as the buildpack does, and boots each function of it.
func TestRehearsal(t *testing.T) {
	if testing.Short() {
		t.Skip("building and booting the upload takes a minute: run without -short")
	}
	t.Parallel()
	source := filepath.Join(t.TempDir(), "serverless_function_source_code")
	upload(t, root(t), source)
	if files, _, _, err := rootPackage(source); err != nil || len(files) == 0 {
		t.Fatalf("no Go file at the root is uploaded (%v)", err)
	}
	if err := os.MkdirAll(filepath.Join(source, appDir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, appDir, "main.go"), []byte(appMain), 0o644); err != nil {
		t.Fatal(err)
	}

	// The build tidies. Here it may only drop what the upload leaves out: an addition would be a
	// version that nobody chose.
	diff, _ := command(t, source, "go", "mod", "tidy", "-diff") // fails whenever there is a difference
	for _, line := range additions(diff) {
		t.Errorf("go mod tidy would add in the build: %s", line)
	}
	run(t, source, "go", "mod", "tidy")
	binary := filepath.Join(t.TempDir(), "app")
	run(t, source, "go", "build", "-trimpath", "-tags="+storeTags["firestore"], "-ldflags=-s -w",
		"-o", binary, "./"+appDir)

	for dep := range strings.FieldsSeq(run(t, source, "go", "list", "-deps",
		"-tags="+storeTags["firestore"], "./"+appDir)) {
		to, ours := place(dep)
		if fits("modernc.org/...", dep) || strings.HasSuffix(dep, "/pstest") || strings.Contains(dep, "goleak") ||
			ours && (strings.HasSuffix(to, "test") || fits("deploy/...", to) || localStore(to)) {
			t.Errorf("the deployed program links %s", dep)
		}
	}
	if modules := run(t, source, "go", "version", "-m", binary); strings.Contains(modules, "modernc.org/") {
		t.Error("the deployed program holds a module of modernc.org")
	}

	for _, function := range config.Functions() {
		t.Run(function, func(t *testing.T) { bootEveryWay(t, binary, function) })
	}
	t.Run("with the settings of a deployment", func(t *testing.T) {
		for function, env := range deployedEnvironment(t, "production") {
			boot(t, binary, function, env).mustAnswer(t)
		}
	})
	t.Run("a function that is not there", func(t *testing.T) {
		out := boot(t, binary, "nobody", good("start")).mustExit(t)
		if !strings.Contains(out, "nobody") {
			t.Errorf("it does not say which function it is: %s", out)
		}
	})
}

// additions returns the lines that a diff of go.mod and go.sum adds, but for those that only lose
// or gain "// indirect".
func additions(diff string) []string {
	plain := func(line string) string {
		line, _, _ = strings.Cut(line[1:], "//")
		return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "require"))
	}
	removed := map[string]bool{"": true, "(": true, ")": true}
	var added []string
	for _, keep := range []byte("-+") {
		for line := range strings.Lines(diff) {
			switch {
			case line[0] != keep || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "+++"):
			case keep == '-':
				removed[plain(line)] = true
			case !removed[plain(line)]:
				added = append(added, strings.TrimSpace(line))
			}
		}
	}
	return added
}

func TestAdditions(t *testing.T) {
	const diff = "diff current/go.mod tidy/go.mod\n--- current/go.mod\n+++ tidy/go.mod\n@@ -1,4 +1,4 @@\n module " +
		"x\n-\ta v1\n-\tgone v1 // indirect\n+\ta v1 // indirect\n+require (\n+\tnew v2\n+)\n"
	if got := additions(diff); !slices.Equal(got, []string{"+\tnew v2"}) {
		t.Errorf("additions are %q", got)
	}
	if got := additions(""); got != nil {
		t.Errorf("additions of nothing are %q", got)
	}
}

// deployedEnvironment is the environment that deploy.sh gives each function, by an example env file.
func deployedEnvironment(t *testing.T, example string) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	run(t, root(t), "go", "run", "./deploy/gcp/settings", "read", "-example", "deploy/gcp/env/"+example+".env", dir)
	found := map[string][]string{}
	for _, function := range config.Functions() {
		data, err := os.ReadFile(filepath.Join(dir, function+".env"))
		if err != nil {
			t.Fatal(err)
		}
		var list []struct {
			Name, Value string
			ValueFrom   struct{ SecretKeyRef struct{ Name string } } `yaml:"valueFrom"`
		}
		if err := yaml.Unmarshal([]byte(strings.ReplaceAll(string(data), "{PROJECT_NUMBER}", "123456789012")),
			&list); err != nil || len(list) == 0 {
			t.Fatalf("%s: %v\n%s", function, err, data)
		}
		for _, v := range list {
			value := v.Value
			if value == "" {
				value = strings.Repeat("a-secret-", 5)
			}
			found[function] = append(found[function], v.Name+"="+value)
		}
	}
	return found
}

// good are the settings of a function as on Google Cloud, each with its example, but for the one that is refused there.
func good(function string) []string {
	var env []string
	for _, s := range config.Settings() {
		if s.UsedBy(function) && s.Example != "" && s.Name != "INVOKER_SERVICE_ACCOUNTS" {
			env = append(env, s.Name+"="+s.Example)
		}
	}
	return env
}

func bootEveryWay(t *testing.T, binary, function string) {
	var required, used, nonsense []string
	for _, s := range config.Settings() {
		if !s.UsedBy(function) {
			continue
		}
		used = append(used, s.Name)
		nonsense = append(nonsense, s.Name+"=# nonsense #")
		if s.Required {
			required = append(required, s.Name)
		}
	}
	boot(t, binary, function, good(function)).mustAnswer(t)
	for _, bad := range []struct {
		name        string
		env, faults []string
	}{{"nothing set", nil, required}, {"nonsense", nonsense, used}} {
		out := boot(t, binary, function, bad.env).mustExit(t)
		for _, name := range bad.faults {
			if !strings.Contains(out, name) {
				t.Errorf("with %s it exits without naming %s:\n%s", bad.name, name, out)
			}
		}
	}
}

// process is a booted function.
type process struct {
	url    string
	out    *output
	exited chan error // gets the error of Wait, once
}

// boot starts the program as Google Cloud does, with no more environment than given. It is killed when the test ends.
func boot(t *testing.T, binary, function string, env []string) *process {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close() // free, until somebody else takes it
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{url: fmt.Sprintf("http://127.0.0.1:%d/", port), out: &output{}, exited: make(chan error, 1)}
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = append([]string{fmt.Sprintf("PORT=%d", port), "FUNCTION_TARGET=" + function, "K_SERVICE=" + function,
		"HOME=" + t.TempDir()}, env...)
	cmd.Stdout, cmd.Stderr = p.out, p.out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		p.exited <- cmd.Wait()
	}()
	t.Cleanup(func() { cancel(); <-gone })
	return p
}

// bootTime is how long a function may take to answer, or to give up.
const bootTime = 30 * time.Second

// mustAnswer waits until the function answers a request, whatever the answer is.
func (p *process) mustAnswer(t *testing.T) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: bootTime}
	for end := time.Now().Add(bootTime); ; {
		// No function takes this method: it answers without asking anybody.
		req, err := http.NewRequestWithContext(t.Context(), http.MethodTrace, p.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusInternalServerError {
				t.Errorf("it answers %s:\n%s", resp.Status, p.out)
			}
			return
		}
		select {
		case err := <-p.exited:
			t.Fatalf("it exited (%v):\n%s", err, p.out)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatalf("no answer after %v (%v):\n%s", bootTime, err, p.out)
		}
	}
}

// mustExit waits until the process has given up, and returns what it said.
func (p *process) mustExit(t *testing.T) string {
	t.Helper()
	select {
	case err := <-p.exited:
		var status *exec.ExitError
		if !errors.As(err, &status) || status.ExitCode() <= 0 {
			t.Errorf("it exited with %v, want a status above 0", err)
		}
	case <-time.After(bootTime):
		t.Fatalf("it runs on after %v:\n%s", bootTime, p.out)
	}
	return p.out.String()
}

// output is a buffer for concurrent use.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
