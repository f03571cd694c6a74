package console

import (
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// Prices in dollars of us-central1, without what is free each month. They are those of deploy/bench/cost/prices.csv, which names the source of each and the day
// on which it was looked up; a test holds them to it.
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

// What is taken for granted where it is not measured.
const (
	// An instance has 1 vCPU and 1 GiB. A short invocation takes some 0.15 s of a tenth of one; a held one waits, with 79 others (CONCURRENCY of
	// deploy/gcp/functions.txt).
	secondPrice       = vcpuSecondPrice + gibSecondPrice
	invocationSeconds = 0.015
	heldShare         = 1.0 / 80
	// A line of ours and a request log, as `make cost` counts the one and Cloud Run writes the other; a message, which is billed as 1,000 bytes at least.
	lineBytes, requestLogBytes, messageBytes = 800, 1300, 1000
	gib                                      = 1 << 30
)

// notCounted is what a record tells nothing of.
const notCounted = "Counted in the record: checks, dispatches, writes, the end and what a held request to the pipeline took. Derived from that: invocations, tasks, reads, log lines and messages, " +
	"so many for each. Not counted: readers and streams, events that ended nothing, repeated deliveries, the sweep, the deletion at the end of retention, storage, network and the pipeline itself. " +
	"Prices are those of Google Cloud in us-central1 with Firestore, without what is free each month."

// cost is what a run took so far, as far as its record tells, and what that costs at the published prices.
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

// byFunction are invocations.
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
		HeldSeconds: o.Held.Seconds(), Messages: o.Published + 2*o.Received, LogLines: o.LogLines, NotCounted: notCounted,
	}
	busy := float64(n.Invocations)*invocationSeconds + n.HeldSeconds*heldShare
	logged := float64(n.LogLines)*lineBytes + float64(n.Invocations)*requestLogBytes
	n.USD = float64(n.TaskOperations)*taskOperationPrice + float64(n.Invocations)*invocationPrice + busy*secondPrice +
		float64(n.StoreReads)*readPrice + float64(n.StoreWrites)*writePrice + float64(n.StoreDeletes)*deletePrice +
		float64(n.Messages)*messageBytes/gib*pubsubGiBPrice + logged/gib*logGiBPrice
	return n
}
