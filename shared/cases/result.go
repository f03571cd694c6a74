package cases

import "fmt"

// MaxForm is the largest form, in bytes: with its record it stays below Firestore's limit of a document
// (https://cloud.google.com/firestore/quotas).
const MaxForm = 900 << 10

// MaxResult is the largest result that is kept, in bytes. Of a larger one only the counts and the address are read.
const MaxResult = 512 << 10

// What the message of an end says of the parts of the pipeline's terminal report that could not be read.
const (
	ResultDropped   = "the result could not be read and was dropped"
	ProgressDropped = "the progress could not be read and was dropped"
)

// Result is what the pipeline said at its end: its own words, and what the rules read from them.
type Result struct {
	// Raw is the JSON object as it came; nil if it was larger than MaxResult.
	Raw []byte
	// Size is the number of bytes that came.
	Size      int
	Documents *Documents // nil if it does not count them
	OutputURL string
	// Success is what it says of itself: nil if it does not.
	Success *bool
	// Message is its own error message; "" if it has none.
	Message string
}

// omitted is what the end's message says of a result that was too large to keep.
func (r *Result) omitted() string {
	return fmt.Sprintf("the result of %d bytes is larger than the %d that are kept", r.Size, MaxResult)
}
