package taskserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxDrain is the number of bytes of a response that are read, so that its connection can be
// reused.
const maxDrain = 64 << 10

// attempt is one delivery of a task. retries, executed, previous and reason describe the attempts
// before it.
type attempt struct {
	task     *task
	at       time.Time // when it was due
	began    time.Time
	forced   bool              // by RunTask
	retries  int32             // attempts that began
	executed int32             // attempts that got a response other than 5xx
	previous int               // HTTP status of the last response; 0 if none
	reason   *rpcstatus.Status // how the last attempt ended; nil for the first, and after an interrupted one
	recorded *batch            // done when the attempt is written
}

// outcome is the result of an attempt.
type outcome struct {
	code       codes.Code
	http       int // 0 without a response
	retryAfter time.Duration
	message    string
	aborted    bool // by the end of the server: nothing is known about the target
}

// newClient returns the HTTP client for all attempts. It keeps as many idle connections to a target
// as there can be attempts. Without anyTarget it connects only to loopback addresses.
func newClient(anyTarget bool) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if !anyTarget {
		// The resolved address is checked, because a name can resolve to any address.
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			if !loopbackAddr(address) {
				return fmt.Errorf("%s is not on this machine", address)
			}
			return nil
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         dialer.DialContext,
			MaxIdleConnsPerHost: maxConcurrent,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// attempt delivers a task and applies the outcome. It sends the request only when the attempt is
// written to the journal.
func (c *core) attempt(a attempt) {
	if err := a.recorded.wait(context.Background()); err != nil {
		c.fail(err)
		c.finish(a, outcome{aborted: true})
		return
	}
	written := c.finish(a, c.deliver(a))
	c.wakeScheduler()
	if err := written.wait(context.Background()); err != nil {
		c.fail(err)
	}
}

func (c *core) deliver(a attempt) outcome {
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout(a.task.deadline()))
	defer cancel()
	request, err := c.request(ctx, a)
	if err != nil {
		return c.failure(ctx, codes.Unauthenticated, err)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return c.failure(ctx, codes.Unavailable, err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxDrain) // only the status matters
	return outcome{
		code:       codeOf(response.StatusCode),
		http:       response.StatusCode,
		retryAfter: retryAfter(response, c.now()),
		message:    "HTTP status code " + strconv.Itoa(response.StatusCode),
	}
}

// failure returns the outcome of an attempt without a response.
func (c *core) failure(ctx context.Context, code codes.Code, err error) outcome {
	switch {
	case c.ctx.Err() != nil:
		return outcome{aborted: true}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return outcome{code: codes.DeadlineExceeded, message: "no response before the dispatch deadline"}
	}
	return outcome{code: code, message: err.Error()}
}

// request builds the request of an attempt
// (https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler).
func (c *core) request(ctx context.Context, a attempt) (*http.Request, error) {
	pb := a.task.pb.GetHttpRequest()
	var body io.Reader
	if len(pb.GetBody()) > 0 {
		body = bytes.NewReader(pb.GetBody())
	}
	request, err := http.NewRequestWithContext(ctx, methods[pb.GetHttpMethod()], pb.GetUrl(), body)
	if err != nil {
		return nil, err
	}
	h := request.Header
	for name, value := range pb.GetHeaders() {
		if !reserved(name) {
			h.Set(name, value)
		}
	}
	h.Set("User-Agent", "Google-Cloud-Tasks")
	name := a.task.pb.GetName()
	queue, id, _ := strings.Cut(name, "/tasks/")
	// The names are assigned directly, because Set would change their capitals.
	h["X-CloudTasks-QueueName"] = []string{queue[strings.LastIndexByte(queue, '/')+1:]}
	h["X-CloudTasks-TaskName"] = []string{id}
	h["X-CloudTasks-TaskRetryCount"] = []string{strconv.Itoa(int(a.retries))}
	h["X-CloudTasks-TaskExecutionCount"] = []string{strconv.Itoa(int(a.executed))}
	h["X-CloudTasks-TaskETA"] = []string{fmt.Sprintf("%d.%06d", a.at.Unix(), a.at.Nanosecond()/1000)}
	if a.previous != 0 {
		h["X-CloudTasks-TaskPreviousResponse"] = []string{strconv.Itoa(a.previous)}
	}
	if a.retries > 0 {
		reason := codes.Unavailable // for an attempt that the end of the process interrupted
		if a.reason != nil {
			reason = codes.Code(a.reason.GetCode())
		}
		h["X-CloudTasks-TaskRetryReason"] = []string{reason.String()}
	}
	if token := pb.GetOidcToken(); token != nil && c.signer != nil {
		audience := token.GetAudience()
		if audience == "" {
			audience = pb.GetUrl()
		}
		signed, err := c.signer(ctx, token.GetServiceAccountEmail(), audience)
		if err != nil {
			return nil, fmt.Errorf("create an ID token of %s: %w", token.GetServiceAccountEmail(), err)
		}
		h.Set("Authorization", "Bearer "+signed)
	}
	return request, nil
}

// reserved reports whether a task must not set a header, because Cloud Tasks or HTTP sets it. See
// https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks#HttpRequest
func reserved(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "host", "content-length", "user-agent", "connection", "keep-alive", "proxy-connection",
		"te", "trailer", "transfer-encoding", "upgrade":
		return true
	}
	return strings.HasPrefix(name, "x-google-") ||
		strings.HasPrefix(name, "x-appengine-") ||
		strings.HasPrefix(name, "x-cloudtasks-")
}

// finish applies the outcome of an attempt, and returns the batch with the changes.
func (c *core) finish(a attempt, o outcome) *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, now := a.task, c.now()
	q := t.queue
	q.running--
	t.running--
	if o.aborted || t.removed {
		return c.journal.add()
	}
	t.last = proto.CloneOf(t.last)
	t.last.ResponseTime = timestamppb.New(now)
	t.last.ResponseStatus = &rpcstatus.Status{Code: int32(o.code), Message: o.message}
	if o.http != 0 {
		t.responded++
		t.previous = o.http
		if o.http < 500 {
			t.executed++
		}
	}
	if o.code == codes.OK {
		q.counts.Succeeded++
		return c.journal.add(c.remove(t, now)...)
	}
	q.counts.Failed++
	config := t.retry()
	log := c.log.With("task", t.pb.GetName(), "attempt", t.dispatched, "code", o.code.String(), "error", o.message)
	if t.running == 0 && exhausted(config, int(t.dispatched), now.Sub(t.first)) {
		log.Error("task dropped: its retries are exhausted")
		q.counts.Dropped++
		return c.journal.add(c.remove(t, now)...)
	}
	from := now
	if a.forced {
		from = a.began
	}
	t.at = from.Add(max(backoff(config, int(t.dispatched)), o.retryAfter)).Truncate(time.Microsecond)
	log.Warn("delivery failed", "again_at", t.at)
	if t.running == 0 {
		t.enqueue()
	}
	return c.journal.add(t.updateOp())
}

var _ cloudtaskspb.CloudTasksServer = (*core)(nil)
