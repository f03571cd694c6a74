package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// These are the data of the events. jobId is case_id under the name that form frontends use.
type (
	progressEvent struct {
		JobID      string      `json:"jobId"`
		CaseID     string      `json:"case_id"`
		Run        int         `json:"run"`
		Current    int         `json:"current"` // documents that are finished
		Total      int         `json:"total"`
		Message    string      `json:"message"`
		Percent    float64     `json:"percent"`
		Progress   float64     `json:"progress"` // the same as percent, under the name that form frontends use
		State      cases.State `json:"state"`
		ETASeconds *float64    `json:"eta_seconds"`
		Stalled    bool        `json:"stalled"`
	}
	completeEvent struct {
		JobID     string           `json:"jobId"`
		CaseID    string           `json:"case_id"`
		Run       int              `json:"run"`
		Total     int              `json:"total"`
		OutputURL *string          `json:"outputUrl"`
		Documents *cases.Documents `json:"documents"`
		// event appends the result, which it need not copy then.
	}
	errorEvent struct {
		JobID   string       `json:"jobId"`
		CaseID  string       `json:"case_id"`
		Run     int          `json:"run"`
		Code    cases.Reason `json:"code"`
		Message string       `json:"message"`
		State   cases.State  `json:"state"`
	}
)

// event returns the parts of the event that shows a snapshot. Concatenated they are the event.
// Callers must not change the parts, because viewers share the result.
func event(s *reconcile.Snapshot) ([][]byte, error) {
	v := &s.View
	switch {
	case !v.State.Ended():
		p := v.Progress
		return encode("progress", s.Seen(), progressEvent{
			v.CaseID, v.CaseID, v.Run, p.Completed, p.Total, doing(*v), p.Percent, p.Percent,
			v.State, v.ETASeconds, v.Stalled,
		})
	case v.State == cases.Succeeded:
		parts, err := encode("complete", s.Seen(), completeEvent{
			v.CaseID, v.CaseID, v.Run, v.Progress.Total, v.OutputURL, v.Documents,
		})
		if err != nil {
			return nil, err
		}
		result, err := oneLine(v.Result)
		head, _ := bytes.CutSuffix(parts[0], []byte("}\n\n"))
		return [][]byte{append(head, `,"result":`...), result, []byte("}\n\n")}, err
	}
	end := cases.End{}
	if v.End != nil {
		end = *v.End
	}
	if end.Message == "" {
		end.Message = describe(end.Reason)
	}
	return encode("error", s.Seen(), errorEvent{v.CaseID, v.CaseID, v.Run, end.Reason, end.Message, v.State})
}

func encode(name string, id reconcile.Seen, data any) ([][]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\nid: %s\ndata: ", name, eventID(id))
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(data); err != nil { // Encode also ends the line
		return nil, err
	}
	b.WriteByte('\n')
	return [][]byte{b.Bytes()}, nil
}

// oneLine returns JSON without line breaks, because each one would begin a new field of the event.
// Strings in JSON contain none.
func oneLine(raw json.RawMessage) ([]byte, error) {
	switch {
	case len(raw) == 0:
		return []byte("null"), nil
	case !bytes.ContainsAny(raw, "\r\n"):
		return raw, nil
	}
	var b bytes.Buffer
	err := json.Compact(&b, raw)
	return b.Bytes(), err
}

// doing describes what an open run does now: the current document, or else its progress.
func doing(v cases.View) string {
	p := v.Progress
	switch {
	case p.Current != "":
		return p.Current
	case v.State == cases.Pending:
		return "waiting for the pipeline to begin"
	case p.Total == 0:
		return "the pipeline is working"
	case p.Completed >= p.Total:
		return "the documents are being finished"
	default:
		return fmt.Sprintf("%d of %d documents are done", p.Completed, p.Total)
	}
}

// describe returns the message of an end that has none of its own.
func describe(reason cases.Reason) string {
	if e, ok := cases.EndingOf(reason); ok {
		return e.Message
	}
	return "it ended without documents" // a newer revision may have written the reason
}

// eventID returns the id of the event that shows a version of a run.
func eventID(s reconcile.Seen) string { return fmt.Sprintf("%d.%d", s.Run, s.Version) }

// lastEvent parses a Last-Event-ID. It returns the zero value for an invalid one, so that the
// viewer gets the current state.
func lastEvent(id string) reconcile.Seen {
	run, version, _ := strings.Cut(id, ".")
	var s reconcile.Seen
	var err error
	if s.Run, err = strconv.Atoi(run); err != nil {
		return reconcile.Seen{}
	}
	if s.Version, err = strconv.ParseInt(version, 10, 64); err != nil || s.Run < 1 || s.Version < 0 ||
		eventID(s) != id {
		return reconcile.Seen{}
	}
	return s
}
