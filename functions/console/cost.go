package console

import (
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// These are prices in dollars in us-central1, without the free tier. They are copied from
// deploy/bench/cost/prices.csv, which gives the source and the date of each. A test compares the
// two.
const (
	taskOperationPrice = 0.40e-6
	invocationPrice    = 0.40e-6
	vcpuSecondPrice    = 24e-6
	gibSecondPrice     = 2.5e-6
	readPrice          = 0.30e-6
	writePrice         = 0.90e-6
	deletePrice        = 0.10e-6
	pubsubGiBPrice     = 40.0 / 1024
	logGiBPrice        = 0.50
)

// These are assumptions about what is not measured.
const (
	// An instance has 1 vCPU and 1 GiB. A short invocation takes about 0.15 s of a tenth of an
	// instance. A held one shares its instance with 79 others (CONCURRENCY in
	// deploy/gcp/functions.txt).
	secondPrice       = vcpuSecondPrice + gibSecondPrice
	invocationSeconds = 0.015
	heldShare         = 1.0 / 80
	// These are the bytes of a log line of Casewatch (measured by `make cost`), of a request log of
	// Cloud Run, and of a message, which is billed as at least 1,000 bytes.
	lineBytes, requestLogBytes, messageBytes = 800, 1300, 1000
	gib                                      = 1 << 30
)

// notCounted explains which costs are counted and which are not.
const notCounted = "The record counts checks, dispatches, writes, the end, and the time of held requests to " +
	"the pipeline. Invocations, tasks, reads, log lines and messages are derived from these counts. " +
	"Not counted: readers and streams, events that ended nothing, repeated deliveries, the sweep, the " +
	"deletion at the end of the retention, storage, network and the pipeline itself. Prices are those of " +
	"Google Cloud in us-central1 with Firestore, without the free tier."

// cost is what a run has used so far, as far as its record shows, and what that costs at the
// published prices.
type cost struct {
	Invocations    int        `json:"invocations"`
	ByFunction     byFunction `json:"by_function"`
	TasksCreated   int        `json:"tasks_created"`
	TaskOperations int        `json:"task_operations"` // creations, deliveries, deletions
	StoreReads     int        `json:"store_reads"`
	StoreWrites    int        `json:"store_writes"`
	StoreDeletes   int        `json:"store_deletes"`
	HeldSeconds    float64    `json:"held_seconds"`
	Messages       int        `json:"messages"`
	LogLines       int        `json:"log_lines"`
	USD            float64    `json:"usd"`
	NotCounted     string     `json:"not_counted"`
}

// byFunction has the invocations of each function.
type byFunction struct {
	Start    int `json:"start"`
	Dispatch int `json:"dispatch"`
	Check    int `json:"check"`
	Complete int `json:"complete"`
	Cancel   int `json:"cancel"`
}

func costOf(c cases.Case) cost {
	o := reconcile.OperationsOf(c)
	n := cost{
		Invocations: o.Invocations(), ByFunction: byFunction{o.Start, o.Dispatch, o.Check, o.Complete, o.Cancel},
		TasksCreated: o.TasksCreated, TaskOperations: o.TaskOperations(),
		StoreReads: o.Reads, StoreWrites: o.Writes, StoreDeletes: o.Deletes,
		HeldSeconds: o.Held.Seconds(), Messages: o.Published + 2*o.Received, LogLines: o.LogLines,
		NotCounted: notCounted,
	}
	busy := float64(n.Invocations)*invocationSeconds + n.HeldSeconds*heldShare
	logged := float64(n.LogLines)*lineBytes + float64(n.Invocations)*requestLogBytes
	n.USD = float64(n.TaskOperations)*taskOperationPrice + float64(n.Invocations)*invocationPrice + busy*secondPrice +
		float64(n.StoreReads)*readPrice + float64(n.StoreWrites)*writePrice + float64(n.StoreDeletes)*deletePrice +
		float64(n.Messages)*messageBytes/gib*pubsubGiBPrice + logged/gib*logGiBPrice
	return n
}
