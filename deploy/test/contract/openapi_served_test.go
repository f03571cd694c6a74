package contract

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/deploy/local/machine/machinetest"
	"github.com/casewatch/casewatch/functions/callback"
	"github.com/casewatch/casewatch/functions/cancel"
	"github.com/casewatch/casewatch/functions/console"
	"github.com/casewatch/casewatch/functions/start"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

// served is what is asked.
type served struct {
	t       *testing.T
	base    string
	client  *http.Client
	machine *machine.Machine     // nil if it is no machine
	pipe    *pipelinetest.Server // its pipeline
}

// exchange is a request, and the status of its answer.
type exchange struct {
	status int
	method string
	at     string // the path, or a whole address
	body   string
	header []string // "Name: value"
	wrong  bool     // the document refuses the request
}

type reply struct {
	header http.Header
	body   []byte
}

// field returns a field of the top of a JSON body, as text.
func (r reply) field(name string) string {
	var fields map[string]any
	_ = json.Unmarshal(r.body, &fields) // "" then
	text, _ := fields[name].(string)
	return text
}

func (r reply) view(t *testing.T) (v cases.View) {
	t.Helper()
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return v
}

// newMachine opens a machine with a pipeline of its own, which is asked through c.
func newMachine(t *testing.T, c *checked, env map[string]string) *served {
	t.Helper()
	s := &served{t: t, client: &http.Client{Transport: c, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, pipe: pipelinetest.New(t)}
	listener := machinetest.Listen(t)
	s.base = "http://" + listener.Addr().String()
	settings := map[string]string{
		"PIPELINE_API_URL": s.pipe.URL, "CHECK_MIN_INTERVAL": "50ms",
		"CHECK_MAX_INTERVAL": "200ms", "CHECK_TIMEOUT": "2s",
	}
	maps.Copy(settings, env)
	var err error
	s.machine, err = machine.Open(t.Context(), machine.Options{
		BaseURL: s.base, DataDir: t.TempDir(), Log: io.Discard, Lookup: func(name string) (string, bool) {
			v, ok := settings[name]
			return v, ok
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := machinetest.Serve(listener, s.machine.Handlers)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		s.pipe.Close() // what it holds ends first
		if err := s.machine.Close(ctx); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return s
}

// newBroken serves the functions as a machine does, on a store that fails in a way of its own.
func newBroken(t *testing.T, c *checked, cfg config.Config, broken store.Store) *served {
	t.Helper()
	w, err := reconcile.New(reconcile.Config{}, reconcile.Deps{
		Store: broken, Now: time.Now, Jitter: func() float64 { return 0 }, Nonce: func() string { return "n" },
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for prefix, function := range map[string]func(*config.Config, *reconcile.Reconciler) http.Handler{
		"/start": start.New, "/status": status.New, "/cancel": cancel.New,
		"/callback": callback.New, "/console": console.New,
	} {
		h := http.StripPrefix(prefix, function(&cfg, w))
		mux.Handle(prefix, h)
		mux.Handle(prefix+"/", h)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &served{t: t, base: server.URL, client: &http.Client{Transport: c}}
}

// down is a store that cannot be reached. Its other methods panic.
type down struct{ store.Store }

func (down) Current(context.Context, string) (store.Head, cases.Case, error) {
	return store.Head{}, cases.Case{}, errDown
}

func (down) Get(context.Context, string, int) (cases.Case, error) { return cases.Case{}, errDown }

func (down) List(context.Context, store.Filter, store.Place, int) ([]cases.Case, error) {
	return nil, errDown
}

func (down) Overdue(context.Context, time.Time, store.Cursor, int) ([]cases.Case, error) {
	return nil, errDown
}

// full is a store of one case, whose run failed and which has as many idempotency keys as are kept.
// Its other methods panic.
type full struct{ store.Store }

func (full) Get(context.Context, string, int) (cases.Case, error) {
	return cases.Case{Origin: cases.Origin{CaseID: "smith", Run: 1}, Version: 2, State: cases.Failed,
		Outcome:     cases.Outcome{EndedAt: time.Now(), End: &cases.End{Reason: cases.ReasonPipelineFailed}},
		Bookkeeping: cases.Bookkeeping{FormKept: true}}, nil
}

func (f full) Current(ctx context.Context, id string) (store.Head, cases.Case, error) {
	keys := map[string]int{}
	for i := range 1000 {
		keys[strconv.Itoa(i)] = 1
	}
	c, err := f.Get(ctx, id, 1)
	return store.Head{CaseID: id, Run: 1, Version: 1, Keys: keys}, c, err
}

func (full) Value(context.Context, string, int, store.Value) ([]byte, error) {
	return []byte(`{}`), nil
}

// panics is a store whose every method panics.
type panics struct{ store.Store }

// ask makes the exchanges, and returns the last answer.
func (s *served) ask(exchanges ...exchange) (last reply) {
	s.t.Helper()
	for _, x := range exchanges {
		res := s.send(x)
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		if res.StatusCode != x.status {
			s.t.Errorf("%s %s: %d, want %d: %s", x.method, x.at, res.StatusCode, x.status, body)
		}
		last = reply{res.Header, body}
	}
	return last
}

func (s *served) send(x exchange) *http.Response {
	s.t.Helper()
	at := x.at
	if strings.HasPrefix(at, "/") {
		at = s.base + at
	}
	ctx := s.t.Context()
	if x.wrong {
		ctx = context.WithValue(ctx, wrong{}, true)
	}
	req, err := http.NewRequestWithContext(ctx, x.method, at, strings.NewReader(x.body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, line := range x.header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return res
}

// start begins a run, and returns its addresses.
func (s *served) start(form, query string, header ...string) (statusURL, cancelURL string) {
	s.t.Helper()
	r := s.ask(exchange{
		status: 202, method: "POST", at: "/start" + query, body: form, header: append([]string{isJSON}, header...),
	})
	return r.field("status_url"), r.field("cancel_url")
}

// until sees a case until the condition holds.
func (s *served) until(statusURL string, holds func(cases.View) bool) cases.View {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		v := s.ask(exchange{status: 200, method: "GET", at: statusURL}).view(s.t)
		if holds(v) {
			return v
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not within half a minute: %+v", v)
		}
		time.Sleep(5 * time.Millisecond) // between two looks at a real system
	}
}

// publish gives an event of the pipeline to its topic. It is no part of what is documented.
func (s *served) publish(event string) {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.machine.Handlers["/publish"].ServeHTTP(w,
		httptest.NewRequestWithContext(s.t.Context(), http.MethodPost, s.base+"/publish", strings.NewReader(event)))
	if w.Code != http.StatusOK {
		s.t.Fatalf("%d %s", w.Code, w.Body)
	}
}
