package googlefake

import (
	"bufio"
	_ "embed" // warm.py
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

//go:embed warm.py
var warmPy []byte

// Warm has gcloud loaded once for all commands of this process: each is then done by a copy of one that is kept loaded (warm.py). Env then has it first on
// the PATH, and Command runs it. Where that cannot be done, the test says so, and each command loads the real gcloud for itself: what it does is the same.
func (f *Fake) Warm(t testing.TB) {
	t.Helper()
	Gcloud(t)
	gcloud, err := kept()
	if err != nil {
		t.Logf("each gcloud command takes a second, since gcloud cannot be loaded once for all: %v", err)
		return
	}
	f.warm = gcloud.dir
}

// loaded is the gcloud that is kept loaded. It ends when its input does, and takes its folder with it.
type loaded struct {
	dir   string
	input io.WriteCloser // never written, and held: it ends with this process
}

// kept begins it, the first time.
var kept = sync.OnceValues(func() (_ *loaded, err error) {
	cold, err := exec.LookPath("gcloud")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gcloud-") // not a test's folder: the address of a socket is 100 bytes at most
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	server, said := filepath.Join(dir, "warm.py"), filepath.Join(dir, "said")
	if err := os.WriteFile(server, warmPy, 0o600); err != nil {
		return nil, err
	}
	errs, err := os.Create(said)
	if err != nil {
		return nil, err
	}
	defer func() { _ = errs.Close() }()
	cmd := exec.Command(cold, dir)
	// gcloud finds its Python and runs it with these arguments and then its own. (It wants to find -S, and takes it out where that cannot be.)
	cmd.Env = append(ours(), "CLOUDSDK_CONFIG="+filepath.Join(dir, "config"), "CLOUDSDK_PYTHON_ARGS=-S "+server)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it ends its copies with itself
	cmd.Stderr = errs
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		_ = cmd.Process.Kill()
		text, _ := os.ReadFile(said)
		return nil, fmt.Errorf("%q, %w: %s", line, errors.Join(err, cmd.Wait()), text)
	}
	return &loaded{dir, input}, nil
})
