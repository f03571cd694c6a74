package pubsub_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/events"
	"github.com/casewatch/casewatch/shared/events/pubsub"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const project, endedTopic, deadLetter = "p", "ended", "dead-letter"

// open serves Pub/Sub with the topics and returns a publisher that uses it.
func open(t *testing.T, cfg pubsub.Config, topics ...string) (*pubsub.Publisher, *pstest.Server) {
	t.Helper()
	server := pstest.NewServer()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, topic := range topics {
		name := "projects/" + project + "/topics/" + topic
		if _, err := server.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Project, cfg.EndedTopic = project, endedTopic
	cfg.Source, cfg.EmulatorHost = "/projects/p/casewatch", server.Addr
	p, err := pubsub.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, server
}

func view() cases.View {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := cases.Case{
		Origin:    cases.Origin{CaseID: "c", Run: 3, CreatedAt: begin, DeadlineAt: begin.Add(time.Hour)},
		Version:   4,
		State:     cases.Cancelled,
		UpdatedAt: begin,
		Outcome: cases.Outcome{
			EndedAt: begin.Add(time.Minute),
			End:     &cases.End{Reason: cases.ReasonCancelled, Source: cases.SourceCancel},
		},
	}
	return c.View(begin, nil, nil)
}

// arrived returns the only message on the server.
func arrived(t *testing.T, server *pstest.Server) *pstest.Message {
	t.Helper()
	messages := server.Messages()
	if len(messages) != 1 {
		t.Fatalf("%d messages arrived, want 1", len(messages))
	}
	return messages[0]
}

func TestPublishEnded(t *testing.T) {
	p, server := open(t, pubsub.Config{DeadLetterTopic: deadLetter}, endedTopic, deadLetter)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if err := p.PublishEnded(t.Context(), view(), trace); err != nil {
		t.Fatal(err)
	}
	want, err := events.EncodeEnded("/projects/p/casewatch", view(), trace)
	if err != nil {
		t.Fatal(err)
	}
	got := arrived(t, server)
	if !cmp.Equal(got.Data, want.Data) || !cmp.Equal(got.Attributes, want.Attributes) ||
		got.Topic != "projects/p/topics/ended" {
		t.Errorf("%s %s %v", got.Topic, got.Data, got.Attributes)
	}
	// A repeated publication is the same event.
	if err := p.PublishEnded(t.Context(), view(), trace); err != nil {
		t.Fatal(err)
	}
	if all := server.Messages(); len(all) != 2 || all[0].Attributes["ce-id"] != "c:3:ended" ||
		all[1].Attributes["ce-id"] != "c:3:ended" {
		t.Errorf("%+v", all)
	}
	open := view()
	open.EndedAt = nil
	if err := p.PublishEnded(t.Context(), open, trace); err == nil {
		t.Error("the end of an open run was published")
	}
}

func TestForwardInvalid(t *testing.T) {
	many := func(n int) map[string]string {
		all := map[string]string{}
		for i := range n {
			all[fmt.Sprintf("a%03d", i)] = "é"
		}
		return all
	}
	for _, test := range []struct {
		name       string
		data       string
		attributes map[string]string
		why        string
		wantData   string
		wantWhy    string
		want       map[string]string // further attributes
	}{
		{"unchanged", "not \xff JSON \x00", map[string]string{"a": "é"}, "not JSON", "not \xff JSON \x00",
			"not JSON", map[string]string{"a": "é"}},
		{"no data", "", nil, "empty", "null", "empty", nil},
		{"a long reason", "x", nil, strings.Repeat("y", 5000), "x", strings.Repeat("y", 1024), nil},
		{"a long reason, cut within a character", "x", nil, "y" + strings.Repeat("é", 3000), "x",
			"y" + strings.Repeat("é", 511), nil},
		{"a reason that is not UTF-8", "x", nil, "a\xff\xfeb", "x", "ab", nil},
		{"no reason", "x", nil, "", "x", "", nil},
		{"forwarded before", "x", map[string]string{"casewatch-error": "before"}, "now", "x", "now", nil},
		{"99 attributes", "x", many(99), "why", "x", "why", many(99)},
		{"100 attributes", "x", many(100), "why", "x", "why", many(99)},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, server := open(t, pubsub.Config{DeadLetterTopic: deadLetter}, endedTopic, deadLetter)
			before := maps.Clone(test.attributes)
			if err := p.ForwardInvalid(t.Context(), []byte(test.data), test.attributes, test.why); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"casewatch-error": test.wantWhy}
			maps.Copy(want, test.want)
			got := arrived(t, server)
			if string(got.Data) != test.wantData || got.Topic != "projects/p/topics/dead-letter" {
				t.Errorf("%s: %q", got.Topic, got.Data)
			}
			if diff := cmp.Diff(want, got.Attributes); diff != "" {
				t.Error(diff)
			}
			for name, value := range got.Attributes {
				if len(value) > 1024 || !utf8.ValidString(value) {
					t.Errorf("Pub/Sub would reject the attribute %s: %q", name, value)
				}
			}
			if !maps.Equal(before, test.attributes) {
				t.Error("the caller's attributes were changed")
			}
		})
	}
}

func TestErrors(t *testing.T) {
	p, server := open(t, pubsub.Config{DeadLetterTopic: deadLetter})
	for name, err := range map[string]error{
		"ended":       p.PublishEnded(t.Context(), view(), ""),
		"dead-letter": p.ForwardInvalid(t.Context(), []byte("x"), nil, "why"),
	} {
		if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "publish to projects/p/topics/"+name) {
			t.Errorf("topic %s is missing: got %v, want NotFound", name, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.PublishEnded(cancelled, view(), ""); err == nil {
		t.Error("the event was published after its context ended")
	}
	if n := len(server.Messages()); n != 0 {
		t.Errorf("%d messages arrived, want none", n)
	}
	without, _ := open(t, pubsub.Config{}, endedTopic)
	if err := without.ForwardInvalid(t.Context(), []byte("x"), nil, "why"); err == nil {
		t.Error("ForwardInvalid succeeded without a dead-letter topic")
	}
	if err := without.PublishEnded(t.Context(), view(), ""); err != nil {
		t.Error(err)
	}
}

// A publisher finds a topic that is created later, so a failure does not last.
func TestAfterAFailure(t *testing.T) {
	p, server := open(t, pubsub.Config{})
	if err := p.PublishEnded(t.Context(), view(), ""); err == nil {
		t.Fatal("publishing succeeded without a topic")
	}
	if _, err := server.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/p/topics/ended"}); err != nil {
		t.Fatal(err)
	}
	if err := p.PublishEnded(t.Context(), view(), ""); err != nil {
		t.Error(err)
	}
	arrived(t, server)
}

// Without a server, a call ends with its context, and Close leaves no goroutine. TestMain checks
// that.
func TestNothingListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := pubsub.New(t.Context(), pubsub.Config{Project: project, EndedTopic: endedTopic, EmulatorHost: addr})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := p.PublishEnded(ctx, view(), ""); err == nil || time.Since(begin) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	if err := p.Close(); err != nil || time.Since(begin) > 10*time.Second {
		t.Errorf("Close: %v after %v", err, time.Since(begin))
	}
}
