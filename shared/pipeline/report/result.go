// Package report reads what a pipeline says in JSON: the result of a run, its progress, and what went wrong. It is pure, and
// knows nothing of HTTP: answers and events are read by the same rules.
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

// maxURL is the longest address of documents that is taken for one, in bytes. Servers understand 8000 (RFC 9110, section
// 4.1); the address is part of the record and of the ended event, which have limits of their own.
const maxURL = 8 << 10

// Result is what a pipeline says at its end: what is kept of it, and what it says of itself.
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

// ErrNotAResult is returned by [ParseResult] for what is not a JSON object.
var ErrNotAResult = errors.New("not a JSON object")

// ParseResult reads a result: the body of the pipeline's answer, or the result in an event or a poll's answer. The bytes are
// kept as they are (as [Text] says), unless they are more than [cases.MaxResult]. A field that is not of the expected type,
// a count that no pipeline reaches and an address of more than 8 KiB are taken as not given; they spoil nothing beside them.
// The error is ErrNotAResult.
func ParseResult(raw []byte) (*Result, error) {
	raw = Text(raw)
	top, err := jsonscan.Members(raw, "success", "detail", "webhook_summary", "output_url", "error", "errors")
	if err != nil {
		return nil, ErrNotAResult
	}
	success, detail, summary, url := top[0], top[1], top[2], top[3]
	r := &Result{Result: cases.Result{Size: len(raw)}}
	if len(raw) <= cases.MaxResult {
		r.Raw = bytes.Clone(raw) // it may be a part of something much larger
	}
	counts := within(summary, "total_sets", "succeeded", "failed", "output_url", "error")
	r.Documents = documents(counts[0], counts[1], counts[2])
	for _, raw := range []json.RawMessage{url, counts[3]} {
		if url := String(raw); r.OutputURL == "" && len(url) <= maxURL {
			r.OutputURL = url
		}
	}
	if r.Success = successIn(success, detail); r.Success != nil {
		r.Message = named(raw, maxNested)
	}
	if r.Documents.None() && !r.Failed() {
		for _, raw := range []json.RawMessage{top[4], top[5], counts[4]} {
			if why := said(raw, maxNested); why != "" {
				r.Message = why // rather than that it is done
				break
			}
		}
	}
	return r, nil
}

// documents reads the counts. Two that are given imply the third, unless they contradict each other. Nil if none is given.
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

// successIn finds "success" at the top or under "detail", where FastAPI puts what is raised.
func successIn(success, detail json.RawMessage) *bool {
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
