// Package events is what comes in and goes out over Pub/Sub: the schema of the pipeline's events, and of ours. It does no
// I/O; the adapter in pubsub publishes.
package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/report"
)

// MaxData is the largest data of a pipeline's event, in bytes. Eventarc hands events of up to 512 KB to a function, base64 and
// attributes included (https://docs.cloud.google.com/functions/quotas).
const MaxData = 350 << 10

// maxText bounds the current document's name and a message, in bytes.
const maxText = 2000

// Incoming is an event of the pipeline: a word on how a run goes, or how it ended.
type Incoming struct {
	CaseID   string
	Run      int // 0 if it names none
	Status   string
	Progress *cases.Reading
	Message  string // of its error
	Result   *cases.Result
}

// ErrInvalid is what [Decode] returns, wrapped, for what is not a valid event.
var ErrInvalid = errors.New("not a valid event")

// Decode decodes and checks the data of a message. Unknown fields are ignored; so is a result that is null. The error
// wraps ErrInvalid and names every fault, without the data.
func Decode(data []byte) (Incoming, error) {
	if len(data) > MaxData {
		return Incoming{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrInvalid, len(data), MaxData)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(bytes.ToValidUTF8(data, []byte("\uFFFD")), &fields); err != nil || fields == nil {
		return Incoming{}, fmt.Errorf("%w: not a JSON object", ErrInvalid)
	}
	var in Incoming
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	if json.Unmarshal(fields["case_id"], &in.CaseID) != nil || !cases.ValidID(in.CaseID) {
		fault("case_id is missing or malformed")
	}
	if raw := fields["run"]; present(raw) && (json.Unmarshal(raw, &in.Run) != nil || in.Run < 1) {
		fault("run is not a positive number")
	}
	switch err := json.Unmarshal(fields["status"], &in.Status); {
	case err != nil:
		fault("status is missing")
	case in.Status != "running" && in.Status != "succeeded" && in.Status != "failed":
		fault("status is none of running, succeeded, failed")
	}
	if raw := fields["progress"]; present(raw) {
		switch reading, err := decodeReading(raw); {
		case err == nil:
			in.Progress = &reading
		case in.Status != "succeeded" && in.Status != "failed":
			fault("progress: %v", err)
		} // beside the end it does not matter
	}
	if raw := fields["result"]; present(raw) {
		result, err := report.ParseResult(raw)
		if err != nil {
			fault("result is %v", err)
		}
		in.Result = result
	}
	if raw := fields["error"]; present(raw) {
		in.Message = clip(report.Message(fmt.Appendf(nil, `{"error":%s}`, raw)))
	}
	if len(faults) > 0 {
		return Incoming{}, fmt.Errorf("%w: %s", ErrInvalid, strings.Join(faults, "; "))
	}
	return in, nil
}

// decodeReading decodes progress: {"completed","total","current_doc","progress_percent"}, each optional.
func decodeReading(raw json.RawMessage) (cases.Reading, error) {
	var p struct {
		Completed *float64 `json:"completed"`
		Total     *float64 `json:"total"`
		Current   *string  `json:"current_doc"`
		Percent   *float64 `json:"progress_percent"`
	}
	if json.Unmarshal(raw, &p) != nil {
		return cases.Reading{}, errors.New("completed, total and progress_percent are numbers, current_doc is a string")
	}
	r := cases.Reading{Percent: -1}
	for _, count := range []struct {
		name string
		from *float64
		to   *int
	}{{"completed", p.Completed, &r.Completed}, {"total", p.Total, &r.Total}} {
		if count.from == nil {
			continue
		}
		if *count.from < 0 || *count.from > math.MaxInt32 || *count.from != math.Trunc(*count.from) {
			return cases.Reading{}, fmt.Errorf("%s is not a count", count.name)
		}
		*count.to = int(*count.from)
	}
	if p.Percent != nil && *p.Percent >= 0 {
		r.Percent = *p.Percent
	}
	if p.Current != nil {
		r.Current = clip(*p.Current)
	}
	return r, nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func clip(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}
