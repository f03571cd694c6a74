package cloudtasks

import (
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/weburl"
)

// createRequest returns the request that schedules t. It is a pure function: the same config and
// task give the same request.
func createRequest(c Config, t queue.Task) *cloudtaskspb.CreateTaskRequest {
	target, deadline := c.CheckURL, c.CheckDeadline
	if t.Kind.Function() == string(queue.Dispatch) {
		target = c.DispatchURL
	}
	if t.Kind == queue.Dispatch {
		deadline = c.DispatchDeadline
	}
	request := &cloudtaskspb.HttpRequest{
		Url:        target,
		HttpMethod: cloudtaskspb.HttpMethod_POST,
		Headers:    map[string]string{"Content-Type": "application/json"},
		Body:       t.EncodeBody(),
	}
	if t.TraceParent != "" {
		request.Headers["traceparent"] = t.TraceParent
	}
	if c.ServiceAccount != "" {
		request.AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{
			ServiceAccountEmail: c.ServiceAccount,
			Audience:            audience(target),
		}}
	}
	task := &cloudtaskspb.Task{
		Name:             c.taskName(t),
		MessageType:      &cloudtaskspb.Task_HttpRequest{HttpRequest: request},
		DispatchDeadline: durationpb.New(deadline),
	}
	if !t.At.IsZero() {
		task.ScheduleTime = timestamppb.New(t.At)
	}
	return &cloudtaskspb.CreateTaskRequest{Parent: c.queueOf(t), Task: task}
}

// audience returns the scheme and host of target. Without an explicit audience Cloud Tasks would
// use the whole URL, which Cloud Run does not accept
// (https://cloud.google.com/run/docs/authenticating/service-to-service).
func audience(target string) string {
	u, err := weburl.Parse(target)
	if err != nil {
		return target // not reached, because New rejects such a URL
	}
	return weburl.Origin(u)
}
