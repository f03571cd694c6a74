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

func TestClearWaitsUntilAllMessagesAreAcknowledged(t *testing.T) {
	answers := make(chan int)
	s := begin(t, answers)
	s.post(t, "events")
	s.post(t, "unread") // without a subscription no acknowledgement is missing
	if s.tryClear(t.Context(), 0) {
		t.Fatal("cleared during a delivery")
	}
	answers <- 500
	if s.tryClear(t.Context(), 0) {
		t.Fatal("cleared before the retry of a failed delivery")
	}
	answers <- 200
	if !s.tryClear(t.Context(), 10*time.Second) {
		t.Fatal("not cleared, although all messages are acknowledged")
	}
	if n, bytes := len(s.fake.Messages()), s.keptBytes.Load(); n != 0 || bytes != 0 {
		t.Errorf("after the clear %d messages of %d bytes are kept, want none", n, bytes)
	}
	// The route still delivers.
	s.post(t, "events")
	answers <- 200
	if !s.tryClear(t.Context(), 10*time.Second) {
		t.Error("not cleared a second time")
	}
}

func TestNothingIsClearedWithOtherSubscriptions(t *testing.T) {
	s := begin(t, make(chan int))
	if _, err := s.client.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{
		Name: "projects/demo/subscriptions/other", Topic: "projects/demo/topics/unread",
	}); err != nil {
		t.Fatal(err)
	}
	s.post(t, "unread")
	if s.tryClear(t.Context(), 0) || len(s.fake.Messages()) != 1 {
		t.Error("the message of another program's subscription was cleared")
	}
}

func TestMessageIsDroppedAfterItsRetention(t *testing.T) {
	answers := make(chan int)
	s := begin(t, answers)
	s.opts.Retention = time.Nanosecond // no race: only deliveries read it, and there is none yet
	s.post(t, "events")
	answers <- 500
	if !s.tryClear(t.Context(), 10*time.Second) {
		t.Error("a message older than its retention is still delivered")
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
