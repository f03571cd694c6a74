package machine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/deploy/local/machine/machinetest"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// view is the JSON of the status function.
type view = cases.View

// system is a machine with a scripted pipeline, which was written independently of Casewatch's
// client.
type system struct {
	t    testing.TB
	m    *machine.Machine
	pipe *pipelinetest.Server
	base string
	log  *logBuffer
	http *http.Client
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// quick are short intervals for tests. The graces are longer than the longest interval between
// checks.
var quick = map[string]string{
	"CHECK_MIN_INTERVAL": "50ms",
	"CHECK_MAX_INTERVAL": "200ms",
	"CHECK_TIMEOUT":      "2s",
	"COMPLETION_GRACE":   "400ms",
	"START_GRACE":        "500ms",
	"UNREACHABLE_AFTER":  "2s",
}

func newSystem(t testing.TB, env map[string]string) *system {
	t.Helper()
	log := &logBuffer{}
	s := newSystemLogging(t, env, log)
	s.log = log
	return s
}

func newSystemLogging(t testing.TB, env map[string]string, log io.Writer) *system {
	t.Helper()
	s := &system{t: t, pipe: pipelinetest.New(t), http: &http.Client{Transport: &http.Transport{}}}
	listener := machinetest.Listen(t)
	s.base = "http://" + listener.Addr().String()
	settings := maps.Clone(quick)
	settings["PIPELINE_API_URL"] = s.pipe.URL
	maps.Copy(settings, env)
	if settings["PIPELINE_API_URL"] == "" {
		delete(settings, "PIPELINE_API_URL") // so that the machine uses its sample pipeline
	}
	var err error
	s.m, err = machine.Open(t.Context(), machine.Options{
		BaseURL:      s.base,
		DataDir:      t.TempDir(),
		Log:          log,
		DocumentTime: 20 * time.Millisecond,
		Lookup:       lookup(settings),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := machinetest.Serve(listener, s.m.Handlers)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if report := s.sweep(); !strings.Contains(report, `"leaked":0`) {
			t.Errorf("at the end of the test the sweep reports %s, want no leak", report)
		}
		// The order matters: requests to the pipelines end first, then the handlers, then their
		// servers.
		s.pipe.Close()
		s.m.Pipeline.Close()
		s.http.CloseIdleConnections()
		server.Close()
		if err := s.m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// lookup returns a lookup function for settings.
func lookup(settings map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	}
}

// started is the answer of the start function.
type started struct {
	id                string
	run               int
	code              int
	status, cancelURL string
}

func (s *system) start(form, query string) started {
	s.t.Helper()
	code, body := s.do("POST", s.base+"/start"+query, form)
	var b struct {
		CaseID    string `json:"case_id"`
		Run       int    `json:"run"`
		StatusURL string `json:"status_url"`
		CancelURL string `json:"cancel_url"`
	}
	if err := json.Unmarshal(body, &b); err != nil || code >= 300 {
		s.t.Fatalf("start is answered %d %s, want a case", code, body)
	}
	return started{b.CaseID, b.Run, code, b.StatusURL, b.CancelURL}
}

// token returns an ID token of an account, which is given without its domain.
func (s *system) token(account string, changes ...identitytest.Change) string {
	return s.m.Issuer.Sign(local(account), s.base, changes...)
}

// do sends a request and returns the status and body of its answer. Each header is a line "Name:
// value".
func (s *system) do(method, url, body string, header ...string) (int, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	res, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, data
}

func (s *system) publish(data string) {
	s.t.Helper()
	if code, body := s.do("POST", s.base+"/publish", data); code != http.StatusOK {
		s.t.Fatalf("publish is answered %d %s, want 200", code, body)
	}
}

// status reads the case of c.
func (s *system) status(c started) view {
	s.t.Helper()
	code, body := s.do("GET", c.status+fmt.Sprint("&run=", c.run), "")
	var v view
	if err := json.Unmarshal(body, &v); err != nil || code != http.StatusOK {
		s.t.Fatalf("status is answered %d %s, want 200", code, body)
	}
	return v
}

// until reads a case until a condition holds, and returns it.
func (s *system) until(c started, condition string, holds func(v view) bool) view {
	s.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		v := s.status(c)
		if holds(v) {
			return v
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not within a minute: %s; the case is %+v", condition, v)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func ended(v view) bool { return v.EndedAt != nil }

// wantEnd waits for the end of a case, and fails the test if its state or reason is another.
func (s *system) wantEnd(c started, state cases.State, reason cases.Reason) view {
	s.t.Helper()
	v := s.until(c, fmt.Sprintf("%s by %s", state, reason), ended)
	if v.State != state || v.End.Reason != reason {
		s.t.Fatalf("%s is %s with the end %+v, want %s by %s", c.id, v.State, v.End, state, reason)
	}
	return v
}

// wantOneEndedLine waits until the end of a run is logged, and fails the test if it is logged more
// than once.
func (s *system) wantOneEndedLine(c started) {
	s.t.Helper()
	s.until(c, "the end is logged", func(view) bool { return s.endedLines(c) > 0 })
	if n := s.endedLines(c); n != 1 {
		s.t.Errorf("the end of %s is logged %d times, want once", c.id, n)
	}
}

// endedLines counts the log lines about the end of a run.
func (s *system) endedLines(c started) int {
	n := 0
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, `"message":"progress checks ended"`) &&
			strings.Contains(line, `"case_id":"`+c.id+`"`) &&
			strings.Contains(line, fmt.Sprintf(`"run":%d,`, c.run)) {
			n++
		}
	}
	return n
}
