// Package app is the composition root: it turns settings into clients, and clients into functions. It alone imports adapters.
//
// Clients are opened on first use, once, and tried again when that fails: a process never stays broken by how it began.
package app

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/watch"
)

// OpenStore opens the store that the settings name.
type OpenStore func(ctx context.Context, cfg *config.Config) (store.Store, error)

// Options are what a process is made of. The zero Options are a deployed function's.
type Options struct {
	Lookup func(name string) (string, bool) // the environment; nil for the process's
	Stores map[config.StoreKind]OpenStore   // the store drivers there are; nil for those of a deployed function
	Log    io.Writer                        // safe for concurrent use; nil for standard output
	Now    func() time.Time                 // nil for time.Now

	// Handler writes the log in place of the JSON lines that go to Log; nil for those. A deployed function has none.
	Handler slog.Handler
}

// Process is what a function, or several with the same settings, share. It is safe for concurrent use.
type Process struct {
	function string
	opts     Options

	mu      sync.Mutex // held for moments only
	cfg     *config.Config
	watcher *watch.Watcher
	closers []func() error
	opening *opening // nil: nobody opens anything now
}

// New returns the process of a function, or of all with [config.Local]. It reads no setting and opens nothing.
func New(function string, opts Options) *Process {
	if opts.Lookup == nil {
		opts.Lookup = os.LookupEnv
	}
	if opts.Log == nil {
		opts.Log = os.Stdout
	}
	if opts.Stores == nil {
		opts.Stores = stores
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Process{function: function, opts: opts}
}

// Config returns the settings, read once. The error names every fault in them.
func (p *Process) Config() (*config.Config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.config()
}

func (p *Process) config() (*config.Config, error) {
	if p.cfg == nil {
		cfg, err := config.Load(p.function, p.opts.Lookup)
		if err != nil {
			return nil, err
		}
		p.cfg = cfg
	}
	return p.cfg, nil
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

// Build makes a function of the settings and the watcher.
type Build func(*config.Config, *watch.Watcher) http.Handler

// Handler serves what build makes. The settings are read and the clients opened at the first request; until that
// succeeds, each request tries again, or waits for the try of another that is under way, at most 30 s, and is answered 503; one for a stream
// of events is answered 200, with the request to come back, since a browser never comes back from a 503.
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
			p.Log().ErrorContext(r.Context(), "the function cannot work yet", "function", p.function, "error", err.Error())
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
	_ = json.NewEncoder(w).Encode(e.Problem("")) // the client may be gone
}

const eventStream = "text/event-stream"

// reconnectLater sends an event stream without events that tells the client to reconnect in 5 s. Every page may read that: who
// may call is known once the function works. No empty line follows: libraries deliver a block without data as an empty message.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
func reconnectLater(w http.ResponseWriter) {
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = io.WriteString(w, "retry: 5000\n") // the client may be gone
}

// sweepAtOnce is how many runs a sweep handles at once. Each waits for four or five calls, of the queue, the store and the topic: 10,000 runs whose
// tasks were purged are healed in about a minute, where it was half an hour one after the other.
const sweepAtOnce = 32

// WatchConfig returns the settings by which a Watcher works.
func WatchConfig(cfg *config.Config) watch.Config {
	return watch.Config{
		CaseDeadline: cfg.Rules.CaseDeadline, CheckTimeout: cfg.Rules.CheckTimeout, SweepAtOnce: sweepAtOnce,
		Rules: cases.Rules{
			PipelineTimeout: cfg.Pipeline.Timeout, Idempotent: cfg.Pipeline.Idempotent,
			CheckMinInterval: cfg.Rules.CheckMinInterval, CheckMaxInterval: cfg.Rules.CheckMaxInterval,
			StartGrace: cfg.Rules.StartGrace, CompletionGrace: cfg.Rules.CompletionGrace,
			StallAfter: cfg.Rules.StallAfter, UnreachableAfter: cfg.Rules.UnreachableAfter,
			Retention: cfg.Rules.Retention, FormRetention: cfg.Rules.FormRetention,
		},
	}
}
