// Package machine runs Casewatch in one process on one machine: all functions, a Cloud Tasks
// server, a Pub/Sub server, an embedded store, a sample pipeline and a form page.
//
// The functions are the ones that are deployed, and they use Google's own clients. This package
// only replaces Google Cloud: it runs the servers, and calls sweep as Cloud Scheduler does.
package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/casewatch/casewatch/deploy/local/page"
	"github.com/casewatch/casewatch/deploy/local/pubsubserver"
	"github.com/casewatch/casewatch/deploy/local/samplepipeline"
	"github.com/casewatch/casewatch/deploy/local/taskserver"
	"github.com/casewatch/casewatch/deploy/test/drill/target"
	"github.com/casewatch/casewatch/functions/registry"
	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/drivers"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

// Options configure a machine.
type Options struct {
	Lookup  func(name string) (string, bool) // reads the environment; missing settings have local values
	BaseURL string                           // the base URL of the handlers: http://127.0.0.1:port
	DataDir string                           // the directory of all state; created if it does not exist
	Log     io.Writer                        // gets the log of functions and servers, as JSON lines
	Handler slog.Handler                     // writes the log instead of Log, if not nil

	// DocumentTime is the time that the sample pipeline takes for a document. It is 1 s if zero.
	DocumentTime time.Duration

	// SweepInterval is the time between two calls of sweep. It is 10 s if zero.
	SweepInterval time.Duration
}

// Machine is a running set of servers. The caller serves Handlers at the BaseURL, where the machine
// also calls them over HTTP.
type Machine struct {
	// Handlers are the handlers by path. A path that ends in a slash stands for all paths below it.
	// The handlers answer 421 if the Host of a request is not a loopback address.
	Handlers map[string]http.Handler

	Tasks    *taskserver.Server
	PubSub   *pubsubserver.Server
	Pipeline *samplepipeline.Pipeline
	Config   *config.Config

	// Issuer signs the ID tokens for calls of the private functions. Each machine has a new key. No
	// token needs to outlive it, because a token is signed for each delivery.
	Issuer *identitytest.Issuer

	client        *pubsub.Client // of the sample pipeline
	events        *pubsub.Publisher
	process       *app.Process
	log           *slog.Logger
	base          string
	stop          context.CancelFunc
	sweeps        sync.WaitGroup
	sweepInterval time.Duration
}

// Check returns an error that names all invalid settings. It opens no file and no connection.
func Check(o Options) error {
	cfg, err := config.Load(config.Local, newSettings(o, strings.Repeat("-", 32)).lookup)
	if err != nil {
		return err
	}
	return checkInvokers(o, cfg)
}

// Open creates a machine and starts its servers. If settings are invalid, it changes nothing and
// returns an error that names all of them.
//
// Tasks that were pending when the last machine with this DataDir ended are delivered as soon as
// Open returns.
func Open(ctx context.Context, o Options) (_ *Machine, err error) {
	if err := Check(o); err != nil {
		return nil, err
	}
	tokenSecret, err := openDataDir(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("DATA_DIR: %w", err)
	}
	settings := newSettings(o, tokenSecret)
	cfg, err := config.Load(config.Local, settings.lookup)
	if err != nil {
		return nil, err
	}
	if o.Handler == nil {
		o.Handler = gcplog.New(o.Log, gcplog.Options{Project: cfg.Project})
	}
	m := &Machine{
		Config:        cfg,
		Issuer:        identitytest.New(o.BaseURL + issuerPath),
		base:          o.BaseURL,
		log:           slog.New(o.Handler),
		sweepInterval: cmp.Or(o.SweepInterval, 10*time.Second),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close(ctx))
		}
	}()
	if m.PubSub, err = pubsubserver.Start(ctx, pubsubserver.Options{
		Project: cfg.Project,
		Logger:  m.log,
		Topics:  []string{cfg.Topics.Ended, cfg.Topics.DeadLetter},
		Routes: []pubsubserver.Route{{
			Topic:          cfg.Topics.PipelineEvents,
			Target:         o.BaseURL + "/complete",
			Push:           true,
			ServiceAccount: eventsAccount,
			Audience:       o.BaseURL,
		}},
		Signer: m.sign,
	}); err != nil {
		return nil, err
	}
	settings.set("PUBSUB_EMULATOR_HOST", m.PubSub.Addr())
	if err = m.openEvents(ctx); err != nil {
		return nil, err
	}
	if m.Tasks, err = taskserver.Open(taskserver.Options{
		Dir:    o.DataDir,
		Queues: queues(cfg),
		Logger: m.log,
		Signer: m.sign,
	}); err != nil {
		return nil, fmt.Errorf("DATA_DIR %s cannot be used: %w", o.DataDir, err)
	}
	settings.set("CLOUD_TASKS_EMULATOR_HOST", m.Tasks.Addr())
	m.Pipeline = samplepipeline.New(samplepipeline.Options{
		Publish:      m.publish,
		BaseURL:      func() string { return o.BaseURL + "/pipeline" },
		Dir:          filepath.Join(o.DataDir, "documents"),
		DocumentTime: o.DocumentTime,
		Logger:       m.log,
	})
	m.process = app.New(config.Local, app.Options{
		Lookup: settings.lookup, Handler: o.Handler,
		Stores: map[string]store.Opener{drivers.SQLite: store.OpenerOf(sqlite.Open)},
	})
	if err = m.process.Open(); err != nil {
		return nil, err
	}
	m.Handlers = registry.Handlers(m.process.Handler)
	maps.Copy(m.Handlers, map[string]http.Handler{
		"/console":       http.RedirectHandler("/console/", http.StatusTemporaryRedirect),
		"/pipeline/":     http.StripPrefix("/pipeline", m.Pipeline.Handler()),
		issuerPath + "/": http.StripPrefix(issuerPath, m.Issuer),
		"/publish":       m.PubSub.Handler(cfg.Topics.PipelineEvents),
		"/":              page.Handler(cfg.Pipelines.Names()),
	})
	for path, h := range m.Handlers {
		m.Handlers[path] = m.loopbackOnly(h)
	}
	sweeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	m.sweeps.Go(func() { m.callSweep(sweeping) })
	return m, nil
}

