package taskserver

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
)

// One task through every kind of failure: what each delivery says of those before it.
func TestHeaders(t *testing.T) {
	statuses := []int{http.StatusServiceUnavailable, http.StatusNotFound, http.StatusFound, http.StatusOK}
	var n atomic.Int64
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		if status := statuses[n.Add(1)-1]; status != http.StatusOK {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}
	})
	s := start(t, Options{Signer: func(_ context.Context, account, audience string) (string, error) {
		return account + "|" + audience, nil
	}}, nil)
	client := dial(t, s.Addr())
	at := time.Now().Truncate(time.Microsecond)
	r := x.taskAt("t-1", at.Add(50*time.Millisecond))
	r.Task.GetHttpRequest().Headers = map[string]string{
		"Content-Type": "application/json", "traceparent": "00-1-2-03", "X-Own": "a, b", "Authorization": "mine",
		"User-Agent": "mine", "Host": "example.com", "X-Google-Thing": "x", "X-AppEngine-Thing": "x", "x-cloudtasks-taskretrycount": "77", "Content-Length": "1",
	}
	r.Task.GetHttpRequest().AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{ServiceAccountEmail: "sa"}}
	mustCreate(t, client, r)

	tests := []struct{ retries, executions, previous, reason string }{
		{"0", "0", "", ""},
		{"1", "0", "503", "Unavailable"},
		{"2", "1", "404", "NotFound"},
		{"3", "2", "302", "Unknown"},
	}
	for i, want := range tests {
		g := x.next(t)
		for name, value := range map[string]string{
			"X-CloudTasks-QueueName": "q", "X-CloudTasks-TaskName": "t-1",
			"X-CloudTasks-TaskRetryCount": want.retries, "X-CloudTasks-TaskExecutionCount": want.executions,
			"X-CloudTasks-TaskPreviousResponse": want.previous, "X-CloudTasks-TaskRetryReason": want.reason,
			"User-Agent": "Google-Cloud-Tasks", "Content-Type": "application/json", "Traceparent": "00-1-2-03", "X-Own": "a, b",
			"Authorization": "Bearer sa|" + x.url + "/work", "X-Google-Thing": "", "X-AppEngine-Thing": "", "Content-Length": "7",
		} {
			if got := strings.Join(g.header.Values(name), ";"); got != value {
				t.Errorf("delivery %d: %s = %q, want %q", i, name, got, value)
			}
		}
		if g.method != http.MethodPost || g.path != "/work" || g.body != "payload" {
			t.Errorf("delivery %d: %s %s with %q", i, g.method, g.path, g.body)
		}
		if i == 0 {
			eta, err := strconv.ParseFloat(g.header.Get("X-CloudTasks-TaskETA"), 64)
			if want := float64(at.Add(50*time.Millisecond).UnixMicro()) / 1e6; err != nil || eta < want-1e-3 || eta > want+1e-3 {
				t.Errorf("ETA = %q, want %f", g.header.Get("X-CloudTasks-TaskETA"), want)
			}
		}
	}
	eventually(t, s, "succeeded", func(c Counts) bool { return c.Succeeded == 1 && c.Failed == 3 && c.Attempts == 4 && c.Pending == 0 })
	if len(x.requests) > 0 {
		t.Errorf("%d more deliveries: was the redirect followed?", len(x.requests))
	}
}

func TestAudienceOfTheTokenAndNoSigner(t *testing.T) {
	for _, test := range []struct {
		name   string
		signer func(context.Context, string, string) (string, error)
		want   string
	}{
		{"signer", func(_ context.Context, account, audience string) (string, error) {
			return account + "|" + audience, nil
		}, "Bearer sa|https://aud"},
		{"none", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := newTarget(t, nil)
			s := start(t, Options{Signer: test.signer}, nil)
			r := x.task("t")
			r.Task.GetHttpRequest().AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{
				OidcToken: &cloudtaskspb.OidcToken{ServiceAccountEmail: "sa", Audience: "https://aud"}}
			mustCreate(t, dial(t, s.Addr()), r)
			if got := x.next(t).header.Get("Authorization"); got != test.want {
				t.Errorf("Authorization = %q, want %q", got, test.want)
			}
		})
	}
}

func TestSignerThatFailsIsAFailedAttempt(t *testing.T) {
	var calls atomic.Int64
	s := start(t, Options{Signer: func(context.Context, string, string) (string, error) {
		if calls.Add(1) == 1 {
			return "", errors.New("no key")
		}
		return "token", nil
	}}, nil)
	x := newTarget(t, nil)
	r := x.task("t")
	r.Task.GetHttpRequest().AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{ServiceAccountEmail: "sa"}}
	mustCreate(t, dial(t, s.Addr()), r)
	if g := x.next(t); g.retries() != "1" || g.header.Get("X-CloudTasks-TaskRetryReason") != "Unauthenticated" || g.header.Get("Authorization") != "Bearer token" {
		t.Errorf("the first delivery that arrived has %v", g.header)
	}
}

func TestDeadline(t *testing.T) {
	hung := make(chan struct{})
	var n atomic.Int64
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			<-r.Context().Done() // the client gave up
			close(hung)
		}
	})
	s := start(t, Options{}, func(c *core) { c.timeout = func(time.Duration) time.Duration { return 100 * time.Millisecond } })
	mustCreate(t, dial(t, s.Addr()), x.task("t"))
	if g := x.next(t); g.retries() != "0" {
		t.Errorf("the first delivery is retry %s", g.retries())
	}
	g := x.next(t)
	if g.retries() != "1" || g.header.Get("X-CloudTasks-TaskRetryReason") != "DeadlineExceeded" ||
		g.header.Get("X-CloudTasks-TaskPreviousResponse") != "" || g.header.Get("X-CloudTasks-TaskExecutionCount") != "0" {
		t.Errorf("after the deadline: %v", g.header)
	}
	<-hung
}

func TestDeadlineOfATask(t *testing.T) {
	s := start(t, Options{}, nil)
	client := dial(t, s.Addr())
	task := mustCreate(t, client, (&target{url: "http://127.0.0.1:9"}).taskAt("t", time.Now().Add(time.Hour)))
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	if got := s.core.queues[name("q")].tasks[task.GetName()].deadline(); got != 10*time.Minute {
		t.Errorf("deadline = %v, want 10m", got)
	}
}

func TestNobodyListens(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL
	server.Close()
	now := newClock()
	s := start(t, Options{Now: now.Now}, nil)
	client := dial(t, s.Addr())
	task := mustCreate(t, client, (&target{url: url}).task("t"))
	eventually(t, s, "attempted", func(c Counts) bool { return c.Failed == 1 })
	got, err := client.GetTask(t.Context(), &cloudtaskspb.GetTaskRequest{Name: task.GetName()})
	if err != nil || got.GetDispatchCount() != 1 || got.GetResponseCount() != 0 ||
		codes.Code(got.GetLastAttempt().GetResponseStatus().GetCode()) != codes.Unavailable {
		t.Errorf("GetTask = %v, %v", got, err)
	}
}

func TestLoopbackIsDecidedByTheAddress(t *testing.T) {
	client := newClient(false)
	defer client.CloseIdleConnections()
	response, err := client.Get("http://192.0.2.1/") // a documentation address: nobody is there
	if err == nil {
		_ = response.Body.Close()
		t.Fatal("another machine was called")
	}
	if !strings.Contains(err.Error(), "not on this machine") {
		t.Errorf("the error is %v", err)
	}
}
