package pubsubserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/deploy/local/pubsubserver"
)

func TestMain(m *testing.M) {
	// Google's client imports OpenCensus. Its init function starts one worker, which cannot be
	// stopped.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const project = "demo-project"

func start(t *testing.T, o pubsubserver.Options) *pubsubserver.Server {
	t.Helper()
	o.Project = project
	o.Logger = slog.New(slog.DiscardHandler)
	s, err := pubsubserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// routes returns the routes of one topic to some targets.
func routes(topic string, targets ...string) []pubsubserver.Route {
	var all []pubsubserver.Route
	for _, target := range targets {
		all = append(all, pubsubserver.Route{Topic: topic, Target: target})
	}
	return all
}

// client returns Google's client, which finds the server by PUBSUB_EMULATOR_HOST.
func client(t *testing.T, s *pubsubserver.Server) *pubsub.Client {
	t.Helper()
	t.Setenv("PUBSUB_EMULATOR_HOST", s.Addr())
	c, err := pubsub.NewClient(t.Context(), project)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was received within 10 s")
		panic("unreachable")
	}
}

type delivery struct {
	method, uri string
	header      http.Header
	body        []byte
}

func TestDeliveryMatchesEventarc(t *testing.T) {
	got := make(chan delivery, 1)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- delivery{r.Method, r.URL.RequestURI(), r.Header, body}
	}))
	t.Cleanup(target.Close)
	s := start(t, pubsubserver.Options{Routes: routes("events", target.URL+"/complete?a=b")})
	c := client(t, s)

	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	publisher := c.Publisher("events")
	t.Cleanup(publisher.Stop)
	id, err := publisher.Publish(t.Context(), &pubsub.Message{
		Data:       []byte(`{"case_id":"a"}`),
		Attributes: map[string]string{"googclient_traceparent": trace, "traceparent": "not one", "k": "ü"},
	}).Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := receive(t, got)

	wantURI := "/complete?__GCP_CloudEventsMode=CE_PUBSUB_BINDING&a=b"
	if d.method != http.MethodPost || d.uri != wantURI {
		t.Errorf("the request is %s %s, want POST %s", d.method, d.uri, wantURI)
	}
	at := d.header.Get("Ce-Time")
	if _, err := time.Parse(time.RFC3339, at); err != nil {
		t.Error(err)
	}
	wantHeader := http.Header{
		"Accept-Encoding": {"gzip"}, "Content-Length": d.header["Content-Length"],
		"Content-Type":   {"application/json"},
		"User-Agent":     {"APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)"},
		"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Time": {at},
		"Ce-Type":     {"google.cloud.pubsub.topic.v1.messagePublished"},
		"Ce-Source":   {"//pubsub.googleapis.com/projects/demo-project/topics/events"},
		"Traceparent": {trace},
	}
	if diff := cmp.Diff(wantHeader, d.header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	want := map[string]any{
		"message": map[string]any{
			"data":         "eyJjYXNlX2lkIjoiYSJ9",
			"attributes":   map[string]any{"googclient_traceparent": trace, "traceparent": "not one", "k": "ü"},
			"messageId":    id,
			"message_id":   id,
			"publishTime":  at,
			"publish_time": at,
		},
		"subscription": "projects/demo-project/subscriptions/eventarc-local-events-1",
	}
	var body map[string]any
	if err := json.Unmarshal(d.body, &body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestDeliveryMatchesAPushSubscription(t *testing.T) {
	got := make(chan delivery, 10)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- delivery{r.Method, r.URL.RequestURI(), r.Header, body}
		if r.Header.Get("Authorization") != "Bearer token 3 of push@demo for http://"+r.Host {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(target.Close)
	var signed atomic.Int64
	s := start(t, pubsubserver.Options{
		MinBackoff: time.Millisecond,
		Routes: []pubsubserver.Route{{
			Topic: "events", Target: target.URL + "/complete?a=b", Push: true,
			ServiceAccount: "push@demo", Audience: target.URL,
		}},
		Signer: func(_ context.Context, account, audience string) (string, error) {
			n := signed.Add(1)
			if n == 1 {
				return "", errors.New("the first token cannot be signed")
			}
			return fmt.Sprintf("token %d of %s for %s", n, account, audience), nil
		},
	})
	publisher := client(t, s).Publisher("events")
	t.Cleanup(publisher.Stop)
	id, err := publisher.Publish(t.Context(), &pubsub.Message{Data: []byte(`{"case_id":"a"}`)}).Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rejected, accepted := receive(t, got), receive(t, got)
	wantToken := "Bearer token 2 of push@demo for " + target.URL
	if gotToken := rejected.header.Get("Authorization"); gotToken != wantToken {
		t.Errorf("the first delivery has the token %q, want %q", gotToken, wantToken)
	}
	if accepted.uri != "/complete?a=b" {
		t.Errorf("the second delivery is for %s, want /complete?a=b", accepted.uri)
	}
	wantHeader := http.Header{
		"Accept-Encoding": {"gzip"}, "Content-Length": accepted.header["Content-Length"],
		"Content-Type":  {"application/json"},
		"User-Agent":    {"APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)"},
		"Authorization": {"Bearer token 3 of push@demo for " + target.URL},
	}
	if diff := cmp.Diff(wantHeader, accepted.header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	for _, want := range []string{
		`"messageId":"` + id + `"`,
		`"subscription":"projects/demo-project/subscriptions/push-local-events-1"`,
	} {
		if body := string(accepted.body); !strings.Contains(body, want) {
			t.Errorf("the body %s does not contain %s", body, want)
		}
	}
}

func TestHandlerPublishes(t *testing.T) {
	bodies := make(chan []byte, 1)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies <- b
	}))
	t.Cleanup(target.Close)
	s := start(t, pubsubserver.Options{Routes: routes("projects/demo-project/topics/events", target.URL)})

	for _, tc := range []struct {
		name, method, topic string
		body                io.Reader
		header              http.Header
		want                int
	}{
		{"published", http.MethodPost, "events", strings.NewReader(`{"case_id":"a"}`), nil, 200},
		{"empty", http.MethodPost, "events", strings.NewReader(""), nil, 400},
		{"too large", http.MethodPost, "events", bytes.NewReader(make([]byte, 10_000_001)), nil, 413},
		{"unknown topic", http.MethodPost, "other", strings.NewReader("x"), nil, 404},
		{"wrong method", http.MethodGet, "events", nil, nil, 405},
		{
			"page of another origin", http.MethodPost, "events", strings.NewReader("x"),
			http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, "/", tc.body)
			maps.Copy(r.Header, tc.header)
			w := httptest.NewRecorder()
			s.Handler(tc.topic).ServeHTTP(w, r)
			if w.Code != tc.want {
				t.Fatalf("status %d %s, want %d", w.Code, w.Body, tc.want)
			}
			if tc.want == 405 && w.Header().Get("Allow") != "POST" {
				t.Errorf("Allow is %q, want POST", w.Header().Get("Allow"))
			}
			if tc.want != 200 {
				return
			}
			var answer struct{ MessageID string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.MessageID == "" {
				t.Errorf("the answer is %s (%v), want one with a message id", w.Body, err)
			}
			want := `"data":"eyJjYXNlX2lkIjoiYSJ9","attributes":{},"messageId":"` + answer.MessageID + `"`
			if body := receive(t, bodies); !bytes.Contains(body, []byte(want)) {
				t.Errorf("delivered %s, want a body with %s", body, want)
			}
		})
	}
}

