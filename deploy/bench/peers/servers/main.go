// Command servers is the local Cloud Tasks server (SERVE=tasks) or the local Pub/Sub server
// (SERVE=pubsub), at ADDR. SIGNER is a URL that returns the ID token of an account for an audience.
//
// The Cloud Tasks server stores tasks in DIR. QUEUES lists the full names of the queues.
//
// The Pub/Sub server has the topics EVENTS and TOPICS of PROJECT. It pushes the messages of EVENTS
// to TARGET, with tokens of ACCOUNT for AUDIENCE.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/casewatch/casewatch/deploy/local/pubsubserver"
	"github.com/casewatch/casewatch/deploy/local/taskserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := serve(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "servers:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context) error {
	switch what := os.Getenv("SERVE"); what {
	case "tasks":
		return tasks(ctx)
	case "pubsub":
		return pubsub(ctx)
	default:
		return fmt.Errorf("SERVE is %q, not tasks or pubsub", what)
	}
}

var log = slog.New(slog.NewTextHandler(os.Stderr, nil))

// tasks serves queues with the limits of Cloud Tasks: 500 deliveries a second, 5,000 at the same
// time (https://cloud.google.com/tasks/docs/quotas).
func tasks(ctx context.Context) error {
	var queues []*cloudtaskspb.Queue
	for name := range strings.FieldsSeq(os.Getenv("QUEUES")) {
		queues = append(queues, &cloudtaskspb.Queue{
			Name:       name,
			RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 500, MaxConcurrentDispatches: 5000},
			RetryConfig: &cloudtaskspb.RetryConfig{
				MaxAttempts: -1, MaxDoublings: 6,
				MinBackoff: durationpb.New(time.Second), MaxBackoff: durationpb.New(time.Minute),
			},
		})
	}
	server, err := taskserver.Open(taskserver.Options{
		Dir: os.Getenv("DIR"), Addr: os.Getenv("ADDR"), Queues: queues, Signer: sign, Logger: log,
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	_ = server.Close(cut) // the error says that deliveries were cut off
	return nil
}

// pubsub serves topics, and pushes the messages of one of them.
func pubsub(ctx context.Context) error {
	server, err := pubsubserver.Start(ctx, pubsubserver.Options{
		Project: os.Getenv("PROJECT"), Addr: os.Getenv("ADDR"), Topics: strings.Fields(os.Getenv("TOPICS")),
		Signer: sign, Logger: log,
		Routes: []pubsubserver.Route{{
			Topic: os.Getenv("EVENTS"), Target: os.Getenv("TARGET"), Push: true,
			ServiceAccount: os.Getenv("ACCOUNT"), Audience: os.Getenv("AUDIENCE"),
		}},
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return server.Close()
}

var client = &http.Client{Timeout: 10 * time.Second}

// signed holds the tokens by account and audience. A token is valid for an hour, which is longer
// than a run. Google's servers reuse their tokens too.
var signed = struct {
	sync.Mutex
	tokens map[[2]string]string
}{tokens: map[[2]string]string{}}

// sign returns the token of an account for an audience. It gets the first one from SIGNER.
func sign(ctx context.Context, account, audience string) (string, error) {
	to := [2]string{account, audience}
	signed.Lock()
	defer signed.Unlock()
	if token := signed.tokens[to]; token != "" {
		return token, nil
	}
	query := url.Values{"account": {account}, "audience": {audience}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv("SIGNER")+"?"+query, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	token, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the signer answers %s", res.Status)
	}
	if err == nil {
		signed.tokens[to] = string(token)
	}
	return string(token), err
}
