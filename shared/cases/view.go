package cases

import (
	"encoding/json"
	"math"
	"net/url"
	"strings"
	"time"
)

// View is a run as its readers see it: the JSON of status, and of the ended event. Times are RFC
// 3339 in UTC, durations are seconds.
type View struct {
	CaseID          string          `json:"case_id"`
	Run             int             `json:"run"`
	Pipeline        string          `json:"pipeline"`
	State           State           `json:"state"`
	Progress        Progress        `json:"progress"`
	ETASeconds      *float64        `json:"eta_seconds"`
	Stalled         bool            `json:"stalled"`
	CreatedAt       time.Time       `json:"created_at"`
	StartedAt       *time.Time      `json:"started_at"`
	UpdatedAt       time.Time       `json:"updated_at"`
	DeadlineAt      time.Time       `json:"deadline_at"`
	EndedAt         *time.Time      `json:"ended_at"`
	DurationSeconds *float64        `json:"duration_seconds"` // from creation to end
	End             *End            `json:"end"`
	Documents       *Documents      `json:"documents"`
	Result          json.RawMessage `json:"result"`
	OutputURL       *string         `json:"output_url"`
	Late            *LateView       `json:"late"`
	Stop            *StopState      `json:"stop"`
	Dispatch        DispatchView    `json:"dispatch"`
	Checks          *ChecksView     `json:"checks,omitempty"`
	Version         int64           `json:"version"`
}

// LateView is a late report as readers see it.
type LateView struct {
	State   State           `json:"state"`
	Result  json.RawMessage `json:"result"`
	Message string          `json:"message"`
	Source  Source          `json:"source"`
	At      time.Time       `json:"at"`
	Count   int             `json:"count"`
}

// DispatchView is the dispatch of the run as readers see it.
type DispatchView struct {
	Attempts int `json:"attempts"` // requests that were begun
	// Failures counts those of them that started nothing: the pipeline was not reached, or busy.
	Failures int `json:"failures"`
	// LastError is what the last of these said; nil if there was none, and once the pipeline took
	// the run.
	LastError *string `json:"last_error"`
}

// ChecksView is the chain of checks as readers see it.
type ChecksView struct {
	Count    int        `json:"count"`    // polls
	Failures int        `json:"failures"` // polls that got no usable answer
	NextAt   *time.Time `json:"next_at"`
}

// View returns c as readers see it at now. The result and the late result are JSON, or nil where
// there is none.
func (c Case) View(now time.Time, result, late []byte) View {
	v := View{
		CaseID: c.CaseID, Run: c.Run, Pipeline: c.Pipeline, Stop: pointer(c.Stop.State),
		State: c.State, Version: c.Version,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, DeadlineAt: c.DeadlineAt,
		StartedAt: pointer(c.Job.StartedAt), EndedAt: pointer(c.Outcome.EndedAt),
		Progress: c.Job.Progress, Stalled: c.Job.Stalled,
		End: c.Outcome.End, Documents: c.Outcome.Documents, Result: result, OutputURL: webAddress(c.Outcome.OutputURL),
		Dispatch: DispatchView{c.Dispatch.Begun, c.Dispatch.Failures, pointer(c.Dispatch.LastError)},
		Checks:   &ChecksView{c.Checks.Polls, c.Checks.FailedPolls, pointer(c.Checks.NextAt)},
	}
	if rest, ok := c.Remaining(c.UpdatedAt); ok { // as it was estimated then, counting down
		seconds := math.Ceil(max(0, rest-now.Sub(c.UpdatedAt)).Seconds())
		v.ETASeconds = &seconds
	}
	if c.State.Ended() {
		d := float64(c.Outcome.EndedAt.Sub(c.CreatedAt).Microseconds()) / 1e6
		v.DurationSeconds = &d
	}
	if l := c.Outcome.Late; l != nil {
		v.Late = &LateView{l.State, late, l.Message, l.Source, l.At, l.Count}
	}
	return v
}

// webAddress returns text as it is, or nil if it is not an address of http or https. The pipeline
// gives it, and pages link to it.
func webAddress(text string) *string {
	u, err := url.Parse(text)
	web := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
	if !web || strings.ContainsAny(u.Host, "\"<>") { // which Parse accepts
		return nil
	}
	return &text
}

// pointer returns nil for the zero value.
func pointer[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
