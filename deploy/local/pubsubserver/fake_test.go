package pubsubserver

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// begin starts a server with one route to a target that answers what answers yields.
func begin(t *testing.T, answers <-chan int) *Server {
	t.Helper()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(<-answers) }))
	t.Cleanup(target.Close)
	s, err := Start(t.Context(), Options{
		Project: "demo", Routes: []Route{{Topic: "events", Target: target.URL}}, Topics: []string{"unread"},
		MinBackoff: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
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
		t.Fatal(w.Code, w.Body)
	}
}

func TestOnlyAcknowledgedMessagesAreCleared(t *testing.T) {
	answers := make(chan int)
	s := begin(t, answers)
	s.post(t, "events")
	s.post(t, "unread") // nobody subscribes: nobody waits for it
	if s.clear(t.Context(), 0) {
		t.Fatal("cleared while a delivery is open")
	}
	answers <- 500
	if s.clear(t.Context(), 0) {
		t.Fatal("cleared while a message waits for its next delivery")
	}
	answers <- 200
	if !s.clear(t.Context(), 10*time.Second) {
		t.Fatal("not cleared")
	}
	if n, kept := len(s.fake.Messages()), s.kept.Load(); n != 0 || kept != 0 {
		t.Errorf("%d messages and %d bytes are kept", n, kept)
	}
	// The route goes on as before.
	s.post(t, "events")
	answers <- 200
	if !s.clear(t.Context(), 10*time.Second) {
		t.Error("not cleared a second time")
	}
}

func TestNothingIsClearedBesideOtherSubscriptions(t *testing.T) {
	s := begin(t, make(chan int))
	if _, err := s.client.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{
		Name: "projects/demo/subscriptions/other", Topic: "projects/demo/topics/unread",
	}); err != nil {
		t.Fatal(err)
	}
	s.post(t, "unread")
	if s.clear(t.Context(), 0) || len(s.fake.Messages()) != 1 {
		t.Error("the message is gone")
	}
}

func TestRetentionEnds(t *testing.T) {
	answers := make(chan int)
	s := begin(t, answers)
	s.opts.Retention = time.Nanosecond // read by deliveries only, and none is under way
	s.post(t, "events")
	answers <- 500
	if !s.clear(t.Context(), 10*time.Second) {
		t.Error("a message past its retention is still delivered")
	}
}

func TestMessageIDsDoNotComeAgain(t *testing.T) {
	first, second := Server{epoch: 1764000000000}, Server{epoch: 1764000000001}
	if a, b := first.messageID("m7"), second.messageID("m7"); a != "1764000000000000000007" || a == b {
		t.Errorf("%s, %s", a, b)
	}
	if id := first.messageID("other"); id != "1764000000000-other" {
		t.Error(id)
	}
}
