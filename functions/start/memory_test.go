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
	// serveEnv makes the test binary serve start, in a process of its own whose memory can be told.
	serveEnv = "START_TEST_SERVE"
	// atOnce is how many forms are sent at the same time: as many as an instance takes requests unless it is told otherwise.
	atOnce = 80
	// maxRatio is how much more memory a form of any shape may take than a plain one of its size.
	maxRatio = 1.5
)

// TestMemoryFollowsSize: what start needs for forms of 900 KiB does not depend on what they are made of. Each shape is sent
// to a process of its own, 80 at the same time, and the peaks of their resident memory are compared.
func TestMemoryFollowsSize(t *testing.T) {
	if os.Getenv(serveEnv) != "" {
		b := functiontest.New(t, nil)
		fmt.Println("serving", b.Serve(func(cfg *config.Config, reconciler *reconcile.Reconciler) http.Handler {
			return waitForAll(start.New(cfg, reconciler))
		}))
		_, _ = io.Copy(io.Discard, os.Stdin) // until the other process is done
		return
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("the peak of a process's memory is read from /proc, which Linux has")
	}
	plain := peak(t, "one long text", repeated(`{"text":"`, "x", `"}`), http.StatusAccepted)
	for _, shape := range []struct {
		name string
		form []byte
		want int
	}{
		{"115,000 keys", numbered(`"%x":1,`), http.StatusAccepted},
		{"one key many times", numbered(`"case_id":"c%x",`), http.StatusAccepted},
		{"nothing but brackets", repeated("", "[", ""), http.StatusBadRequest},
		{"as deep as JSON is read", []byte(`{"a":` + strings.Repeat("[", 9_990) + strings.Repeat(" ", 900_000) + strings.Repeat("]", 9_990) + `}`), http.StatusAccepted},
	} {
		got := peak(t, shape.name, shape.form, shape.want)
		t.Logf("%s: %.0f MB, %.2f times the %.0f MB of plain forms", shape.name, got, got/plain, plain)
		if got > maxRatio*plain {
			t.Errorf("%s: %.0f MB, more than %v times the %.0f MB of plain forms", shape.name, got, maxRatio, plain)
		}
	}
}

// formSize is a little below the largest form.
const formSize = 900<<10 - 64

// repeated returns a form of the size in which part comes again and again.
func repeated(before, part, after string) []byte {
	n := (formSize - len(before) - len(after)) / len(part)
	return []byte(before + strings.Repeat(part, n) + after)
}

// numbered returns an object of the size whose members differ by a number.
func numbered(member string) []byte {
	var form bytes.Buffer
	form.WriteByte('{')
	for i := 0; form.Len() < formSize-64; i++ {
		fmt.Fprintf(&form, member, i)
	}
	form.WriteString(`"z":0}`)
	return form.Bytes()
}

// peak returns the most memory, in MB, that a process of start had in which that many such forms were at once.
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
			t.Errorf("%s: the process that serves: %v", name, err)
		}
	}()
	out := bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	url, serving := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if err != nil || !serving {
		t.Fatalf("%s: %q, %v", name, line, err)
	}
	sendAtOnce(t, name, url, form, want)
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

// sendAtOnce sends that many forms, which the process of start has all read before it goes on with any.
func sendAtOnce(t *testing.T, name, url string, form []byte, want int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Minute}
	var answered sync.WaitGroup
	for range atOnce {
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
			if res.StatusCode != want && (want != http.StatusAccepted || res.StatusCode != http.StatusOK) { // 200: another form began the case
				t.Errorf("%s: answered %s, want %d", name, res.Status, want)
			}
		})
	}
	answered.Wait()
}

// waitForAll has every body wait at its end until all have come to theirs.
func waitForAll(h http.Handler) http.Handler {
	var all sync.WaitGroup
	all.Add(atOnce)
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
