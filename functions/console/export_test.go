package console

import "github.com/casewatch/casewatch/shared/cases"

var (
	EncodeCursor = encodeCursor
	DecodeCursor = decodeCursor
	DurationWord = durationWord
	AgeWord      = ageWord
	Shown        = shown
)

// CostOf returns the costs of a run.
func CostOf(c cases.Case) (invocations, taskOperations, reads, writes, deletes int, usd float64) {
	n := costOf(c)
	return n.Invocations, n.TaskOperations, n.StoreReads, n.StoreWrites, n.StoreDeletes, n.USD
}
