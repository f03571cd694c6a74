// Package queue is how a wake-up is asked for: a thin interface over named tasks, with one adapter per folder and one
// conformance suite, queuetest, that every adapter passes.
//
// A task's name and body are pure functions of what it is for, so that scheduling twice is scheduling once, and a pending
// task can be deleted by whoever knows the record.
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

// Kind is what a task is to do. It is also the name of the function that it calls.
type Kind string

// The kinds of tasks.
const (
	Check    Kind = "check"    // poll a run once
	Dispatch Kind = "dispatch" // hand a run to the pipeline
)

// Task is one wake-up for one run.
type Task struct {
	Kind      Kind
	CaseID    string
	Run       int
	Seq       int64
	CreatedAt time.Time // when the run was created: a part of the name, since ids of purged cases may come again

	At          time.Time // not before; not a part of the name
	TraceParent string    // W3C traceparent to travel with the task; "" for none; not a part of the name
}

// ErrInvalidTask is what [DecodeBody] returns, wrapped, for a body that is not a task's.
var ErrInvalidTask = errors.New("queue: not a task body")

// Queue schedules tasks. Its methods are safe for concurrent use. An error means that it is not known whether the
// call took effect; it may be repeated.
type Queue interface {
	// Create schedules t. It returns false, nil if a task of its name exists, or existed within the last day or so.
	Create(ctx context.Context, t Task) (created bool, err error)
	// Delete deletes the pending task of t's name. It is no error if there is none. It does not stop a delivery that is running.
	Delete(ctx context.Context, t Task) error
	// Exists reports whether the task of t's name is pending or being delivered.
	Exists(ctx context.Context, t Task) (bool, error)
}

// Name returns the task's id, unique to (kind, case, run, creation of the run, sequence number) and the same every time. It is a hash, so that
// names spread evenly: Cloud Tasks slows down on sequential ones
// (https://docs.cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create).
func (t Task) Name() string {
	h := sha256.New()
	// Each part ends with a byte that no part contains, so that no two tasks share a text.
	fmt.Fprintf(h, "%s\x00%s\x00%d\x00%d\x00%d", t.Kind, t.CaseID, t.Run, t.CreatedAt.UnixMicro(), t.Seq)
	return hex.EncodeToString(h.Sum(nil)[:20])
}

// Shard returns which of n queues holds the tasks of a case, from 0 to n-1: always the same one for one n. n is at least 1.
func Shard(caseID string, n int) int {
	h := fnv.New32a()
	_, _ = io.WriteString(h, caseID)
	return int(h.Sum32() % uint32(n))
}

// Body is what a task delivers, as JSON.
type Body struct {
	CaseID string `json:"case_id"`
	Run    int    `json:"run"`
	Seq    int64  `json:"seq"`
}

// EncodeBody returns the JSON that t delivers.
func (t Task) EncodeBody() []byte {
	b, err := json.Marshal(Body{t.CaseID, t.Run, t.Seq})
	if err != nil {
		panic(err) // a string and two integers always encode
	}
	return b
}

// DecodeBody decodes what a task delivered. Unknown fields are ignored. The error wraps ErrInvalidTask and names the fault, not the content.
func DecodeBody(data []byte) (Body, error) {
	var b Body
	if err := json.Unmarshal(data, &b); err != nil {
		return Body{}, fmt.Errorf("%w: not the JSON object expected", ErrInvalidTask)
	}
	var faults []string
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
