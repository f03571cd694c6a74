package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/deploy/local/machine/machinetest"
	"github.com/casewatch/casewatch/deploy/test/drill/target"
)

// The tests wait for machines more than they work: more of them run at once than there are cores.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// plant puts a bug before a function: it returns what serves a path in place of h. The machine is
// there once it is called.
type plant func(m *machine.Machine, path string, h http.Handler) http.Handler

// quick are the times of a machine for tests. A sweep comes every second, and finds what was lost
// after 21 s all the same. Between two checks there must be time to take the second away, on a busy
// machine too.
var quick = map[string]string{
	"CHECK_MIN_INTERVAL": "500ms", "CHECK_MAX_INTERVAL": "1s", "CHECK_TIMEOUT": "1s", "COMPLETION_GRACE": "1s",
	"START_GRACE": "20s", "UNREACHABLE_AFTER": "30s",
}

// newTarget runs a whole machine, with a bug or (nil) without.
func newTarget(t *testing.T, bug plant) *target.Target {
	t.Helper()
	listener := machinetest.Listen(t)
	m, err := machine.Open(t.Context(), machine.Options{
		BaseURL: "http://" + listener.Addr().String(), DataDir: t.TempDir(), Log: io.Discard,
		DocumentTime: 300 * time.Millisecond, SweepInterval: time.Second,
		Lookup: func(name string) (string, bool) { v, ok := quick[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	handlers := maps.Clone(m.Handlers)
	for path, h := range m.Handlers {
		if bug != nil {
			handlers[path] = bug(m, path, h)
		}
	}
	server := machinetest.Serve(listener, handlers)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		m.Pipeline.Close() // what it holds ends first
		server.Close()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return m.Target()
}

// noEnv is an environment without variables.
func noEnv(string) (string, bool) { return "", false }

// drilled drills as the command does, and returns its exit code and its report, as JSON and as
// people read it.
func drilled(t *testing.T, where *target.Target, args ...string) (code int, rep report, table string) {
	t.Helper()
	dir := t.TempDir()
	if err := where.Write(dir); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	args = append([]string{"--json", "--target", filepath.Join(dir, target.File)}, args...)
	code = command(t.Context(), args, noEnv, &out, logged{t})
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	var text strings.Builder
	if err := rep.print(&text); err != nil {
		t.Error(err)
	}
	t.Log("\n" + text.String())
	return code, rep, text.String()
}

// logged is a writer to the log of a test.
type logged struct{ t *testing.T }

func (l logged) Write(p []byte) (int, error) {
	l.t.Log(string(p))
	return len(p), nil
}
