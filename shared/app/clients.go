package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/api/idtoken"

	"golang.org/x/oauth2"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/events/pubsub"
	"github.com/casewatch/casewatch/shared/pipeline"
	"github.com/casewatch/casewatch/shared/queue/cloudtasks"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/singleflight"
	"github.com/casewatch/casewatch/shared/store"
)

// checkSlack is how much longer the delivery of a check may take than its poll.
const checkSlack = 50 * time.Second

// dispatchDeadline is the longest time that Cloud Tasks waits for an answer.
const dispatchDeadline = 30 * time.Minute

// Queues returns the settings of the Cloud Tasks adapter.
func Queues(cfg *config.Config) cloudtasks.Config {
	return cloudtasks.Config{
		Project: cfg.Project, Location: cfg.Queue.Location,
		CheckQueue: cfg.Queue.Check, DispatchQueue: cfg.Queue.Dispatch, Shards: cfg.Queue.Shards,
		Pipelines: cfg.Pipelines.Names(),
		CheckURL:  cfg.URLs.Check, DispatchURL: cfg.URLs.Dispatch, ServiceAccount: cfg.Queue.ServiceAccount,
		CheckDeadline: min(cfg.Rules.CheckTimeout+checkSlack, dispatchDeadline), DispatchDeadline: dispatchDeadline,
		EmulatorHost: cfg.Emulators.Tasks,
	}
}

// storeOptions returns the settings of the store driver.
func storeOptions(cfg *config.Config) store.Options {
	return store.Options{
		Location: cfg.Store.Location.Reveal(), Project: cfg.Project, EmulatorHost: cfg.Emulators.Firestore,
		Retention: cfg.Rules.Retention,
	}
}

func openQueue(ctx context.Context, cfg *config.Config) (*cloudtasks.Queue, error) {
	q, err := cloudtasks.New(ctx, Queues(cfg))
	if err != nil {
		return nil, fmt.Errorf("open Cloud Tasks: %w", err)
	}
	return q, nil
}

func openPublisher(ctx context.Context, cfg *config.Config) (*pubsub.Publisher, error) {
	return pubsub.New(ctx, pubsub.Config{
		Project: cfg.Project, EndedTopic: cfg.Topics.Ended, DeadLetterTopic: cfg.Topics.DeadLetter,
		Source: "/projects/" + cfg.Project + "/casewatch", EmulatorHost: cfg.Emulators.PubSub,
	})
}

// pipelineClient adapts the clients of the pipelines, by name, to the interface of package reconcile,
// which asks only for described ones.
type pipelineClient map[string]*pipeline.Client

// openPipelines opens a client for each described pipeline.
func openPipelines(cfg *config.Config) (pipelineClient, error) {
	p := pipelineClient{}
	for _, described := range cfg.Pipelines {
		c := pipeline.Config{Pipeline: described, CheckTimeout: cfg.Rules.CheckTimeout}
		if described.Auth.GoogleIDToken {
			audience, err := pipeline.Audience(described.URL)
			if err != nil {
				return nil, err
			}
			c.TokenSource = tokenSource(audience)
		}
		client, err := pipeline.New(c)
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: %w", described.Name, err)
		}
		p[described.Name] = client
	}
	return p, nil
}

// asked is a job as package pipeline takes it.
func asked(job reconcile.Job) pipeline.Job {
	return pipeline.Job{
		CaseID: job.CaseID, Run: job.Run, ID: job.ID, Form: job.Form, CallbackURL: job.CallbackURL,
		TraceParent: job.TraceParent,
	}
}

func (p pipelineClient) Dispatch(ctx context.Context, job reconcile.Job) cases.DispatchOutcome {
	return p[job.Pipeline].Dispatch(ctx, asked(job))
}

func (p pipelineClient) Poll(ctx context.Context, job reconcile.Job) cases.CheckOutcome {
	return p[job.Pipeline].Poll(ctx, asked(job))
}

func (p pipelineClient) Cancel(ctx context.Context, job reconcile.Job) cases.CancelOutcome {
	return p[job.Pipeline].Cancel(ctx, asked(job))
}

func (p pipelineClient) ReadCallback(
	name string, header map[string][]string, body []byte,
) (reconcile.Callback, error) {
	in, err := p[name].ReadCallback(header, body)
	switch {
	case errors.Is(err, pipeline.ErrSignature):
		return reconcile.Callback{}, fmt.Errorf("%w: %w", reconcile.ErrSignature, err)
	case err != nil:
		return reconcile.Callback{}, err
	}
	return reconcile.Callback{
		Event: in.Event, JobID: in.JobID, Reading: in.Reading, Message: in.Message, Result: in.Result,
		Dropped: in.Dropped, Fetch: in.Fetch,
	}, nil
}

// callbackURL makes the addresses at which pipelines report; nil if no pipeline is told one.
func callbackURL(cfg *config.Config) func(caseID string, run int, until time.Time) string {
	if !cfg.UsesCallbacks() {
		return nil
	}
	return func(caseID string, run int, until time.Time) string {
		return casetoken.Callback(cfg.URLs.Callback, cfg.Access.TokenSecrets, caseID, run, until)
	}
}

func (p pipelineClient) close() error {
	for _, client := range p {
		client.Close()
	}
	return nil
}

// tokenSource returns Google ID tokens for an audience and caches them until they expire. The first
// successful call creates the source, which outlives its request. Concurrent calls share one token.
// A call that waits for another call returns when its context ends.
func tokenSource(audience string) func(context.Context) (string, error) {
	var fetching singleflight.Flight[string]
	var source oauth2.TokenSource // used only inside fetch, by one call at a time
	fetch := func() (string, error) {
		if source == nil {
			made, err := idtoken.NewTokenSource(context.Background(), audience)
			if err != nil {
				return "", fmt.Errorf("ID tokens are not available: %w", err)
			}
			source = made
		}
		token, err := source.Token()
		if err != nil {
			return "", fmt.Errorf("fetch an ID token: %w", err)
		}
		return token.AccessToken, nil
	}
	return func(ctx context.Context) (string, error) {
		token, err := fetching.Do(ctx, fetch)
		if err != nil && ctx.Err() != nil {
			return "", fmt.Errorf("no ID token in time: %w", ctx.Err())
		}
		return token, err
	}
}
