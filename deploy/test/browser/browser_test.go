// Package browser_test looks at the pages as people do: in Chromium, on the program of `make run`.
package browser_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// chromium returns the path of a browser, or why there is none.
func chromium() (string, error) {
	for _, name := range []string{"chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Chromium: apt-get install chromium")
}

// need skips the test if something is missing that it needs, and says how to get it.
func need(t *testing.T) (browser string) {
	t.Helper()
	if testing.Short() {
		t.Skip("the pages take minutes to look at: run without -short")
	}
	browser, err := chromium()
	if err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no node: apt-get install nodejs")
	}
	if _, err := os.Stat(filepath.Join("node_modules", "playwright-core")); err != nil {
		t.Skip("no playwright-core: npm ci --prefix deploy/test/browser")
	}
	return browser
}

// TestPages runs the scripts beside this file, each on a program of its own.
func TestPages(t *testing.T) {
	browser := need(t)
	program := filepath.Join(t.TempDir(), "local")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program,
		"../../local").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	scripts, err := filepath.Glob("*.test.mjs")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(script, ".test.mjs"), func(t *testing.T) {
			t.Parallel()
			origin := "http://localhost:" + freePort(t) // of a page that is served elsewhere
			base := start(t, program, "ALLOWED_ORIGINS="+origin)
			node := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", script)
			node.Env = append(os.Environ(), "CASEWATCH="+base, "ORIGIN="+origin, "CHROMIUM="+browser,
				"SCREENSHOTS="+os.Getenv("SCREENSHOTS"))
			out, err := node.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
			if !bytes.Contains(out, []byte("skipped 0")) || bytes.Contains(out, []byte("tests 0")) {
				t.Error("not all of it ran")
			}
		})
	}
}

// TestTypes compiles a program that uses the module, against its types.
func TestTypes(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no node: apt-get install nodejs")
	}
	compiler := filepath.Join("node_modules", ".bin", "tsc")
	if _, err := os.Stat(compiler); err != nil {
		t.Skip("no TypeScript: npm ci --prefix deploy/test/browser")
	}
	if out, err := exec.CommandContext(t.Context(), compiler, "--project", "types").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// quick are times at which a test can watch.
var quick = []string{
	"CHECK_MIN_INTERVAL=500ms", "CHECK_MAX_INTERVAL=2s", "CHECK_TIMEOUT=2s", "COMPLETION_GRACE=2s", "START_GRACE=4s",
	"STALL_AFTER=4s", "UNREACHABLE_AFTER=6s",
	"CASE_DEADLINE=25s", "STREAM_HOLD=8s", // so that every page that is looked at for long comes back
}

// start runs the program until the test ends, and returns its address once it is ready.
func start(t *testing.T, program string, settings ...string) (base string) {
	t.Helper()
	port := freePort(t)
	cmd := exec.Command(program)
	cmd.Env = slices.Concat(os.Environ(), quick, settings, []string{"PORT=" + port, "DATA_DIR=" + t.TempDir()})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, drained := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(drained)
		lines, once := bufio.NewScanner(out), ready
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if line := lines.Text(); strings.HasPrefix(line, "ready") && once != nil {
				close(once)
				once = nil
			} else if strings.Contains(line, `"severity":"ERROR"`) || strings.Contains(line, "panic") {
				t.Errorf("the program says: %s", line)
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		_ = cmd.Wait() // it was told to end
	})
	select {
	case <-ready:
	case <-drained:
		t.Fatalf("it does not start: %s", complaints.String())
	case <-time.After(30 * time.Second):
		t.Fatal("it is not ready within half a minute")
	}
	return "http://127.0.0.1:" + port
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
