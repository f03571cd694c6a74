// Package report parses the JSON that a pipeline sends: the result of a run, its progress, and
// error messages. It is pure and knows nothing of HTTP. The same rules apply to answers and events.
//
// Its functions keep no state and are safe for concurrent use.
package report

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/jsonscan"
)

// MaxURL is the longest output URL that is accepted, in bytes. Servers support 8000 bytes (RFC
// 9110, section 4.1). The URL is part of the record and of the ended event, and both have size
// limits.
const MaxURL = 8 << 10

// Result is what a pipeline reports at its end: what is kept of it, and what it says of itself.
type Result struct {
	cases.Result
	// Success is its "success"; nil if it has none.
	Success *bool
	// Message is its own message: of its failure, or of why every document failed; "" if it has none.
	Message string
}

// Failed reports whether the result says that the run failed.
func (r *Result) Failed() bool { return r != nil && r.Success != nil && !*r.Success }

// Kept returns what is kept of a result; nil of none.
func (r *Result) Kept() *cases.Result {
	if r == nil {
		return nil
	}
	return &r.Result
}

// ErrNotAResult is the error of [ParseResult] if the text is not a JSON object.
var ErrNotAResult = errors.New("not a JSON object")

// ParseResult reads a result: the body of the pipeline's answer, or the result in an event or in
// the answer to a poll. It keeps the bytes, normalized by [Text], unless there are more than
// [cases.MaxResult]. Three kinds of field count as missing and do not affect the others: a field of
// the wrong type, a count above 2^31, and a URL of more than 8 KiB. The error is ErrNotAResult.
func ParseResult(raw []byte) (*Result, error) {
	raw = Text(raw)
	top, err := jsonscan.Members(raw, "success", "detail", "webhook_summary", "output_url", "error", "errors")
	if err != nil {
		return nil, ErrNotAResult
	}
	success, detail, summary, url := top[0], top[1], top[2], top[3]
	r := &Result{Result: cases.Result{Size: len(raw)}}
	if len(raw) <= cases.MaxResult {
		r.Raw = bytes.Clone(raw) // raw may be a slice of a much larger text
	}
	counts := within(summary, "total_sets", "succeeded", "failed", "output_url", "error")
	r.Documents = documents(counts[0], counts[1], counts[2])
	for _, raw := range []json.RawMessage{url, counts[3]} {
		if url := String(raw); r.OutputURL == "" && len(url) <= MaxURL {
			r.OutputURL = url
		}
	}
	if r.Success = findSuccess(success, detail); r.Success != nil {
		r.Message = memberText(raw, maxNested)
	}
	if r.Documents.None() && !r.Failed() {
		for _, raw := range []json.RawMessage{top[4], top[5], counts[4]} {
			if why := messageOf(raw, maxNested); why != "" {
				r.Message = why // more useful than a message of success
				break
			}
		}
	}
	return r, nil
}

// documents reads the counts. It derives a missing count from the two others, unless they
// contradict each other. It returns nil if no count is present.
func documents(total, succeeded, failed json.RawMessage) *cases.Documents {
	read := func(raw json.RawMessage) *int {
		if n, ok := Whole(raw); ok && n >= 0 {
			return &n
		}
		return nil
	}
	d := cases.Documents{Total: read(total), Succeeded: read(succeeded), Failed: read(failed)}
	switch t, s, f := d.Total, d.Succeeded, d.Failed; {
	case t == nil && s == nil && f == nil:
		return nil
	case t == nil && s != nil && f != nil:
		d.Total = new(*s + *f)
	case s == nil && t != nil && f != nil && *f <= *t:
		d.Succeeded = new(*t - *f)
	case f == nil && t != nil && s != nil && *s <= *t:
		d.Failed = new(*t - *s)
	}
	return &d
}

// findSuccess finds "success" at the top or under "detail", where FastAPI puts exceptions.
func findSuccess(success, detail json.RawMessage) *bool {
	for _, raw := range []json.RawMessage{success, within(detail, "success")[0]} {
		switch string(raw) {
		case "true":
			return new(true)
		case "false":
			return new(false)
		}
	}
	return nil
}
