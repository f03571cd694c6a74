package firestoretest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	attempts = 3                // the free port may be taken by another before the emulator has it
	patience = 60 * time.Second // on a busy machine
)

// one is the emulator of this test binary.
var one struct {
	sync.Mutex
	*emulator
}

// Start returns the host:port of the emulator, which the first call starts. If it has died since,
// another is started, which is empty. Without an emulator on this machine the test is skipped, with
// how to get one; if it is there and does not start, the test fails. It may be called by many tests
// at once.
func Start(t testing.TB) (addr string) {
	t.Helper()
	skipShort(t)
	one.Lock()
	defer one.Unlock()
	if one.emulator == nil || one.died() {
		e, err := start()
		if errors.Is(err, errMissing) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatalf("starting the Firestore emulator: %v", err)
		}
		one.emulator = e
	}
	return one.addr
}

func skipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("the Firestore emulator is started without -short only")
	}
}

// Project returns the id of a project that nobody used before: a database of one's own.
func Project() string { return "test-" + strings.ToLower(rand.Text()[:16]) }

// emulator is a running one.
type emulator struct {
	addr  string
	pipe  *os.File // as long as it is open, the emulator lives
	alive *os.File // reads EOF once it is dead
	log   *os.File // what it printed
	cmd   *exec.Cmd
}

// watched runs a command until its standard input ends, or the command does; then descriptor 3 is closed.
const watched = `exec 4<&0 </dev/null
"$@" 3>&- 4<&- & child=$!
( exec 3>&-; read -r _ <&4; kill -9 "$child" ) & reader=$!
wait "$child"
kill "$reader"`

func start() (*emulator, error) {
	shell, java, path, err := find()
	if err != nil {
		return nil, err
	}
	var failed []error
	for range attempts {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		// The two settings of the machine halve the time to start.
		e, err := run(fmt.Sprint("127.0.0.1:", port), shell, "-c", watched, "sh",
			java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Duser.language=en", "-cp", path,
			"com.google.cloud.datastore.emulator.firestore.CloudFirestore", "start",
			"--host=127.0.0.1", fmt.Sprint("--port=", port), "--database-mode=firestore-native")
		if err == nil {
			return e, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// run starts the command and waits until it answers at addr.
func run(addr string, command ...string) (_ *emulator, err error) {
	e := &emulator{addr: addr}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w; it printed: %s", err, e.stop())
		}
	}()
	if e.log, err = os.CreateTemp("", "firestore-emulator-*.log"); err != nil {
		return nil, err
	}
	_ = os.Remove(e.log.Name()) // it is kept while open
	stdin, pipe, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	e.pipe = pipe
	alive, held, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer held.Close()
	e.alive = alive
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = stdin, e.log, e.log, []*os.File{held}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	e.cmd = cmd
	_ = held.Close() // the command's is the only one now, so that its end can be read
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for limit := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		answer, err := client.Get("http://" + addr)
		switch {
		case err == nil:
			return e, answer.Body.Close()
		case e.died():
			return nil, errors.New("it ended at once")
		case time.Now().After(limit):
			return nil, fmt.Errorf("no answer at %s for %v", addr, patience)
		}
	}
}

// died reports whether the process is there no more.
func (e *emulator) died() bool {
	_ = e.alive.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := e.alive.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// stop ends the process, if it was started, and returns the last it printed.
func (e *emulator) stop() string {
	for _, f := range []*os.File{e.pipe, e.alive} {
		if f != nil {
			_ = f.Close()
		}
	}
	if e.cmd != nil {
		_ = e.cmd.Wait() // it was killed
	}
	if e.log == nil {
		return ""
	}
	defer e.log.Close()
	size, _ := e.log.Seek(0, io.SeekEnd)
	said, _ := io.ReadAll(io.NewSectionReader(e.log, max(0, size-2000), 2000))
	return string(said)
}
