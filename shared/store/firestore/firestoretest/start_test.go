package firestoretest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const childEnv = "FIRESTORETEST_CHILD"

// TestOneForABinary: the same for everyone; and another one once it has died.
func TestOneForABinary(t *testing.T) {
	addr := Start(t)
	if again := Start(t); again != addr {
		t.Errorf("started at %s and again at %s", addr, again)
	}
	if a, b := Project(), Project(); a == b {
		t.Error("two projects of the same name")
	}
	one.Lock()
	one.stop()
	one.emulator = nil
	one.Unlock()
	waitGone(t, addr)
	listens(t, Start(t))
}

// TestDeadIsSeen: an emulator that was killed is started again.
func TestDeadIsSeen(t *testing.T) {
	Start(t)
	one.Lock()
	e := one.emulator
	if err := e.pipe.Close(); err != nil { // as the end of the test binary does
		t.Error(err)
	}
	for limit := time.Now().Add(10 * time.Second); !e.died(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it lives on")
		}
	}
	one.Unlock()
	addr := Start(t)
	if addr == e.addr {
		t.Errorf("still %s", addr)
	}
	listens(t, addr)
}

// TestEndsWithTheBinary: a test binary that is killed leaves no emulator behind.
func TestEndsWithTheBinary(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		os.Stdout.WriteString("at " + Start(t) + "\n")
		select {} // until killed
	}
	skipShort(t)
	if _, _, _, err := find(); err != nil {
		t.Skip(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestEndsWithTheBinary$", "-test.timeout=2m")
	child.Env = append(os.Environ(), childEnv+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if addr, ok := strings.CutPrefix(lines.Text(), "at "); ok {
			listens(t, addr)
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			waitGone(t, addr)
			return
		}
	}
	t.Fatal("the child did not start an emulator")
}

// TestDoesNotStart: what goes wrong is told, with what the process printed.
func TestDoesNotStart(t *testing.T) {
	_, err := run("127.0.0.1:1", "sh", "-c", watched, "sh", "sh", "-c", "echo no such luck; exit 3")
	if err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("error %v", err)
	}
	if _, err := run("127.0.0.1:1", "/no/such/command"); err == nil {
		t.Error("a command that is not there was started")
	}
}

func listens(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// waitGone waits until nobody listens at addr.
func waitGone(t *testing.T, addr string) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(limit) {
			t.Fatalf("somebody still listens at %s", addr)
		}
	}
}
