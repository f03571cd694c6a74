// Package events has the schemas of the messages on Pub/Sub: the pipeline's events, and the ended
// events of Casewatch. It does no I/O. The adapter in pubsub publishes.
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

// MaxData is the largest data of a pipeline's event in bytes. Eventarc delivers events of up to 512
// KB to a function, including base64 and attributes
// (https://docs.cloud.google.com/functions/quotas).
const MaxData = 350 << 10

const (
	// maxText is the limit in bytes of a message and of the name of the current document.
	maxText = 2000
)

// Incoming is an event of the pipeline: a report of a run's progress or of its end.
type Incoming struct {
	CaseID   string
	Run      int // 0 if the event names no run
	Status   cases.Status
	Progress *cases.Reading
	Message  string // of its error, or of its result
	Result   *cases.Result
	Dropped  cases.Dropped // what of a terminal report could not be read
}

// ErrInvalid is wrapped by the error of [Decode] for data that is not a valid event.
var ErrInvalid = errors.New("not a valid event")

// Decode decodes and checks the data of a message. [report.ReadAll] describes which encodings it
// accepts. Unknown fields and a null result are ignored. The error wraps ErrInvalid and lists every
// problem, without the data.
//
// A terminal status counts although the result or the progress is unreadable, or the result names
// another case or run. The unreadable part is dropped, and Message says so.
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
