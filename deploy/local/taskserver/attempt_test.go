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

func oidcToken(account, audience string) *cloudtaskspb.HttpRequest_OidcToken {
	return &cloudtaskspb.HttpRequest_OidcToken{
		OidcToken: &cloudtaskspb.OidcToken{ServiceAccountEmail: account, Audience: audience},
	}
}

// signPlainly is a Signer whose tokens can be read.
func signPlainly(_ context.Context, account, audience string) (string, error) {
	return account + "|" + audience, nil
}

// The headers of each delivery of a task describe the deliveries before it.
func TestHeadersOfEachDelivery(t *testing.T) {
	statuses := []int{http.StatusServiceUnavailable, http.StatusNotFound, http.StatusFound, http.StatusOK}
	var n atomic.Int64
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		if status := statuses[n.Add(1)-1]; status != http.StatusOK {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}
	})
	s := start(t, Options{Signer: signPlainly}, nil)
	client := dial(t, s.Addr())
	at := time.Now().Add(50 * time.Millisecond).Truncate(time.Microsecond)
	r := x.taskAt("t-1", at)
	r.Task.GetHttpRequest().Headers = map[string]string{
		"Authorization":               "mine",
		"Content-Length":              "1",
		"Content-Type":                "application/json",
		"Host":                        "example.com",
		"User-Agent":                  "mine",
		"X-AppEngine-Thing":           "x",
		"X-Google-Thing":              "x",
		"X-Own":                       "a, b",
		"traceparent":                 "00-1-2-03",
		"x-cloudtasks-taskretrycount": "77",
	}
	r.Task.GetHttpRequest().AuthorizationHeader = oidcToken("sa", "")
	mustCreate(t, client, r)

	for i, want := range []struct{ retries, executions, previous, reason string }{
		{"0", "0", "", ""},
		{"1", "0", "503", "Unavailable"},
		{"2", "1", "404", "NotFound"},
		{"3", "2", "302", "Unknown"},
	} {
		d := x.next(t)
		for name, value := range map[string]string{
			"Authorization":                     "Bearer sa|" + x.url + "/work",
			"Content-Length":                    "7",
			"Content-Type":                      "application/json",
			"Traceparent":                       "00-1-2-03",
			"User-Agent":                        "Google-Cloud-Tasks",
			"X-AppEngine-Thing":                 "",
			"X-CloudTasks-QueueName":            "q",
			"X-CloudTasks-TaskExecutionCount":   want.executions,
			"X-CloudTasks-TaskName":             "t-1",
			"X-CloudTasks-TaskPreviousResponse": want.previous,
			"X-CloudTasks-TaskRetryCount":       want.retries,
			"X-CloudTasks-TaskRetryReason":      want.reason,
			"X-Google-Thing":                    "",
			"X-Own":                             "a, b",
		} {
			if got := strings.Join(d.header.Values(name), ";"); got != value {
				t.Errorf("delivery %d: %s is %q, want %q", i, name, got, value)
			}
		}
		if d.method != http.MethodPost || d.path != "/work" || d.body != "payload" {
			t.Errorf("delivery %d is %s %s with %q, want POST /work with payload", i, d.method, d.path, d.body)
		}
		if i == 0 {
			eta, err := strconv.ParseFloat(d.header.Get("X-CloudTasks-TaskETA"), 64)
			if want := float64(at.UnixMicro()) / 1e6; err != nil || eta < want-1e-3 || eta > want+1e-3 {
				t.Errorf("the ETA is %q, want %f", d.header.Get("X-CloudTasks-TaskETA"), want)
			}
		}
	}
	eventually(t, s, "succeeded", func(c Counts) bool {
		return c.Succeeded == 1 && c.Failed == 3 && c.Attempts == 4 && c.Pending == 0
	})
	if n := len(x.deliveries); n > 0 {
		t.Errorf("%d more deliveries, want none: the redirect must not be followed", n)
	}
}

func TestTokenOfATask(t *testing.T) {
	for _, test := range []struct {
		name   string
		signer func(context.Context, string, string) (string, error)
		want   string
	}{
		{"with a signer", signPlainly, "Bearer sa|https://aud"},
		{"without a signer", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := newTarget(t, nil)
			s := start(t, Options{Signer: test.signer}, nil)
			r := x.task("t")
			r.Task.GetHttpRequest().AuthorizationHeader = oidcToken("sa", "https://aud")
			mustCreate(t, dial(t, s.Addr()), r)
			if got := x.next(t).header.Get("Authorization"); got != test.want {
				t.Errorf("Authorization is %q, want %q", got, test.want)
			}
		})
	}
}

func TestAttemptFailsIfTheSignerFails(t *testing.T) {
	var calls atomic.Int64
	s := start(t, Options{Signer: func(context.Context, string, string) (string, error) {
		if calls.Add(1) == 1 {
			return "", errors.New("no key")
		}
		return "token", nil
	}}, nil)
	x := newTarget(t, nil)
	r := x.task("t")
	r.Task.GetHttpRequest().AuthorizationHeader = oidcToken("sa", "")
	mustCreate(t, dial(t, s.Addr()), r)
	d := x.next(t)
	d.want(t, "t", "1")
	if reason := d.header.Get("X-CloudTasks-TaskRetryReason"); reason != "Unauthenticated" {
		t.Errorf("the retry reason is %q, want Unauthenticated", reason)
	}
	if token := d.header.Get("Authorization"); token != "Bearer token" {
		t.Errorf("Authorization is %q, want Bearer token", token)
	}
}

func TestAttemptEndsAtTheDispatchDeadline(t *testing.T) {
	aborted := make(chan struct{})
	var n atomic.Int64
	x := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			<-r.Context().Done()
			close(aborted)
		}
	})
	s := start(t, Options{}, func(c *core) {
		c.timeout = func(time.Duration) time.Duration { return 100 * time.Millisecond }
	})
	mustCreate(t, dial(t, s.Addr()), x.task("t"))
	x.next(t).want(t, "t", "0")
	d := x.next(t)
	d.want(t, "t", "1")
	d.wantHeaders(t, map[string]string{
		"X-CloudTasks-TaskRetryReason":      "DeadlineExceeded",
		"X-CloudTasks-TaskPreviousResponse": "",
		"X-CloudTasks-TaskExecutionCount":   "0",
	})
	<-aborted
}

func TestDefaultDispatchDeadline(t *testing.T) {
	s := start(t, Options{}, nil)
	task := mustCreate(t, dial(t, s.Addr()), later("t"))
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	if got := s.core.queues[name("q")].tasks[task.GetName()].deadline(); got != 10*time.Minute {
		t.Errorf("the deadline is %v, want 10m", got)
	}
}

func TestTargetThatCannotBeReached(t *testing.T) {
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
		t.Errorf("GetTask returned %v, %v; want one attempt that ended as Unavailable", got, err)
	}
}

func TestClientConnectsOnlyToLoopback(t *testing.T) {
	client := newClient(false)
	defer client.CloseIdleConnections()
	response, err := client.Get("http://192.0.2.1/") // an address that is reserved for documentation
	if err == nil {
		_ = response.Body.Close()
		t.Fatal("the client connected to another machine")
	}
	if !strings.Contains(err.Error(), "not on this machine") {
		t.Errorf("the error is %v, want one that says that the address is not on this machine", err)
	}
}
