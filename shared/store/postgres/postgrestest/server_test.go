package postgrestest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		Stop()
		os.Exit(code)
	}))
}

// TestStart: each call hands out a database of its own, on one server; Stop ends it, and it can be started again.
func TestStart(t *testing.T) {
	var dir string
	t.Run("databases", func(t *testing.T) {
		a, b := Start(t), Start(t)
		if a == b {
			t.Errorf("the same database twice: %s", a)
		}
		begun := "SELECT pg_postmaster_start_time()::text"
		if Query(t, a, begun) != Query(t, b, begun) {
			t.Error("two servers")
		}
		if got := Query(t, a, "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'"); got != "0" {
			t.Errorf("%s tables in a fresh database", got)
		}
		dir = shared.server.dir
	})
	if dir == "" {
		t.SkipNow() // the test above says why
	}
	Stop()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder of a stopped server: %v", err)
	}
	Stop() // again: no harm
	if got := Query(t, Start(t), "SHOW listen_addresses"); got != "" {
		t.Errorf("it listens on %s", got)
	}
}

func TestRestart(t *testing.T) {
	s := New(t)
	dsn := s.Database(t)
	Exec(t, dsn, "CREATE TABLE kept AS SELECT 'it' AS v")
	s.Restart(t)
	if got := Query(t, dsn, "SELECT v FROM kept"); got != "it" {
		t.Errorf("after a restart: %q", got)
	}
}

const killEnv = "POSTGRESTEST_KILLED"

// TestKilled: a server does not outlive the test binary, even if that is killed.
func TestKilled(t *testing.T) {
	if os.Getenv(killEnv) != "" {
		Start(t)
		os.Stdout.WriteString("\ndir " + shared.server.dir + "\n")
		select {}
	}
	skipShort(t)
	if _, err := binaries(); err != nil {
		t.Skip(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	child.Env = append(os.Environ(), killEnv+"=1")
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
		dir, _ = strings.CutPrefix(lines.Text(), "dir ")
		if dir == lines.Text() {
			dir = ""
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if dir == "" {
		t.Fatal("the child started no server")
	}
	for deadline := time.Now().Add(startWithin); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "data")); os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", dir)
		}
	}
}

func TestPassable(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if passable(inner) || passable(filepath.Join(dir, "nowhere")) || !passable("/") {
		t.Error("a folder below a closed one is passable, or the root is not")
	}
}
