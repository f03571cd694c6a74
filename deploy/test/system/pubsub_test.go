package system_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
)

// topics is Google's Pub/Sub emulator, with the topics of one project.
type topics struct {
	addr, project string
	client        *pubsub.Client
}

// startPubSub starts the emulator for the length of the test, or skips it where there is none.
func startPubSub(t *testing.T) string {
	t.Helper()
	addr, _ := pubsubProcess(t)
	return addr
}

// pubsubProcess is startPubSub, and returns the process too.
func pubsubProcess(t *testing.T) (addr string, p *process) {
	t.Helper()
	jar := pubsubJar()
	java, err := exec.LookPath("java")
	if jar == "" || err != nil {
		t.Skip("no Pub/Sub emulator: needs java and the gcloud component pubsub-emulator (apt-get install " +
			"google-cloud-cli-pubsub-emulator, or gcloud components install pubsub-emulator)")
	}
	for range 3 { // the port may be taken in the meantime
		port := freePort(t)
		p := startProcess(t, java, nil, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar", jar, "--host=127.0.0.1",
			fmt.Sprintf("--port=%d", port))
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if p.answers("http://" + addr) {
			return addr, p
		}
		t.Logf("the Pub/Sub emulator did not start: %s", p.out)
	}
	t.Fatal("the Pub/Sub emulator does not start")
	return "", nil
}

// pubsubJar finds the emulator in the gcloud SDK; "" if it is not there.
func pubsubJar() string {
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		return ""
	}
	root, err := exec.Command(gcloud, "info", "--format=value(installation.sdk_root)").Output()
	if err != nil {
		return ""
	}
	found, _ := filepath.Glob(filepath.Join(string(bytes.TrimSpace(root)),
		"platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"))
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// newTopics makes the topics of a project, and a subscription to the ends.
func newTopics(t *testing.T, addr, project string, names ...string) *topics {
	t.Helper()
	client, err := pubsub.NewClient(t.Context(), project, option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	p := &topics{addr: addr, project: project, client: client}
	for _, name := range names {
		_, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: p.topic(name)})
		if err != nil {
			t.Fatalf("creating topic %s: %v", name, err)
		}
	}
	return p
}

func (p *topics) topic(name string) string { return "projects/" + p.project + "/topics/" + name }

func (p *topics) subscription(name string) string {
	return "projects/" + p.project + "/subscriptions/" + name
}

// push makes the subscription by which a deployment calls complete; an empty endpoint makes one to pull from.
func (p *topics) subscribe(t *testing.T, name, topic, endpoint string) {
	t.Helper()
	s := &pubsubpb.Subscription{Name: p.subscription(name), Topic: p.topic(topic), AckDeadlineSeconds: 60}
	if endpoint != "" {
		s.PushConfig = &pubsubpb.PushConfig{PushEndpoint: endpoint}
		s.RetryPolicy = &pubsubpb.RetryPolicy{
			MinimumBackoff: durationpb.New(time.Second), MaximumBackoff: durationpb.New(10 * time.Second),
		}
	}
	if _, err := p.client.SubscriptionAdminClient.CreateSubscription(t.Context(), s); err != nil {
		t.Fatalf("creating subscription %s: %v", name, err)
	}
}

// publish publishes and waits until it is.
func (p *topics) publish(t testing.TB, topic string, data []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := p.client.TopicAdminClient.Publish(ctx, &pubsubpb.PublishRequest{
		Topic: p.topic(topic), Messages: []*pubsubpb.PubsubMessage{{Data: data}},
	})
	if err != nil {
		t.Errorf("publishing to %s: %v", topic, err)
	}
}

// pull takes what is there, without waiting long for more.
func (p *topics) pull(t *testing.T, subscription string) []*pubsubpb.PubsubMessage {
	t.Helper()
	var all []*pubsubpb.PubsubMessage
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		res, err := p.client.SubscriptionAdminClient.Pull(ctx, &pubsubpb.PullRequest{
			Subscription:      p.subscription(subscription),
			MaxMessages:       1000,
			ReturnImmediately: true, //nolint:staticcheck // to wait would hold the emulator's stream for minutes
		})
		cancel()
		if err != nil {
			t.Fatalf("pulling from %s: %v", subscription, err)
		}
		if len(res.GetReceivedMessages()) == 0 {
			return all
		}
		var acks []string
		for _, m := range res.GetReceivedMessages() {
			all = append(all, m.GetMessage())
			acks = append(acks, m.GetAckId())
		}
		if err := p.client.SubscriptionAdminClient.Acknowledge(t.Context(),
			&pubsubpb.AcknowledgeRequest{Subscription: p.subscription(subscription), AckIds: acks}); err != nil {
			t.Fatalf("acknowledging: %v", err)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

var plain = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}

// answers waits until something answers there; it reports false if the process ended first, or nothing did in time.
func (p *process) answers(url string) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, http.NoBody)
		if err != nil {
			return false
		}
		res, err := plain.Do(req)
		if err == nil {
			_ = res.Body.Close()
			return true
		}
		if strings.Contains(err.Error(), "malformed HTTP") {
			return true // it speaks gRPC
		}
		select {
		case <-p.gone:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}
