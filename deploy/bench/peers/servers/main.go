// Command servers is, as SERVE says, the local Cloud Tasks server (tasks) or the local Pub/Sub server (pubsub), at ADDR. SIGNER is the URL that
// answers with the ID token of an account for an audience. Tasks are kept in DIR; QUEUES are the full names of the queues. Pub/Sub has the PROJECT's
// topics EVENTS, whose messages are pushed to TARGET by ACCOUNT for AUDIENCE, and TOPICS.
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

// tasks delivers as fast as a queue of Cloud Tasks may: 500 a second, 5,000 at once (https://cloud.google.com/tasks/docs/quotas).
func tasks(ctx context.Context) error {
	var queues []*cloudtaskspb.Queue
	for name := range strings.FieldsSeq(os.Getenv("QUEUES")) {
		queues = append(queues, &cloudtaskspb.Queue{
			Name:        name,
			RateLimits:  &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 500, MaxConcurrentDispatches: 5000},
			RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: -1, MinBackoff: durationpb.New(time.Second), MaxBackoff: durationpb.New(time.Minute), MaxDoublings: 6},
		})
	}
	server, err := taskserver.Open(taskserver.Options{Dir: os.Getenv("DIR"), Addr: os.Getenv("ADDR"), Queues: queues, Signer: sign, Logger: log})
	if err != nil {
		return err
	}
	<-ctx.Done()
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	_ = server.Close(cut) // it says that attempts were cut
	return nil
}

func pubsub(ctx context.Context) error {
	server, err := pubsubserver.Start(ctx, pubsubserver.Options{
		Project: os.Getenv("PROJECT"), Addr: os.Getenv("ADDR"), Topics: strings.Fields(os.Getenv("TOPICS")), Signer: sign, Logger: log,
		Routes: []pubsubserver.Route{{
			Topic: os.Getenv("EVENTS"), Target: os.Getenv("TARGET"), Push: true, ServiceAccount: os.Getenv("ACCOUNT"), Audience: os.Getenv("AUDIENCE"),
		}},
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return server.Close()
}

var client = &http.Client{Timeout: 10 * time.Second}

// signed are the tokens that there are, by account and audience. They are good for an hour, longer than a run, and Google's servers use theirs again too.
var signed = struct {
	sync.Mutex
	tokens map[[2]string]string
}{tokens: map[[2]string]string{}}

// sign returns a token, and asks whoever holds the key for the first.
func sign(ctx context.Context, account, audience string) (string, error) {
	to := [2]string{account, audience}
	signed.Lock()
	defer signed.Unlock()
	if token := signed.tokens[to]; token != "" {
		return token, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv("SIGNER")+"?"+url.Values{"account": {account}, "audience": {audience}}.Encode(), http.NoBody)
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