func publish(t *testing.T, s *pubsubserver.Server, topic, data string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler(topic).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(data)))
	if w.Code != http.StatusOK {
		t.Fatalf("publish: %d %s, want 200", w.Code, w.Body)
	}
}

func TestDeliveryIsRepeatedUntil2xx(t *testing.T) {
	type attempt struct {
		id string
		at time.Time
	}
	attempts := make(chan attempt, 10)
	answers := []int{500, 429, 302, 404, 204}
	var n atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		attempts <- attempt{r.Header.Get("Ce-Id"), time.Now()}
		if i := int(n.Add(1)); i <= len(answers) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(answers[i-1])
		}
	}))
	t.Cleanup(target.Close)
	s := start(t, pubsubserver.Options{
		Routes:     routes("events", target.URL),
		MinBackoff: 10 * time.Millisecond,
		MaxBackoff: 40 * time.Millisecond,
	})
	publish(t, s, "events", "{}")

	var got []attempt
	for range answers {
		got = append(got, receive(t, attempts))
	}
	for i, minWait := range []time.Duration{10, 20, 40, 40} {
		if wait := got[i+1].at.Sub(got[i].at); wait < minWait*time.Millisecond {
			t.Errorf("attempt %d was made after %v, want at least %d ms", i+2, wait, minWait)
		}
		if got[i+1].id != got[0].id {
			t.Errorf("attempt %d has id %q, want %q as the first", i+2, got[i+1].id, got[0].id)
		}
	}
	// The next delivery is one of the next message: the first message was acknowledged.
	publish(t, s, "events", "{}")
	if next := receive(t, attempts); next.id == got[0].id {
		t.Error("the message was delivered again after 204")
	}
}

