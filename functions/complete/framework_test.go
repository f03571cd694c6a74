package complete_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/casewatch/casewatch/functions/complete"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
)

// frameworkPort is the environment variable that makes the test binary serve complete and status
// with the functions framework. It is a process of its own, because the framework's server cannot
// be stopped.
const frameworkPort = "COMPLETE_TEST_FRAMEWORK_PORT"

// process stands in for a testing.TB in a process that runs no test.
type process struct {
	testing.TB
	dir string
}

func (p process) Helper()                  {}
func (p process) Cleanup(func())           {}
func (p process) TempDir() string          { return p.dir }
func (p process) Context() context.Context { return context.Background() }
func (p process) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

func serveByFramework(port string) {
	p := process{dir: os.Getenv("COMPLETE_TEST_DIR")}
	b := functiontest.New(p, nil)
	b.Begin("c")
	functions.HTTP("complete", complete.New(b.Config, b.Reconciler).ServeHTTP)
	functions.HTTP("status/", http.StripPrefix("/status", status.New(b.Config, b.Reconciler)).ServeHTTP)
	p.Fatal(funcframework.StartHostPort("127.0.0.1", port))
}

// The framework's server converts pushes into CloudEvents for functions of another kind. For this
// function both forms must arrive unchanged.
func TestServedByTheFramework(t *testing.T) {
	for name, test := range map[string]struct {
		target, query string
		header        []string
		want          int
		state         string
	}{
		"push":                   {"complete", "", push, 204, "failed"},
		"push to a topic's path": {"complete", "projects/p/topics/events", push, 204, "failed"},
		"Eventarc":               {"complete", "?__GCP_CloudEventsMode=CE_PUBSUB_BINDING", binary("7"), 204, "failed"},
		"neither":                {"complete", "", []string{"Content-Type: application/json", "Ce-Id: 7"}, 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			base := boot(t, test.target)
			body := wrapped("7", `{"case_id":"c","run":1,"status":"failed","error":"no paper"}`)
			if code, text := send(t, "POST", base+"/"+test.query, body, test.header...); code != test.want {
				t.Errorf("%d %s, want %d", code, text, test.want)
			}
		})
	}
	// Here status is served by the same process, so that the test can see the effects.
	base := boot(t, "")
	for id, header := range map[string][]string{"7": push, "8": binary("8")} {
		event := fmt.Sprintf(`{"case_id":"c","run":1,"status":"running","progress":{"completed":%s,"total":9}}`, id)
		if code, text := send(t, "POST", base+"/complete", wrapped(id, event), header...); code != 204 {
			t.Fatalf("%d %s", code, text)
		}
	}
	if code, text := send(t, "GET", base+"/status/c", "", "X-API-Key: "+functiontest.Key); code != 200 ||
		!strings.Contains(text, `"completed":8`) {
		t.Errorf("%d %s", code, text)
	}
}

// boot serves in another process until the test ends, and returns its URL.
func boot(t *testing.T, target string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), frameworkPort+"="+port, "COMPLETE_TEST_DIR="+t.TempDir(), "FUNCTION_TARGET="+target)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); _ = cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-exited
		if t.Failed() {
			t.Log(out.String())
		}
	})
	for end := time.Now().Add(30 * time.Second); ; {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
			return "http://127.0.0.1:" + port
		}
		select {
		case <-exited:
			t.Fatalf("the server exited: %s", out.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatalf("the server does not listen after 30 s: %v", err)
		}
	}
}

func send(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}
