// Package queue is a thin interface for scheduling named tasks. Each adapter has a folder of its
// own and passes the conformance suite queuetest.
//
// The name and the body of a task are pure functions of its purpose. So scheduling twice schedules
// once, and everybody who knows the record can delete the pending task.
package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"time"
)

// Kind is what a task does.
type Kind string

// The kinds of tasks.
const (
	Check    Kind = "check"    // poll a run once
	Dispatch Kind = "dispatch" // start a run at the pipeline
	Stop     Kind = "stop"     // cancel the job of a run that has ended
)

// Function returns the name of the function that the task calls: the kind, but a stop calls dispatch,
// which has the pipeline's secrets.
func (k Kind) Function() string {
	if k == Stop {
		return string(Dispatch)
	}
	return string(k)
}

// Task is a call of a function for a run, at or after a time.
type Task struct {
	Kind      Kind
	CaseID    string
	Run       int
	Seq       int64
	Pipeline  string    // the run's; each has its own queue of dispatches; not part of the name
	CreatedAt time.Time // when the run was created; part of the name, because ids of purged cases may be used again

	At          time.Time // the earliest time of delivery; not part of the name
	TraceParent string    // W3C traceparent of the delivery; "" for none; not part of the name
}

// ErrInvalidTask is wrapped by the error of [DecodeBody] for a body that is not the body of a task.
var ErrInvalidTask = errors.New("queue: not a task body")

// Queue schedules tasks. Its methods are safe for concurrent use. An error means that it is not
// known whether the call took effect; it may be repeated.
type Queue interface {
	// Create schedules t. It returns false, nil if a task of this name exists, or existed within
	// about a day.
	Create(ctx context.Context, t Task) (created bool, err error)
	// Delete deletes the pending task with the name of t. It is not an error if there is none. A
	// delivery in progress is not stopped.
	Delete(ctx context.Context, t Task) error
	// Exists reports whether the task with the name of t is pending or being delivered.
	Exists(ctx context.Context, t Task) (bool, error)
}

// Name returns the task's id. It is unique to kind, case, run, creation of the run and sequence
// number, and always the same for them. It is a hash, so that names are evenly distributed, because
// Cloud Tasks slows down with sequential names
// (https://docs.cloud.google.com/tasks/docs/reference/rest, method
// projects.locations.queues.tasks.create).
func (t Task) Name() string {
	h := sha256.New()
	// Each part ends with a byte that no part contains, so that different tasks have different
	// texts.
	fmt.Fprintf(h, "%s\x00%s\x00%d\x00%d\x00%d", t.Kind, t.CaseID, t.Run, t.CreatedAt.UnixMicro(), t.Seq)
	return hex.EncodeToString(h.Sum(nil)[:20])
}

// Shard returns the queue, from 0 to n-1, that holds the tasks of a case. It is always the same for
// the same n, which must be at least 1.
func Shard(caseID string, n int) int {
	h := fnv.New32a()
	_, _ = io.WriteString(h, caseID)
	return int(h.Sum32() % uint32(n))
}

// Body is the JSON body of a delivery.
type Body struct {
	Kind   Kind   `json:"kind,omitempty"` // only of a stop
	CaseID string `json:"case_id"`
	Run    int    `json:"run"`
	Seq    int64  `json:"seq"`
}

// EncodeBody returns the JSON body of t's deliveries.
func (t Task) EncodeBody() []byte {
	body := Body{CaseID: t.CaseID, Run: t.Run, Seq: t.Seq}
	if t.Kind == Stop {
		body.Kind = Stop
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings and integers always encode
	}
	return b
}

// DecodeBody decodes the body of a delivery. It ignores unknown fields. The error wraps
// ErrInvalidTask and lists the problems, without the content.
func DecodeBody(data []byte) (Body, error) {
	var b Body
	if err := json.Unmarshal(data, &b); err != nil {
		return Body{}, fmt.Errorf("%w: not the JSON object expected", ErrInvalidTask)
	}
	var faults []string
	if b.Kind != Stop {
		b.Kind = ""
	}
	if b.CaseID == "" {
		faults = append(faults, "case_id is missing")
	}
	if b.Run < 1 {
		faults = append(faults, "run is not positive")
	}
	if b.Seq < 1 {
		faults = append(faults, "seq is not positive")
	}
	if len(faults) > 0 {
		return Body{}, fmt.Errorf("%w: %s", ErrInvalidTask, strings.Join(faults, "; "))
	}
	return b, nil
}
