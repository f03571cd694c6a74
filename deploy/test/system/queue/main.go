// Command queue is the local Cloud Tasks server as a process of its own, which a test can kill. DIR
// is where it keeps its tasks, ADDR where it listens, QUEUES the full names of its queues, and
// SIGNER the URL that answers with the ID token of an account for an audience.
package main

import (
	"context"
	"fmt"
	"io"
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

	"github.com/casewatch/casewatch/deploy/local/taskserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := serve(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "queue:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context) error {
	var queues []*cloudtaskspb.Queue
	for name := range strings.FieldsSeq(os.Getenv("QUEUES")) {
		queues = append(queues, &cloudtaskspb.Queue{
			Name:       name,
			RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 500, MaxConcurrentDispatches: 1000},
			RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: -1, MinBackoff: durationpb.New(time.Second),
				MaxBackoff: durationpb.New(10 * time.Second), MaxDoublings: 4},
		})
	}
	server, err := taskserver.Open(taskserver.Options{
		Dir: os.Getenv("DIR"), Addr: os.Getenv("ADDR"), Queues: queues, Signer: sign,
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	return server.Close(cut)
}

var client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// tokens are those that were signed, by account and audience. They are good for an hour, longer
// than any test, and Cloud Tasks uses its own again too.
var tokens sync.Map

// sign returns a token, and asks whoever holds the key for the first.
func sign(ctx context.Context, account, audience string) (string, error) {
	to := [2]string{account, audience}
	if token, ok := tokens.Load(to); ok {
		return token.(string), nil
	}
	token, err := signNow(ctx, account, audience)
	if err == nil {
		tokens.Store(to, token)
	}
	return token, err
}

func signNow(ctx context.Context, account, audience string) (string, error) {
	to := os.Getenv("SIGNER") + "?" + url.Values{"account": {account}, "audience": {audience}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, http.NoBody)
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
	return string(token), err
}
