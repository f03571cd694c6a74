// Package app is the composition root: it opens clients from the settings and builds functions from
// the clients. It is the only package that imports adapters.
//
// Clients are opened once, on first use. If that fails, the next request tries again.
package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/pipeline/description"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/singleflight"
	"github.com/casewatch/casewatch/shared/store"
)

// Options configures a process. The zero Options are those of a deployed function.
type Options struct {
	Lookup func(name string) (string, bool) // the environment; nil for the process's
	Stores map[string]store.Opener          // store drivers by name; nil for the linked ones
	Log    io.Writer                        // safe for concurrent use; nil for standard output
	Now    func() time.Time                 // nil for time.Now

	// Handler replaces the JSON log that goes to Log; nil keeps it. A deployed function sets none.
	Handler slog.Handler
}

// Process holds the settings and clients of a function, or of several functions with the same
// settings. It is safe for concurrent use.
type Process struct {
	function string
	opts     Options

	opening singleflight.Flight[*reconcile.Reconciler]

	mu         sync.Mutex // never held during a call to another service
	cfg        *config.Config
	reconciler *reconcile.Reconciler // nil while the clients are not open
	closers    []func() error
}

// New returns the process of one function, or of all functions with [config.Local]. It reads no
// setting and opens no client.
func New(function string, opts Options) *Process {
	if opts.Lookup == nil {
		opts.Lookup = os.LookupEnv
	}
	if opts.Log == nil {
		opts.Log = os.Stdout
	}
	if opts.Stores == nil {
		opts.Stores = linked
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Process{function: function, opts: opts}
}

// Config returns the settings, which it reads once. The error names every missing or invalid
// setting. STORE is invalid if the program does not link the driver that it names.
func (p *Process) Config() (*config.Config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cfg != nil {
		return p.cfg, nil
	}
	cfg, err := config.Load(p.function, p.opts.Lookup)
	if err != nil {
		return nil, err
	}
	if _, ok := p.opts.Stores[cfg.Store.Driver]; !ok {
		there := strings.Join(slices.Sorted(maps.Keys(p.opts.Stores)), ", ")
		detail := fmt.Sprintf("names %s, and this program has no driver for it; it has: %s", cfg.Store.Driver, there)
		return nil, &config.Error{Function: p.function, Faults: []config.Fault{{Name: "STORE", Detail: detail}}}
	}
	p.cfg = cfg
	return cfg, nil
}

// Log returns the process's logger.
func (p *Process) Log() *slog.Logger {
	project := ""
	if cfg, err := p.Config(); err == nil {
		project = cfg.Project
	}
	return p.newLog(project)
}

func (p *Process) newLog(project string) *slog.Logger {
	if p.opts.Handler != nil {
		return slog.New(p.opts.Handler)
	}
	return newLog(p.opts.Log, project)
}

func newLog(w io.Writer, project string) *slog.Logger {
	return slog.New(gcplog.New(w, gcplog.Options{Project: project}))
}

// Build builds a function from the settings and the reconciler.
type Build = func(*config.Config, *reconcile.Reconciler) http.Handler

// Handler serves the function that build returns. The first request reads the settings and opens
// the clients. If that fails, the answer is 503 and the next request tries again. Concurrent
// requests share one attempt of at most 30 s.
//
// A request for an event stream gets 200 instead of 503, because a browser does not reconnect after
// a 503. The stream is empty and tells the client to reconnect.
func (p *Process) Handler(build Build) http.Handler {
	var mu sync.Mutex
	var built http.Handler
	get := func(ctx context.Context) (http.Handler, error) {
		mu.Lock()
		h := built
		mu.Unlock()
		if h != nil {
			return h, nil
		}
		cfg, w, err := p.open(ctx)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		if built == nil {
			built = build(cfg, w)
		}
		return built, nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := get(r.Context())
		if err != nil {
			p.Log().ErrorContext(r.Context(), "the function cannot work yet",
				"function", p.function, "error", err.Error())
			if r.Method == http.MethodGet && strings.Contains(strings.ToLower(r.Header.Get("Accept")), eventStream) {
				reconnectLater(w)
				return
			}
			unavailable(w)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func unavailable(w http.ResponseWriter) {
	e := fault.New(fault.Unavailable, "the service cannot reach what it needs; try again")
	w.Header().Set("Content-Type", fault.ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfterSeconds()))
	w.WriteHeader(e.Kind.Status())
	_ = json.NewEncoder(w).Encode(e.Problem("")) // the client may have disconnected
}

const eventStream = "text/event-stream"

// reconnectLater sends an event stream without events that tells the client to reconnect in 5 s
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). Pages of every origin may read
// it, because the allowed origins may be unknown until the function works. No empty line follows,
// since libraries deliver a block without data as an empty message.
func reconnectLater(w http.ResponseWriter) {
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = io.WriteString(w, "retry: 5000\n") // the client may have disconnected
}

// sweepConcurrency is how many runs a sweep repairs at the same time. A repair waits for four or
// five calls to the queue, the store and the topic. With this value, 10,000 runs with purged tasks
// take about a minute; one at a time they would take half an hour.
const sweepConcurrency = 32

// ReconcileConfig returns the settings of the reconciler.
func ReconcileConfig(cfg *config.Config) reconcile.Config {
	c := reconcile.Config{
		CaseDeadline: cfg.Rules.CaseDeadline, CheckTimeout: cfg.Rules.CheckTimeout, SweepAtOnce: sweepConcurrency,
		Rules: cases.Rules{
			PipelineTimeout: cfg.Pipeline.Timeout, Idempotent: cfg.Pipeline.Idempotent,
			CheckMinInterval: cfg.Rules.CheckMinInterval, CheckMaxInterval: cfg.Rules.CheckMaxInterval,
			StartGrace: cfg.Rules.StartGrace, CompletionGrace: cfg.Rules.CompletionGrace,
			StallAfter: cfg.Rules.StallAfter, UnreachableAfter: cfg.Rules.UnreachableAfter,
			Retention: cfg.Rules.Retention, FormRetention: cfg.Rules.FormRetention,
		},
	}
	for _, p := range cfg.Pipelines {
		c.Pipelines = append(c.Pipelines, pipelineConfig(p, c.Rules))
	}
	return c
}

// pipelineConfig returns what is particular to the runs of a pipeline: the rules of all, with what its
// description says.
func pipelineConfig(p *description.Pipeline, rules cases.Rules) reconcile.PipelineConfig {
	rules.PipelineTimeout, rules.Idempotent = p.Dispatch.Timeout, p.Dispatch.Idempotent
	rules.CheckMinInterval, rules.CheckMaxInterval = p.Poll.Min, p.Poll.Max
	rules.PollNeedsJob = !p.NamedByCase()
	rules.PollsOwnRun = rules.PollNeedsJob || p.Poll.Request.Target.Uses("run")
	rules.CanCancel, rules.CancelNeedsJob = p.CanCancel(), p.CancelNeedsJob()
	rules.NoProgress = !p.ShowsProgress()
	return reconcile.PipelineConfig{Name: p.Name, Rules: rules, Deadline: p.Deadline, ReadsEvents: p.ReadsEvents()}
}
