package taskserver

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/casewatch/casewatch/shared/weburl"
)

// The limits of a task, from https://cloud.google.com/tasks/docs/quotas and the comments of the
// API. Sizes are in bytes.
const (
	maxScheduleAhead = 30 * 24 * time.Hour
	maxTaskAge       = 31 * 24 * time.Hour
	minDeadline      = 15 * time.Second
	maxDeadline      = 30 * time.Minute
	defaultDeadline  = 10 * time.Minute
	maxTaskSize      = 1 << 20
	maxHeaderSize    = 80 << 10
	maxURLLength     = 2083
)

const (
	locationPattern = `projects/[A-Za-z0-9.:-]+/locations/[A-Za-z0-9-]+`
	queuePattern    = locationPattern + `/queues/[A-Za-z0-9-]{1,100}`
)

var (
	locationName = regexp.MustCompile(`^` + locationPattern + `$`)
	queueName    = regexp.MustCompile(`^` + queuePattern + `$`)
	taskName     = regexp.MustCompile(`^(` + queuePattern + `)/tasks/[A-Za-z0-9_-]{1,500}$`)
	headerName   = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
)

// The messages are those of the real service.
var (
	errQueueName = invalid("Queue name must be formatted: " +
		`"projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".`)
	errTaskName = invalid("Task name must be formatted: " +
		`"projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>"`)
)

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

func unimplemented(what string) error {
	return status.Errorf(codes.Unimplemented, "%s is not supported by the local Cloud Tasks server", what)
}

func checkQueueName(name string) error {
	if !queueName.MatchString(name) {
		return errQueueName
	}
	return nil
}

// checkTask checks a task that is to be created in the named queue.
func (c *core) checkTask(queue string, t *cloudtaskspb.Task, now time.Time) error {
	if t == nil {
		return invalid("Task is required.")
	}
	if t.GetName() != "" {
		m := taskName.FindStringSubmatch(t.GetName())
		if m == nil {
			return errTaskName
		}
		if m[1] != queue {
			return invalid("The queue name from request ('%s') must be the same as "+
				"the queue name in the named task ('%s').", queue, m[1])
		}
	}
	if t.GetAppEngineHttpRequest() != nil {
		return unimplemented("app_engine_http_request")
	}
	if t.GetHttpRequest() == nil {
		return invalid("Task.message_type is required.")
	}
	if s := t.GetScheduleTime(); s != nil {
		if err := s.CheckValid(); err != nil {
			return invalid("Task.scheduleTime: %v", err)
		}
		if s.AsTime().After(now.Add(maxScheduleAhead)) {
			return invalid("The Task.scheduleTime, %s, is too far in the future. "+
				"Schedule time must be no more than 720h in the future.", s.AsTime().Format(time.RFC3339))
		}
	}
	if d := t.GetDispatchDeadline(); d != nil {
		if err := d.CheckValid(); err != nil || d.AsDuration() < minDeadline || d.AsDuration() > maxDeadline {
			return invalid("The Task.dispatchDeadline must be between [15s, 30m].")
		}
	}
	if t.GetRetryConfig() != nil {
		if err := checkRetry(t.GetRetryConfig()); err != nil {
			return err
		}
	}
	if size := proto.Size(t); size > maxTaskSize {
		return invalid("Task is too large: %d bytes, but the limit is %d.", size, maxTaskSize)
	}
	return c.checkRequest(t.GetHttpRequest())
}

func (c *core) checkRequest(r *cloudtaskspb.HttpRequest) error {
	if r.GetUrl() == "" {
		return invalid("HttpRequest.url is required.")
	}
	if !strings.HasPrefix(r.GetUrl(), "http://") && !strings.HasPrefix(r.GetUrl(), "https://") {
		return invalid("HttpRequest.url must start with 'http://' or 'https://'.")
	}
	u, err := url.Parse(r.GetUrl())
	if err != nil || u.Hostname() == "" {
		return invalid("HttpRequest.url is not a URL.")
	}
	if len(u.String()) > maxURLLength {
		return invalid("HttpRequest.url is longer than %d characters.", maxURLLength)
	}
	if !c.anyTarget && !weburl.IsLoopback(u.Hostname()) {
		return invalid("HttpRequest.url is on another machine. " +
			"The local Cloud Tasks server delivers only to loopback addresses.")
	}
	method, known := methods[r.GetHttpMethod()]
	if !known {
		return invalid("HttpRequest.http_method is unknown.")
	}
	if len(r.GetBody()) > 0 && method != http.MethodPost && method != http.MethodPut && method != http.MethodPatch {
		return invalid("HttpRequest.body is allowed with POST, PUT and PATCH only.")
	}
	size := 0
	for name, value := range r.GetHeaders() {
		size += len(name) + len(value)
		if !headerName.MatchString(name) || strings.ContainsAny(value, "\r\n\x00") {
			return invalid("HttpRequest.headers has a name or value that HTTP does not allow.")
		}
	}
	if size >= maxHeaderSize {
		return invalid("HttpRequest.headers must be smaller than 80KB.")
	}
	if r.GetOauthToken() != nil {
		return unimplemented("oauth_token")
	}
	if token := r.GetOidcToken(); token != nil && token.GetServiceAccountEmail() == "" {
		return invalid("HttpRequest.oidc_token.service_account_email is required.")
	}
	return nil
}

// methods are the HTTP methods of tasks. POST is the default.
var methods = map[cloudtaskspb.HttpMethod]string{
	cloudtaskspb.HttpMethod_HTTP_METHOD_UNSPECIFIED: http.MethodPost,
	cloudtaskspb.HttpMethod_POST:                    http.MethodPost,
	cloudtaskspb.HttpMethod_GET:                     http.MethodGet,
	cloudtaskspb.HttpMethod_HEAD:                    http.MethodHead,
	cloudtaskspb.HttpMethod_PUT:                     http.MethodPut,
	cloudtaskspb.HttpMethod_DELETE:                  http.MethodDelete,
	cloudtaskspb.HttpMethod_PATCH:                   http.MethodPatch,
	cloudtaskspb.HttpMethod_OPTIONS:                 http.MethodOptions,
}

// checkRetry checks the fields of a retry configuration that are set.
func checkRetry(r *cloudtaskspb.RetryConfig) error {
	if r.GetMaxAttempts() < -1 {
		return invalid("RetryConfig.max_attempts must be -1 or more.")
	}
	if r.GetMaxDoublings() < 0 {
		return invalid("RetryConfig.max_doublings must not be negative.")
	}
	for _, f := range []struct {
		name  string
		value *durationpb.Duration
	}{
		{"max_retry_duration", r.GetMaxRetryDuration()},
		{"min_backoff", r.GetMinBackoff()},
		{"max_backoff", r.GetMaxBackoff()},
	} {
		if f.value != nil && (f.value.CheckValid() != nil || f.value.AsDuration() < 0) {
			return invalid("RetryConfig.%s must not be negative.", f.name)
		}
	}
	if r.GetMinBackoff() != nil && r.GetMaxBackoff() != nil &&
		r.GetMinBackoff().AsDuration() > r.GetMaxBackoff().AsDuration() {
		return invalid("RetryConfig.min_backoff must not be above max_backoff.")
	}
	return nil
}

// loopbackAddr reports whether the host of a host:port is on loopback.
func loopbackAddr(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && weburl.IsLoopback(host)
}
