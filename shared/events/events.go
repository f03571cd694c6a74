// Package events is what comes in and goes out over Pub/Sub: the schema of the pipeline's events,
// and of ours. It does no I/O; the adapter in pubsub publishes.
package events

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/jsonscan"
	"github.com/casewatch/casewatch/shared/pipeline/report"
	"github.com/casewatch/casewatch/shared/printable"
)

// MaxData is the largest data of a pipeline's event, in bytes. Eventarc hands events of up to 512
// KB to a function, base64 and attributes included
// (https://docs.cloud.google.com/functions/quotas).
const MaxData = 350 << 10

const (
	maxText = 2000 // bytes of the current document's name and of a message
)

// Incoming is an event of the pipeline: a word on how a run goes, or how it ended.
type Incoming struct {
	CaseID   string
	Run      int // 0 if it names none
	Status   cases.Status
	Progress *cases.Reading
	Message  string // of its error, or of its result
	Result   *cases.Result
	Dropped  cases.Dropped // what of a terminal report could not be read
}

// ErrInvalid is what [Decode] returns, wrapped, for what is not a valid event.
var ErrInvalid = errors.New("not a valid event")

// Decode decodes and checks the data of a message, which is read as [report.ReadAll] says. Unknown
// fields are ignored; so is a result that is null. The error wraps ErrInvalid and names every
// fault, without the data.
//
// A terminal status counts even when its result or its progress cannot be read, or when the result
// names another case or run than the event: that part is dropped, and Message says so.
func Decode(data []byte) (Incoming, error) {
	if len(data) > MaxData {
		return Incoming{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrInvalid, len(data), MaxData)
	}
	text, err := report.ReadAll(bytes.NewReader(data), MaxData)
	if err != nil {
		return Incoming{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	members, err := jsonscan.Members(text, "case_id", "run", "status", "progress", "result", "error")
	if err != nil {
		return Incoming{}, fmt.Errorf("%w: not a JSON object", ErrInvalid)
	}
	id, run, status, progress, result, problem := members[0], members[1], members[2], members[3], members[4], members[5]
	var in Incoming
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	if in.CaseID = report.String(id); !cases.ValidID(in.CaseID) {
		fault("case_id is missing or malformed")
	}
	if report.Given(run) {
		var ok bool
		if in.Run, ok = report.Whole(run); !ok || in.Run < 1 {
			fault("run is not a positive number")
		}
	}
	in.Status = cases.Status(report.String(status))
	switch {
	case in.Status.Known():
	case in.Status == cases.StatusNotGiven:
		fault("status is missing")
	default:
		fault("status is none of running, succeeded, failed")
	}
	terminal := in.Status.Terminal()
	var parsed *report.Result
	if report.Given(progress) {
		p, err := report.ParseProgress(progress)
		switch {
		case err == nil && p.Unreadable == nil:
			p.Status, p.Current = cases.StatusNotGiven, printable.Cut(p.Current, maxText)
			in.Progress = &p.Reading
		case terminal:
			in.Dropped.Progress = true
		case err != nil:
			fault("progress is not a JSON object")
		default:
			fault("progress: %v", p.Unreadable)
		}
	}
	if report.Given(result) {
		r, err := report.ParseResult(result)
		switch {
		case err == nil && report.Another(result, in.CaseID, in.Run) == "":
			parsed = r
		case terminal:
			in.Dropped.Result = true
		case err != nil:
			fault("result is %v", err)
		}
	}
	if len(faults) > 0 {
		return Incoming{}, fmt.Errorf("%w: %s", ErrInvalid, strings.Join(faults, "; "))
	}
	switch {
	case in.Status == cases.StatusFailed:
		in.Message = report.Message(text)
		if parsed != nil {
			in.Message = cmp.Or(in.Message, report.Message(result))
		}
	case report.Given(problem):
		in.Message = report.Message(fmt.Appendf(nil, `{"error":%s}`, problem))
	}
	if parsed != nil {
		in.Result, in.Message = parsed.Kept(), cmp.Or(in.Message, parsed.Message)
		if terminal && parsed.Failed() {
			in.Status = cases.StatusFailed
		}
	}
	in.Message = printable.Cut(in.Message, maxText)
	return in, nil
}
