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

// drained is how much of a response is read, so that its connection can be used again.
const drained = 64 << 10

// attempt is one delivery of a task.
type attempt struct {
	task     *task
	at       time.Time // when it was due
	began    time.Time
	forced   bool // by RunTask
	retries  int32
	executed int32
	previous int
	reason   *rpcstatus.Status // how the attempt before ended; nil for the first and for one that was lost
	recorded *batch
}

// outcome is how an attempt ended.
type outcome struct {
	code       codes.Code
	http       int // 0: no response
	retryAfter time.Duration
	message    string
	cut        bool // by the server's end: it says nothing of the target
}

// newClient returns the client of all attempts. It keeps connections to the few targets open, and as many as there are attempts.
func newClient(anyTarget bool) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if !anyTarget {
		// A name may lead elsewhere than it says: the address decides.
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

// attempt delivers a task once it is written that it is being delivered, and applies the outcome.
func (c *core) attempt(a attempt) {
	if err := a.recorded.wait(context.Background()); err != nil {
		c.fail(err)
		c.finish(a, outcome{cut: true})
		return
	}
	written := c.finish(a, c.deliver(a))
	c.poke()
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
	_, _ = io.CopyN(io.Discard, response.Body, drained) // the status is the answer
	return outcome{
		code: codeOf(response.StatusCode), http: response.StatusCode,
		retryAfter: retryAfter(response, c.now()), message: "HTTP status code " + strconv.Itoa(response.StatusCode),
	}
}

// failure is the outcome of an attempt without a response.
func (c *core) failure(ctx context.Context, code codes.Code, err error) outcome {
	switch {
	case c.ctx.Err() != nil:
		return outcome{cut: true}
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
	// As documented, without Go's idea of capitals.
	h["X-CloudTasks-QueueName"] = []string{queue[strings.LastIndexByte(queue, '/')+1:]}
	h["X-CloudTasks-TaskName"] = []string{id}
	h["X-CloudTasks-TaskRetryCount"] = []string{strconv.Itoa(int(a.retries))}
	h["X-CloudTasks-TaskExecutionCount"] = []string{strconv.Itoa(int(a.executed))}
	h["X-CloudTasks-TaskETA"] = []string{fmt.Sprintf("%d.%06d", a.at.Unix(), a.at.Nanosecond()/1000)}
	if a.previous != 0 {
		h["X-CloudTasks-TaskPreviousResponse"] = []string{strconv.Itoa(a.previous)}
	}
	if a.retries > 0 {
		reason := codes.Unavailable // of an attempt that the end of the process cut
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
			return nil, fmt.Errorf("no token for %s: %w", token.GetServiceAccountEmail(), err)
		}
		h.Set("Authorization", "Bearer "+signed)
	}
	return request, nil
}

// reserved reports whether a header of a task is not sent: Cloud Tasks or HTTP itself sets it
// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks#HttpRequest.FIELDS.headers).
func reserved(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "host", "content-length", "user-agent", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade":
		return true
	}
	return strings.HasPrefix(name, "x-google-") || strings.HasPrefix(name, "x-appengine-") || strings.HasPrefix(name, "x-cloudtasks-")
}

// finish applies the outcome of an attempt, and returns the batch in which it is written.
func (c *core) finish(a attempt, o outcome) *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, now := a.task, c.now()
	q := t.queue
	q.running--
	t.running--
	if o.cut || t.gone {
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
		log.Error("a task was given up: its retries are exhausted")
		q.counts.Dropped++
		return c.journal.add(c.remove(t, now)...)
	}
	from := now
	if a.forced {
		from = a.began
	}
	t.at = from.Add(max(backoff(config, int(t.dispatched)), o.retryAfter)).Truncate(time.Microsecond)
	log.Warn("a delivery failed", "again_at", t.at)
	if t.running == 0 {
		t.wait()
	}
	return c.journal.add(t.updated())
}

var _ cloudtaskspb.CloudTasksServer = (*core)(nil)
