package pubsubserver

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// begin starts a server with one route. Its target answers each delivery with the next status of
// answers.
func begin(t *testing.T, answers <-chan int) *Server {
	t.Helper()
	answer := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(<-answers) }
	target := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(target.Close)
	s, err := Start(t.Context(), Options{
		Project:    "demo",
		Routes:     []Route{{Topic: "events", Target: target.URL}},
		Topics:     []string{"unread"},
		MinBackoff: time.Millisecond,
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *Server) post(t *testing.T, topic string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler(topic).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x")))
	if w.Code != 200 {
		t.Fatalf("publish: %d %s, want 200", w.Code, w.Body)
	}
}

// kept is how many messages the fake keeps.
func (s *Server) kept() int { return len(s.fake.Messages()) }

func TestFakeIsClearedAndDeliveriesGoOn(t *testing.T) {
	answers := make(chan int)
	s := begin(t, answers)
	s.post(t, "events")
	s.post(t, "unread")
	if n := s.kept(); n != 2 {
		t.Fatalf("%d messages are kept, want 2", n)
	}
	s.keptBytes.Add(clearThreshold)
	s.post(t, "events")
	if n, bytes := s.kept(), s.keptBytes.Load(); n != 0 || bytes != 0 {
		t.Errorf("after the clear %d messages of %d bytes are kept, want none", n, bytes)
	}
	// Two deliveries, one of which fails at first.
	for _, status := range []int{500, 200, 200} {
		select {
		case answers <- status:
		case <-time.After(10 * time.Second):
			t.Fatal("a message that was cleared is not delivered")
		}
	}
}

func TestNothingIsClearedWithSubscriptions(t *testing.T) {
	s := begin(t, make(chan int))
	t.Setenv("PUBSUB_EMULATOR_HOST", s.Addr())
	client, err := pubsub.NewClient(t.Context(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{
		Name: "projects/demo/subscriptions/other", Topic: "projects/demo/topics/unread",
	}); err != nil {
		t.Fatal(err)
	}
	s.keptBytes.Add(clearThreshold)
	s.post(t, "unread")
	if n := s.kept(); n != 1 {
		t.Fatalf("%d messages are kept, want the one of the program's subscription", n)
	}
	pulled, err := client.SubscriptionAdminClient.Pull(t.Context(), &pubsubpb.PullRequest{
		Subscription: "projects/demo/subscriptions/other", MaxMessages: 1,
	})
	if err != nil || len(pulled.ReceivedMessages) != 1 {
		t.Errorf("pulled %v, %v, want one message", pulled, err)
	}
}

func TestMessageIsDroppedAfterItsRetention(t *testing.T) {
	answers := make(chan int)
	s := begin(t, answers)
	s.opts.Retention = time.Nanosecond // no race: only deliveries read it, and there is none yet
	s.post(t, "events")
	answers <- 500
	s.post(t, "events") // its first delivery is the next: the first message is not delivered again
	answers <- 500
	select {
	case answers <- 200:
		t.Error("a message older than its retention is still delivered")
	case <-time.After(100 * time.Millisecond): // a hundred times the back-off
	}
}

func TestMessageIDsAreUniqueAcrossRestarts(t *testing.T) {
	first, second := Server{epoch: 1764000000000}, Server{epoch: 1764000000001}
	a, b := first.messageID("m7"), second.messageID("m7")
	if a != "1764000000000000000007" || a == b {
		t.Errorf("ids are %s and %s, want 1764000000000000000007 and another", a, b)
	}
	if got, want := first.messageID("other"), "1764000000000-other"; got != want {
		t.Errorf("the id of an unknown form is %s, want %s", got, want)
	}
}
