// Package functiontest serves one function over HTTP for tests, as the deployed service does. The
// store is real; the queue, the topic and the pipeline are those of reconciletest.
package functiontest

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/reconcile/reconciletest"
)

// Key is an API key of the test configuration.
const Key = "functiontest-key-of-20"

// Bench holds the dependencies of a function under test.
type Bench struct {
	T          testing.TB
	Config     *config.Config
	Reconciler *reconcile.Reconciler
	Store      *reconciletest.Store
	Queue      *reconciletest.Queue
	Topic      *reconciletest.Topic
	Pipe       *reconciletest.Pipeline
	Log        *reconciletest.Log

	ahead atomic.Int64 // nanoseconds by which the reconciler's clock is ahead of the real one
}

// New returns a Bench. Its configuration has all settings that the functions need; env overrides
// them.
func New(t testing.TB, env map[string]string) *Bench {
	t.Helper()
	settings := map[string]string{
		"PIPELINE_API_URL":     "http://pipeline.example",
		"STORE":                "sqlite:unused",
		"GOOGLE_CLOUD_PROJECT": "functiontest",
		"TASKS_LOCATION":       "us-central1",
		"CHECK_QUEUE":          "check",
		"DISPATCH_QUEUE":       "dispatch",
		"ENDED_TOPIC":          "ended",
		"DEAD_LETTER_TOPIC":    "dead-letter",
		"STATUS_URL":           "http://status.example/s",
		"CANCEL_URL":           "http://cancel.example",
		"CHECK_URL":            "http://check.example",
		"DISPATCH_URL":         "http://dispatch.example",
		"TOKEN_SECRET":         strings.Repeat("a", 32) + "," + strings.Repeat("b", 32),
		"API_KEYS":             Key,
		"ALLOWED_ORIGINS":      "https://forms.example",
	}
	if env["PIPELINES"] != "" {
		delete(settings, "PIPELINE_API_URL")
	}
	cfg, err := config.Load(config.Local, func(name string) (string, bool) {
		if v, ok := env[name]; ok {
			return v, true
		}
		v, ok := settings[name]
		return v, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &Bench{
		T:      t,
		Config: cfg,
		Store:  reconciletest.NewStore(t),
		Queue:  &reconciletest.Queue{},
		Topic:  &reconciletest.Topic{},
		Pipe:   &reconciletest.Pipeline{},
		Log:    &reconciletest.Log{},
	}
	b.Reconciler, err = reconcile.New(app.ReconcileConfig(cfg), reconcile.Deps{
		Store: b.Store, Queue: b.Queue, Pipeline: b.Pipe, Events: b.Topic,
		Now: b.now, Jitter: rand.Float64, Nonce: uuid.NewString, Log: b.Log.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *Bench) now() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) }

// Pass moves the clock of the reconciler forward.
func (b *Bench) Pass(d time.Duration) { b.ahead.Add(int64(d)) }

// Begin starts a run of a case and returns its record.
func (b *Bench) Begin(caseID string) cases.Case {
	b.T.Helper()
	answer, err := b.Reconciler.Start(context.Background(), reconcile.StartRequest{
		CaseID: caseID, Form: []byte(`{"a":1}`),
	})
	if err != nil {
		b.T.Fatal(err)
	}
	return answer.Case
}

// Event delivers an event of the pipeline.
func (b *Bench) Event(id, data string) {
	b.T.Helper()
	message := reconcile.Message{ID: id, Published: time.Now().UTC(), Data: []byte(data)}
	if err := b.Reconciler.Complete(context.Background(), message); err != nil {
		b.T.Fatal(err)
	}
}

// Case returns the record of a run.
func (b *Bench) Case(caseID string, run int) cases.Case {
	b.T.Helper()
	c, err := b.Store.Get(context.Background(), caseID, run)
	if err != nil {
		b.T.Fatal(err)
	}
	return c
}

// Serve serves a function until the test ends and returns its URL.
func (b *Bench) Serve(build func(*config.Config, *reconcile.Reconciler) http.Handler) string {
	server := httptest.NewServer(build(b.Config, b.Reconciler))
	b.T.Cleanup(server.Close)
	return server.URL
}

// Answer is a response with its body.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// JSON decodes the body.
func (a Answer) JSON(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.Body), &v); err != nil {
		t.Fatalf("%d %q: %v", a.Status, a.Body, err)
	}
	return v
}

// Do sends a request. Each header is a line "Name: value". It follows no redirect and closes the
// connection.
func (b *Bench) Do(method, url, body string, header ...string) Answer {
	b.T.Helper()
	return b.DoContext(context.Background(), method, url, body, header...)
}

// DoContext is Do with a context.
func (b *Bench) DoContext(ctx context.Context, method, url, body string, header ...string) Answer {
	b.T.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		b.T.Fatal(err)
	}
	req.Close = true
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		b.T.Fatal(err)
	}
	return Answer{res.StatusCode, res.Header, string(data)}
}

// Problem checks that a response is a complete problem document with the status, and that it shows
// no internal detail.
func (b *Bench) Problem(a Answer, status int) {
	b.T.Helper()
	if a.Status != status || a.Header.Get("Content-Type") != "application/problem+json" {
		b.T.Errorf("got %d %s: %s; want a problem of %d", a.Status, a.Header.Get("Content-Type"), a.Body, status)
		return
	}
	p := a.JSON(b.T)
	if p["type"] == nil || p["title"] == "" || p["status"] != float64(status) {
		b.T.Errorf("the problem is incomplete: %s", a.Body)
	}
	if status == http.StatusServiceUnavailable && a.Header.Get("Retry-After") == "" {
		b.T.Error("503 without Retry-After")
	}
	if strings.Contains(a.Body, "goroutine") || strings.Contains(a.Body, "sqlite") || strings.Contains(a.Body, "SQL") {
		b.T.Errorf("the problem shows an internal detail: %s", a.Body)
	}
}