// queues returns the queues with the limits that they have in a deployment.
func queues(cfg *config.Config) []*cloudtaskspb.Queue {
	var all []*cloudtaskspb.Queue
	for _, name := range app.Queues(cfg).Queues() {
		limits := &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 500, MaxConcurrentDispatches: 1000}
		for i, p := range cfg.Pipelines {
			if path.Base(name) == cfg.Queue.Dispatch && i == 0 || path.Base(name) == cfg.Queue.Dispatch+"-"+p.Name {
				limits.MaxDispatchesPerSecond = p.Dispatch.Rate
				limits.MaxConcurrentDispatches = int32(p.Dispatch.Concurrency)
			}
		}
		all = append(all, &cloudtaskspb.Queue{
			Name:       name,
			RateLimits: limits,
			RetryConfig: &cloudtaskspb.RetryConfig{
				MaxAttempts:  -1,
				MinBackoff:   durationpb.New(time.Second),
				MaxBackoff:   durationpb.New(time.Minute),
				MaxDoublings: 6,
			},
		})
	}
	return all
}

// publish publishes an event of the sample pipeline.
func (m *Machine) publish(ctx context.Context, data []byte) error {
	_, err := m.events.Publish(ctx, &pubsub.Message{Data: data}).Get(ctx)
	return err
}

// openEvents opens the Pub/Sub client of the sample pipeline.
func (m *Machine) openEvents(ctx context.Context) error {
	var err error
	m.client, err = pubsub.NewClient(context.WithoutCancel(ctx), m.Config.Project,
		option.WithEndpoint(m.PubSub.Addr()),
		option.WithoutAuthentication(),
		option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	)
	if err == nil {
		m.events = m.client.Publisher(m.Config.Topics.PipelineEvents)
	}
	return err
}

// sign returns an ID token of an account for an audience.
func (m *Machine) sign(_ context.Context, account, audience string) (string, error) {
	return m.Issuer.Sign(account, audience), nil
}

// callSweep calls sweep at each interval, as Cloud Scheduler does, until ctx ends.
func (m *Machine) callSweep(ctx context.Context) {
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(m.sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.base+"/sweep", nil)
		if err != nil {
			m.log.Error("sweep not called", "error", err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+m.Issuer.Sign(schedulerAccount, m.base))
		res, err := client.Do(req)
		if err != nil {
			if ctx.Err() == nil {
				m.log.Warn("sweep not answered", "error", err)
			}
			continue
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			m.log.Warn("sweep failed", "status", res.StatusCode)
		}
	}
}

// Target describes m for other programs, such as drills.
func (m *Machine) Target() *target.Target {
	cfg := m.Config
	queues := app.Queues(cfg).Queues()
	checks := len(queues) - len(cfg.Pipelines) // the queues of dispatches are behind those of checks
	t := &target.Target{
		Name:             "make run at " + m.base,
		Start:            cfg.URLs.Start,
		Status:           cfg.URLs.Status,
		Console:          m.base + "/console",
		Project:          cfg.Project,
		Checks:           queues[:checks],
		Dispatch:         queues[checks],
		CheckURL:         cfg.URLs.Check,
		DispatchURL:      cfg.URLs.Dispatch,
		TasksAccount:     cfg.Queue.ServiceAccount,
		EventsTopic:      cfg.Topics.PipelineEvents,
		TasksEmulator:    m.Tasks.Addr(),
		PubSubEmulator:   m.PubSub.Addr(),
		SweepInterval:    target.In(m.sweepInterval),
		CheckTimeout:     target.In(cfg.Rules.CheckTimeout),
		CheckMinInterval: target.In(cfg.Rules.CheckMinInterval),
		CompletionGrace:  target.In(cfg.Rules.CompletionGrace),
		Idempotent:       cfg.Pipeline.Idempotent,
	}
	if sample := m.base + "/pipeline"; cfg.Pipeline.URL == sample {
		t.SamplePipeline = sample
	}
	return t
}

// Close stops the servers. When ctx ends, it aborts running attempts of tasks, and the next machine
// delivers those tasks again. After Close begins, the handlers must not be called.
func (m *Machine) Close(ctx context.Context) error {
	var errs []error
	if m.stop != nil {
		m.stop()
		m.sweeps.Wait()
	}
	if m.Pipeline != nil {
		m.Pipeline.Close()
	}
	if m.client != nil {
		m.events.Stop()
		errs = append(errs, m.client.Close())
	}
	if m.Tasks != nil {
		errs = append(errs, m.Tasks.Close(ctx))
	}
	if m.PubSub != nil {
		errs = append(errs, m.PubSub.Close())
	}
	if m.process != nil {
		errs = append(errs, m.process.Close())
	}
	return errors.Join(errs...)
}
