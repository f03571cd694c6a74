// Package report reads what a pipeline says in JSON: the result of a run, its progress, and what went wrong. It is pure, and
// knows nothing of HTTP: answers and events are read by the same rules.
//
// Its functions keep no state and are safe for concurrent use.
package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/jsonscan"
)

// maxURL is the longest address of documents that is taken for one, in bytes. Servers understand 8000 (RFC 9110, section
// 4.1); the address is part of the record and of the ended event, which have limits of their own.
const maxURL = 8 << 10

// ErrNotAResult is returned by [ParseResult] for what is not a JSON object.
var ErrNotAResult = errors.New("not a JSON object")

// ParseResult reads a result: the body of the pipeline's answer, or the result in an event or a poll's answer. The bytes are
// kept as they are (as [Text] says), unless they are more than [cases.MaxResult]. A field that is not of the expected type,
// a count that no pipeline reaches and an address of more than 8 KiB are taken as not given; they spoil nothing beside them.
// The error is ErrNotAResult.
func ParseResult(raw []byte) (*cases.Result, error) {
	raw = Text(raw)
	top, err := jsonscan.Members(raw, "success", "detail", "webhook_summary", "output_url", "error", "errors")
	if err != nil {
		return nil, ErrNotAResult
	}
	success, detail, summary, url := top[0], top[1], top[2], top[3]
	r := &cases.Result{Size: len(raw)}
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
	if r.Success = ownWord(success, detail); r.Success != nil {
		r.Message = named(raw, maxNested)
	}
	if r.Documents.None() && (r.Success == nil || *r.Success) {
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

// ownWord finds "success" at the top or under "detail", where FastAPI puts what is raised.
func ownWord(success, detail json.RawMessage) *bool {
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

// WithDropped returns the message of a terminal report, with what it says of parts that could not be read.
func WithDropped(message string, result, progress bool) string {
	parts := []string{message}
	if progress {
		parts = append(parts, cases.ProgressDropped)
	}
	if result {
		parts = append(parts, cases.ResultDropped)
	}
	if message == "" {
		parts = parts[1:]
	}
	return strings.Join(parts, "; ")
}
