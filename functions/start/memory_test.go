//go:build !race

package start_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/start"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/reconcile"
)

const (
	// serveEnv makes the test binary serve start in a process of its own, so that its memory can be
	// measured.
	serveEnv = "START_TEST_SERVE"
	// concurrency is how many forms are sent at the same time. It is Cloud Run's default limit of
	// concurrent requests to an instance.
	concurrency = 80
	// maxRatio is how much more memory a form of any shape may need than a plain form of the same
	// size.
	maxRatio = 1.5
)

// TestMemoryFollowsSize checks that the memory that start needs depends on the size of a form and
// not on its content. For each shape, a process gets 80 forms of 900 KiB at the same time. The test
// compares the peaks of resident memory.
func TestMemoryFollowsSize(t *testing.T) {
	if os.Getenv(serveEnv) != "" {
		b := functiontest.New(t, nil)
		url := b.Serve(func(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
			return waitForAll(start.New(cfg, reconciler))
		})
		fmt.Println("serving", url)
		_, _ = io.Copy(io.Discard, os.Stdin) // serves until the test closes its end
		return
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("the peak of a process's memory is read from /proc, which only Linux has")
	}
	plain := peak(t, "one long text", repeated(`{"text":"`, "x", `"}`), http.StatusAccepted)
	for _, shape := range []struct {
		name string
		form []byte
		want int
	}{
		{"115,000 keys", numbered(`"%x":1,`), http.StatusAccepted},
		{"one key many times", numbered(`"case_id":"c%x",`), http.StatusAccepted},
		{"only brackets", repeated("", "[", ""), http.StatusBadRequest},
		{"as deep as the decoder allows",
			[]byte(`{"a":` + strings.Repeat("[", 9_990) + strings.Repeat(" ", 900_000) +
				strings.Repeat("]", 9_990) + `}`),
			http.StatusAccepted},
	} {
		got := peak(t, shape.name, shape.form, shape.want)
		t.Logf("%s: %.0f MB, %.2f times the %.0f MB of plain forms", shape.name, got, got/plain, plain)
		if got > maxRatio*plain {
			t.Errorf("%s: %.0f MB, more than %v times the %.0f MB of plain forms", shape.name, got, maxRatio, plain)
		}
	}
}

// formSize is the size of the forms in bytes, slightly below the largest form.
const formSize = 900<<10 - 64

// repeated returns a form of formSize that repeats part.
func repeated(before, part, after string) []byte {
	n := (formSize - len(before) - len(after)) / len(part)
	return []byte(before + strings.Repeat(part, n) + after)
}

// numbered returns an object of formSize. Each member contains its number.
func numbered(member string) []byte {
	var form bytes.Buffer
	form.WriteByte('{')
	for i := 0; form.Len() < formSize-64; i++ {
		fmt.Fprintf(&form, member, i)
	}
	form.WriteString(`"z":0}`)
	return form.Bytes()
}

// peak returns the most memory, in MB, that a process of start used while it had concurrency such
// forms at the same time.
func peak(t *testing.T, name string, form []byte, want int) float64 {
	t.Helper()
	if len(form) > 900<<10 {
		t.Fatalf("%s: the form has %d bytes", name, len(form))
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMemoryFollowsSize$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), serveEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: the serving process: %v", name, err)
		}
	}()
	out := bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	url, serving := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if err != nil || !serving {
		t.Fatalf("%s: %q, %v", name, line, err)
	}
	sendTogether(t, name, url, form, want)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib * 1024 / 1e6
}

// sendTogether sends concurrency forms. The process of start reads all of them before it handles
// the first.
func sendTogether(t *testing.T, name, url string, form []byte, want int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Minute}
	var answered sync.WaitGroup
	for range concurrency {
		answered.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(form))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header = http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {functiontest.Key}}
			res, err := client.Do(req)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			_ = res.Body.Close()
			// 200 means that another form started the case.
			started := want == http.StatusAccepted && res.StatusCode == http.StatusOK
			if res.StatusCode != want && !started {
				t.Errorf("%s: got %s, want %d", name, res.Status, want)
			}
		})
	}
	answered.Wait()
}

// waitForAll makes every body wait at its end until all bodies have reached theirs.
func waitForAll(h http.Handler) http.Handler {
	var all sync.WaitGroup
	all.Add(concurrency)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = &meeting{ReadCloser: r.Body, all: &all}
		h.ServeHTTP(w, r)
	})
}

type meeting struct {
	io.ReadCloser
	all   *sync.WaitGroup
	ended sync.Once
}

func (m *meeting) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		m.ended.Do(m.all.Done)
		m.all.Wait()
	}
	return n, err
}
