// Package machine is Casewatch on one machine: every function, with a Cloud Tasks server, a Pub/Sub
// server, an embedded store, a sample pipeline and a form page, in one process.
//
// The functions are the deployed ones, and speak to the servers with Google's own clients. Only
// what stands for Google Cloud is here: the servers, and the clock that calls sweep, as Cloud
// Scheduler would.
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
	"github.com/casewatch/casewatch/functions/registry"
	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/drivers"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

// Options are how a machine is to be made.
type Options struct {
	Lookup  func(name string) (string, bool) // the environment; settings that it lacks have local values
	BaseURL string                           // where the handlers will be reached: http://127.0.0.1:port
	DataDir string                           // of all state; it is made
	Log     io.Writer                        // of the functions and the servers: JSON lines
	Handler slog.Handler                     // writes the log in place of the JSON lines to Log; nil for those
	// DocumentTime is how long the sample pipeline takes for a document; 0 for a second.
	DocumentTime time.Duration
	// SweepInterval is how often sweep is called; 0 for 10 s.
	SweepInterval time.Duration
}

// Machine is a running set of servers. What it serves is in Handlers; it reaches them itself, over
// HTTP, at its BaseURL.
type Machine struct {
	// Handlers are what is to be served, by path; a path that ends in a slash stands for all below
	// it. They answer 421 to requests whose Host is not loopback.
	Handlers map[string]http.Handler

	Tasks    *taskserver.Server
	PubSub   *pubsubserver.Server
	Pipeline *samplepipeline.Pipeline
	Config   *config.Config
	// Issuer signs the tokens by which the private functions know who calls. Its key is made anew
	// each time: tokens are signed when something is delivered, and none outlives the process.
	Issuer *identitytest.Issuer

	client  *pubsub.Client // of the sample pipeline
	events  *pubsub.Publisher
	process *app.Process
	log     *slog.Logger
	base    string
	stop    context.CancelFunc
	sweeps  sync.WaitGroup

	sweepEvery time.Duration
}

// Check returns an error that names every faulty setting. It opens and makes nothing.
func Check(o Options) error {
	cfg, err := config.Load(config.Local, newSettings(o, strings.Repeat("-", 32)).lookup)
	if err != nil {
		return err
	}
	return letIn(o, cfg)
}

// Open makes a machine, its servers running. The error names every faulty setting.
//
// Tasks that were pending when the last machine in the folder ended are delivered as soon as Open
// returns.
func Open(ctx context.Context, o Options) (_ *Machine, err error) {
	if err := Check(o); err != nil {
		return nil, err // before anything is made
	}
	tokenSecret, err := prepare(o.DataDir)
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
		Config: cfg, Issuer: identitytest.New(o.BaseURL + issuerPath), base: o.BaseURL, log: slog.New(o.Handler),
		sweepEvery: cmp.Or(o.SweepInterval, 10*time.Second),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close(ctx))
		}
	}()
	if m.PubSub, err = pubsubserver.Start(ctx, pubsubserver.Options{
		Project: cfg.Project, Logger: m.log,
		Topics: []string{cfg.Topics.Ended, cfg.Topics.DeadLetter},
		Routes: []pubsubserver.Route{{
			Topic: cfg.Topics.PipelineEvents, Target: o.BaseURL + "/complete", Push: true, ServiceAccount: eventsAccount, Audience: o.BaseURL,
		}},
		Signer: m.sign,
	}); err != nil {
		return nil, err
	}
	settings.set("PUBSUB_EMULATOR_HOST", m.PubSub.Addr())
	if err = m.openEvents(ctx); err != nil {
		return nil, err
	}
	if m.Tasks, err = taskserver.Open(taskserver.Options{Dir: o.DataDir, Queues: queues(cfg), Logger: m.log, Signer: m.sign}); err != nil {
		return nil, fmt.Errorf("DATA_DIR %s cannot be used: %w", o.DataDir, err)
	}
	settings.set("CLOUD_TASKS_EMULATOR_HOST", m.Tasks.Addr())
	m.Pipeline = samplepipeline.New(samplepipeline.Options{
		Publish: m.publish, BaseURL: func() string { return o.BaseURL + "/pipeline" },
		Dir: filepath.Join(o.DataDir, "documents"), DocumentTime: o.DocumentTime, Logger: m.log,
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
		"/":              page.Handler(),
	})
	for path, h := range m.Handlers {
		m.Handlers[path] = m.loopbackOnly(h)
	}
	sweeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	m.sweeps.Go(func() { m.callSweep(sweeping) })
	return m, nil
}

// queues are the queues with limits as a deployment gives them.
func queues(cfg *config.Config) []*cloudtaskspb.Queue {
	var all []*cloudtaskspb.Queue
	for _, name := range app.Queues(cfg).Queues() {
		limits := &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 500, MaxConcurrentDispatches: 1000}
		if path.Base(name) == cfg.Queue.Dispatch {
			limits = &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: cfg.Queue.Rate, MaxConcurrentDispatches: int32(cfg.Queue.Concurrency)}
		}
		all = append(all, &cloudtaskspb.Queue{
			Name: name, RateLimits: limits,
			RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: -1, MinBackoff: durationpb.New(time.Second), MaxBackoff: durationpb.New(time.Minute), MaxDoublings: 6},
		})
	}
	return all
}

// publish gives an event of the sample pipeline to its topic.
func (m *Machine) publish(ctx context.Context, data []byte) error {
	_, err := m.events.Publish(ctx, &pubsub.Message{Data: data}).Get(ctx)
	return err
}

// openEvents opens the client by which the sample pipeline publishes.
func (m *Machine) openEvents(ctx context.Context) error {
	var err error
	m.client, err = pubsub.NewClient(context.WithoutCancel(ctx), m.Config.Project, option.WithEndpoint(m.PubSub.Addr()), option.WithoutAuthentication(),
		option.WithTelemetryDisabled(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err == nil {
		m.events = m.client.Publisher(m.Config.Topics.PipelineEvents)
	}
	return err
}

// Close stops the servers; what is being attempted is cut when ctx ends, and delivered again by the
// next machine. The handlers must not be called during or after it.
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
