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
)

// maxURL is the longest address of documents that is taken for one, in bytes. Servers understand 8000 (RFC 9110, section 4.1); the address is part
// of the record and of the ended event, which have limits of their own.
const maxURL = 8 << 10

// ErrNotAResult is returned by [ParseResult] for what is not a JSON object.
var ErrNotAResult = errors.New("not a JSON object")

// ParseResult reads a result: the body of the pipeline's answer, or the result of an event. The bytes are kept as they
// are (made valid UTF-8), unless they are more than [cases.MaxResult]. Fields that are not of the expected type, and addresses of more than 8 KiB, are taken as
// absent. The error is ErrNotAResult.
func ParseResult(raw []byte) (*cases.Result, error) {
	raw = bytes.ToValidUTF8(bytes.TrimSpace(raw), []byte("\uFFFD"))
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return nil, ErrNotAResult
	}
	r := &cases.Result{Raw: raw, Size: len(raw)}
	if len(raw) > cases.MaxResult {
		r.Raw = nil
	}
	var summary struct {
		Total     *int   `json:"total_sets"`
		Succeeded *int   `json:"succeeded"`
		Failed    *int   `json:"failed"`
		OutputURL string `json:"output_url"`
	}
	if json.Unmarshal(fields["webhook_summary"], &summary) == nil {
		r.Documents = documents(summary.Total, summary.Succeeded, summary.Failed)
	}
	var url string
	_ = json.Unmarshal(fields["output_url"], &url) // "" if it is no text
	for _, said := range []string{url, summary.OutputURL} {
		if r.OutputURL == "" && len(said) <= maxURL {
			r.OutputURL = said
		}
	}
	if r.Success = ownWord(fields); r.Success != nil {
		r.Message = Message(raw)
	}
	return r, nil
}

// maxCount is the largest number of documents that is believed.
const maxCount = 1 << 31

// documents completes the counts: any one of the three follows from the other two.
func documents(total, succeeded, failed *int) *cases.Documents {
	known := 0
	value := func(p *int) int {
		if p == nil || *p < 0 || *p > maxCount {
			return 0
		}
		known++
		return *p
	}
	d := cases.Documents{Total: value(total), Succeeded: value(succeeded), Failed: value(failed)}
	if known == 0 {
		return nil
	}
	switch {
	case total == nil:
		d.Total = d.Succeeded + d.Failed
	case failed == nil && succeeded != nil:
		d.Failed = max(0, d.Total-d.Succeeded)
	case succeeded == nil && failed != nil:
		d.Succeeded = max(0, d.Total-d.Failed)
	}
	return &d
}

// ownWord finds "success" at the top or under "detail", where FastAPI puts what is raised.
func ownWord(fields map[string]json.RawMessage) (success *bool) {
	if json.Unmarshal(fields["success"], &success) == nil && success != nil {
		return success
	}
	var detail struct {
		Success *bool `json:"success"`
	}
	if json.Unmarshal(fields["detail"], &detail) != nil {
		return nil
	}
	return detail.Success
}
