package console

import "github.com/casewatch/casewatch/shared/cases"

// Prices in dollars of us-central1, without what is free each month, as published in 2026.
const (
	taskOperationPrice = 0.40e-6 // https://cloud.google.com/tasks/pricing
	invocationPrice    = 0.40e-6 // https://cloud.google.com/run/pricing
	// secondPrice is an instance of 1 vCPU and 1 GiB at work; an invocation takes some 0.15 s of a tenth of one (https://cloud.google.com/run/pricing).
	secondPrice       = 26.5e-6
	invocationSeconds = 0.015
	readPrice         = 0.30e-6 // https://cloud.google.com/firestore/pricing
	writePrice        = 0.90e-6
	deletePrice       = 0.10e-6
)

// notCounted is what a record tells nothing of.
const notCounted = "Not counted: a held request to the pipeline, readers, events that changed nothing, retries, the sweep, the deletion at the end of retention, logs, Pub/Sub, storage, network and the pipeline itself. " +
	"Prices are those of Google Cloud in us-central1 with Firestore, without what is free each month."

// cost is what a run took so far, as far as its record tells, and what that costs at the published prices.
type cost struct {
	Invocations    int     `json:"invocations"`
	TaskOperations int     `json:"task_operations"` // creations, deliveries, deletions
	StoreReads     int     `json:"store_reads"`
	StoreWrites    int     `json:"store_writes"`
	StoreDeletes   int     `json:"store_deletes"`
	USD            float64 `json:"usd"`
	NotCounted     string  `json:"not_counted"`
}

func costOf(c cases.Case) cost {
	ended := c.State.Ended()
	checks, dispatches := int(c.Checks.Seq), int(c.Dispatch.Seq) // one task each
	created := checks + dispatches
	var deleted int
	if c.Dispatch.Phase == cases.PhaseQueued { // its last task was not delivered
		dispatches--
		if ended {
			deleted++
		}
	}
	ends := 0 // invocations that ended it and were no task
	switch {
	case !ended:
		checks-- // the last one is still to come
	case c.End.Source != cases.SourceCheck && c.End.Source != cases.SourceDeadline:
		checks--
		deleted++
		if c.End.Source == cases.SourceEvent || c.End.Source == cases.SourceCancel {
			ends = 1
		}
	}
	n := cost{
		Invocations:    1 + dispatches + checks + ends,
		TaskOperations: created + dispatches + checks + deleted,
		// A start reads the head and the record; a delivery the record, a dispatch the form too; each change the record again.
		StoreReads: 2 + checks + 2*dispatches + int(c.Version) - 1,
		// The record at each version; the head and the form at its start.
		StoreWrites: int(c.Version) + 2,
		NotCounted:  notCounted,
	}
	if c.HasResult {
		n.StoreReads++
		n.StoreWrites++
	}
	if c.Late != nil && c.Late.HasResult {
		n.StoreWrites++
	}
	if ended && !c.FormKept {
		n.StoreDeletes++
	}
	n.USD = float64(n.TaskOperations)*taskOperationPrice + float64(n.Invocations)*(invocationPrice+invocationSeconds*secondPrice) +
		float64(n.StoreReads)*readPrice + float64(n.StoreWrites)*writePrice + float64(n.StoreDeletes)*deletePrice
	return n
}