func TestDeliveryEndsAtTheAckDeadline(t *testing.T) {
	var n atomic.Int64
	second := make(chan string, 1)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		second <- r.Header.Get("Ce-Id")
	}))
	t.Cleanup(target.Close)
	s := start(t, pubsubserver.Options{
		Routes:      routes("events", target.URL),
		AckDeadline: 50 * time.Millisecond,
		MinBackoff:  time.Millisecond,
	})
	publish(t, s, "events", "{}")
	receive(t, second)
}

func TestEachRouteGetsEveryMessageOnce(t *testing.T) {
	const events, concurrency = 200, 20
	var mu sync.Mutex
	got := map[string]int{}
	done := make(chan struct{})
	var inFlight, maxInFlight atomic.Int64
	handler := func(_ http.ResponseWriter, r *http.Request) {
		if n := inFlight.Add(1); n > maxInFlight.Load() {
			maxInFlight.Store(n)
		}
		defer inFlight.Add(-1)
		var body struct{ Message struct{ Data []byte } }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got[r.URL.Path+string(body.Message.Data)]++
		if len(got) == 2*events {
			close(done)
		}
	}
	target := httptest.NewServer(http.HandlerFunc(handler))
	t.Cleanup(target.Close)
	s := start(t, pubsubserver.Options{
		Routes:      routes("events", target.URL+"/a/", target.URL+"/b/"),
		Concurrency: concurrency,
	})
	publisher := client(t, s).Publisher("events")
	t.Cleanup(publisher.Stop)
	var wg sync.WaitGroup
	for i := range events {
		wg.Go(func() {
			message := &pubsub.Message{Data: fmt.Append(nil, i)}
			if _, err := publisher.Publish(t.Context(), message).Get(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	receive(t, done)
	mu.Lock()
	defer mu.Unlock()
	for message, n := range got {
		if n != 1 {
			t.Errorf("%s was delivered %d times, want once", message, n)
		}
	}
	if n := maxInFlight.Load(); n > 2*concurrency {
		t.Errorf("%d deliveries at the same time, want at most %d", n, 2*concurrency)
	}
}

func TestCloseAbortsDeliveries(t *testing.T) {
	arrived, aborted := make(chan struct{}, 3), make(chan struct{}, 3)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
		aborted <- struct{}{}
	}))
	t.Cleanup(target.Close)
	s := start(t, pubsubserver.Options{
		Routes:      append(routes("events", target.URL), routes("refused", "http://127.0.0.1:1")...),
		Concurrency: 3,
	})
	for range 10 {
		publish(t, s, "events", "{}")
		publish(t, s, "refused", "{}")
	}
	for range 3 {
		receive(t, arrived)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	if err := receive(t, closed); err != nil {
		t.Error(err)
	}
	for range 3 {
		receive(t, aborted)
	}
	w := httptest.NewRecorder()
	s.Handler("events").ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}")))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("publish after Close: %d, want 503", w.Code)
	}
}

func TestStartRejectsInvalidOptions(t *testing.T) {
	withoutSigner := []pubsubserver.Route{{Topic: "events", Target: "http://127.0.0.1:1", ServiceAccount: "x"}}
	for _, test := range []struct {
		name    string
		options pubsubserver.Options
		want    []string // each is in the error
	}{
		{
			"several",
			pubsubserver.Options{Addr: "0.0.0.0:0", Topics: []string{"x"}, Routes: routes("events", "/complete")},
			[]string{"Project", "0.0.0.0:0", `"x"`, `"/complete"`},
		},
		{
			"service account without a signer",
			pubsubserver.Options{Project: project, Routes: withoutSigner},
			[]string{"Signer"},
		},
		{
			"port in use",
			pubsubserver.Options{Project: project, Addr: start(t, pubsubserver.Options{}).Addr()},
			[]string{"address already in use"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := pubsubserver.Start(t.Context(), test.options)
			if err == nil {
				t.Fatal("the server started, want an error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %q, want one that contains %q", err, want)
				}
			}
		})
	}
}

func TestOtherProgramsCanSubscribe(t *testing.T) {
	s := start(t, pubsubserver.Options{Topics: []string{"ended"}})
	c := client(t, s)
	name := "projects/" + project + "/subscriptions/mine"
	if _, err := c.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{
		Name: name, Topic: "projects/" + project + "/topics/ended",
	}); err != nil {
		t.Fatal(err)
	}
	publish(t, s, "ended", "hello")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		response, err := c.SubscriptionAdminClient.Pull(ctx, &pubsubpb.PullRequest{Subscription: name, MaxMessages: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(response.ReceivedMessages) > 0 {
			if data := string(response.ReceivedMessages[0].Message.Data); data != "hello" {
				t.Errorf("received %q, want hello", data)
			}
			return
		}
	}
}
