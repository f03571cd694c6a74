package events

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// EndedType is the CloudEvents type of an ended event.
const EndedType = "casewatch.case.ended.v1"

// MaxEndedResult is the largest result in bytes that an ended event carries. A larger one is
// omitted; status has it.
const MaxEndedResult = 256 << 10

// Ended is the message of an ended event.
type Ended struct {
	Data       []byte            // the JSON of the case, without checks
	Attributes map[string]string // a CloudEvent in binary mode
}

// EncodeEnded returns the ended event of a run. It returns an error if the run has not ended. A
// repeated event has the same ce-id; it may contain a late report or a result that arrived
// meanwhile. traceParent may be "".
func EncodeEnded(source string, v cases.View, traceParent string) (Ended, error) {
	if v.EndedAt == nil {
		return Ended{}, fmt.Errorf("run %d of case %s has not ended", v.Run, v.CaseID)
	}
	message := struct {
		cases.View
		ResultOmitted bool `json:"result_omitted,omitempty"`
	}{View: v}
	message.Checks = nil
	if len(v.Result) > MaxEndedResult {
		message.Result, message.ResultOmitted = nil, true
	}
	if v.Late != nil && len(v.Late.Result) > MaxEndedResult {
		late := *v.Late
		late.Result, message.Late, message.ResultOmitted = nil, &late, true
	}
	data, err := json.Marshal(message)
	if err != nil {
		return Ended{}, fmt.Errorf("encode the ended event: %w", err)
	}
	attributes := map[string]string{
		"ce-specversion": "1.0",
		"ce-id":          EndedID(v.CaseID, v.Run),
		"ce-type":        EndedType,
		"ce-source":      source,
		"ce-time":        v.EndedAt.UTC().Format(time.RFC3339Nano),
		"content-type":   "application/json",
	}
	if traceParent != "" {
		attributes["traceparent"] = traceParent
		// See cloudevents/extensions/distributed-tracing.md in https://github.com/cloudevents/spec.
		attributes["ce-traceparent"] = traceParent
	}
	return Ended{Data: data, Attributes: attributes}, nil
}

// EndedID returns the id of a run's ended event, and of the log line of its end.
func EndedID(caseID string, run int) string { return fmt.Sprintf("%s:%d:ended", caseID, run) }
