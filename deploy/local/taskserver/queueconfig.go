package taskserver

import (
	"math"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Limits and defaults of queues and lists over gRPC. See
// https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RateLimits.
const (
	maxRate        = 500 // dispatches a second
	maxConcurrent  = 5000
	maxQueuesPage  = 9800 // queues of a page
	maxTasksPage   = 1000 // tasks of a page
	defaultBackoff = 100 * time.Millisecond
)

// complete returns a copy of q in which fields that are not set have their defaults. It drops
// fields that are output only. With keepBurst, it keeps max_burst_size, which is one of them.
func complete(q *cloudtaskspb.Queue, keepBurst bool) *cloudtaskspb.Queue {
	q = proto.CloneOf(q)
	q.State, q.PurgeTime = cloudtaskspb.Queue_RUNNING, nil
	if q.RateLimits == nil {
		q.RateLimits = &cloudtaskspb.RateLimits{}
	}
	limits := q.RateLimits
	if limits.MaxDispatchesPerSecond == 0 {
		limits.MaxDispatchesPerSecond = maxRate
	}
	if limits.MaxConcurrentDispatches == 0 {
		limits.MaxConcurrentDispatches = 1000
	}
	if !keepBurst || limits.MaxBurstSize <= 0 {
		limits.MaxBurstSize = int32(min(max(math.Ceil(limits.MaxDispatchesPerSecond), 1), math.MaxInt32))
	}
	if q.RetryConfig == nil {
		q.RetryConfig = &cloudtaskspb.RetryConfig{}
	}
	retry := q.RetryConfig
	if retry.MaxAttempts == 0 {
		retry.MaxAttempts = 100
	}
	if retry.MaxBackoff.AsDuration() == 0 {
		retry.MaxBackoff = durationpb.New(max(time.Hour, retry.MinBackoff.AsDuration()))
	}
	if retry.MinBackoff.AsDuration() == 0 {
		retry.MinBackoff = durationpb.New(min(defaultBackoff, retry.MaxBackoff.AsDuration()))
	}
	if retry.MaxDoublings == 0 {
		retry.MaxDoublings = 16
	}
	return q
}

// checkQueue checks a queue that complete returned. With limited, Google's limits for the rate and
// concurrency apply.
func checkQueue(q *cloudtaskspb.Queue, limited bool) error {
	if err := checkQueueName(q.GetName()); err != nil {
		return err
	}
	if q.GetHttpTarget() != nil {
		return unimplemented("http_target of a queue")
	}
	if q.GetAppEngineRoutingOverride() != nil {
		return unimplemented("app_engine_routing_override")
	}
	limits := q.GetRateLimits()
	if r := limits.GetMaxDispatchesPerSecond(); !(r > 0) || limited && r > maxRate {
		return invalid("RateLimits.max_dispatches_per_second must be above 0 and at most %d.", maxRate)
	}
	if n := limits.GetMaxConcurrentDispatches(); n < 1 || limited && n > maxConcurrent {
		return invalid("RateLimits.max_concurrent_dispatches must be between 1 and %d.", maxConcurrent)
	}
	return checkRetry(q.GetRetryConfig())
}

// copyField copies the field at a path from one message to another.
func copyField(to, from protoreflect.Message, path []string) error {
	field := to.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if field == nil || len(path) > 1 && (field.Message() == nil || field.IsList() || field.IsMap()) {
		return invalid("update_mask has the unknown field %q.", path[0])
	}
	if len(path) > 1 {
		return copyField(to.Mutable(field).Message(), from.Get(field).Message(), path[1:])
	}
	if from.Has(field) {
		to.Set(field, from.Get(field))
	} else {
		to.Clear(field)
	}
	return nil
}
