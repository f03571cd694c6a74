package machine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// view is a case as status shows it.
type view = cases.View

// system is a machine whose pipeline is another program's: an independent server that speaks the pipeline's side.
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

// quick are times at which a test can watch; the grace and the back-offs stay longer than a look.
var quick = map[string]string{
	"CHECK_MIN_INTERVAL": "50ms", "CHECK_MAX_INTERVAL": "200ms", "CHECK_TIMEOUT": "2s", "COMPLETION_GRACE": "400ms",
	"START_GRACE": "500ms", "UNREACHABLE_AFTER": "2s",
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
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.base = "http://" + listener.Addr().String()
	settings := maps.Clone(quick)
	settings["PIPELINE_API_URL"] = s.pipe.URL
	maps.Copy(settings, env)
	if settings["PIPELINE_API_URL"] == "" {
		delete(settings, "PIPELINE_API_URL") // the machine's own
	}
	s.m, err = machine.Open(t.Context(), machine.Options{
		BaseURL: s.base, DataDir: t.TempDir(), Log: log, DocumentTime: 20 * time.Millisecond,
		Lookup: func(name string) (string, bool) { v, ok := settings[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for path, h := range s.m.Handlers {
		mux.Handle(path, h)
	}
	server := httptest.NewUnstartedServer(mux)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if report := s.sweep(); !strings.Contains(report, `"leaked":0`) {
			t.Errorf("at the end the sweep reports %s", report)
		}
		s.pipe.Close() // what the pipelines hold ends first, then what is served, then what that needs
		s.m.Pipeline.Close()
		s.http.CloseIdleConnections()
		server.Close()
		if err := s.m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// started is a case that was started.
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
		s.t.Fatalf("start: %d %s", code, body)
	}
	return started{b.CaseID, b.Run, code, b.StatusURL, b.CancelURL}
}

// token is the ID token of an account of the machine.
func (s *system) token(account string, changes ...identitytest.Change) string {
	return s.m.Issuer.Sign(account+"@local.iam.gserviceaccount.com", s.base, changes...)
}

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
		s.t.Fatalf("publish: %d %s", code, body)
	}
}

func (s *system) look(c started) view {
	s.t.Helper()
	code, body := s.do("GET", c.status+fmt.Sprint("&run=", c.run), "")
	var v view
	if err := json.Unmarshal(body, &v); err != nil || code != http.StatusOK {
		s.t.Fatalf("status: %d %s", code, body)
	}
	return v
}

// until looks at a case until the condition holds.
func (s *system) until(c started, what string, holds func(v view) bool) view {
	s.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		v := s.look(c)
		if holds(v) {
			return v
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within a minute: %+v", what, v)
		}
		time.Sleep(5 * time.Millisecond) // between two looks at a real system
	}
}

func ended(v view) bool { return v.EndedAt != nil }

func (s *system) wantEnd(c started, state cases.State, reason cases.Reason) view {
	s.t.Helper()
	v := s.until(c, fmt.Sprintf("%s by %s", state, reason), ended)
	if v.State != state || v.End.Reason != reason {
		s.t.Fatalf("%s is %s, %+v; want %s, %s", c.id, v.State, v.End, state, reason)
	}
	return v
}

// wantOneEndedLine waits for the line that says that the run's checks ended, and fails if there is more than one.
func (s *system) wantOneEndedLine(c started) {
	s.t.Helper()
	s.until(c, "its end is logged", func(view) bool { return s.endedLines(c) > 0 })
	if n := s.endedLines(c); n != 1 {
		s.t.Errorf("%s has %d lines of its end", c.id, n)
	}
}

func (s *system) endedLines(c started) int {
	n := 0
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, `"message":"progress checks ended"`) && strings.Contains(line, `"case_id":"`+c.id+`"`) && strings.Contains(line, fmt.Sprintf(`"run":%d,`, c.run)) {
			n++
		}
	}
	return n
}
