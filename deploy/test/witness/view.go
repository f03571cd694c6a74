package witness

import (
	"encoding/json"
	"fmt"
	"time"
)

// View is a run as the JSON of status shows it, as far as promises speak of it.
type View struct {
	CaseID     string     `json:"case_id"`
	Run        int        `json:"run"`
	State      string     `json:"state"`
	Progress   Progress   `json:"progress"`
	CreatedAt  time.Time  `json:"created_at"`
	DeadlineAt time.Time  `json:"deadline_at"`
	EndedAt    *time.Time `json:"ended_at"`
	End        *End       `json:"end"`
	Checks     struct {
		Count    int `json:"count"`
		Failures int `json:"failures"`
	} `json:"checks"`
	Late    *Late `json:"late"`
	Version int64 `json:"version"`

	Result    json.RawMessage `json:"result"`
	Documents json.RawMessage `json:"documents"`
	OutputURL json.RawMessage `json:"output_url"`
}

// Progress is how far a run is.
type Progress struct {
	Completed int     `json:"completed"`
	Total     int     `json:"total"`
	Percent   float64 `json:"percent"`
	Current   string  `json:"current"`
}

// End says how a run ended.
type End struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Source  string `json:"source"`
}

// Late is what the pipeline reported after the end.
type Late struct {
	State string `json:"state"`
	Count int    `json:"count"`
}

// Ended reports whether the run has ended, as all of its fields say.
func (v View) Ended() bool { return v.EndedAt != nil && v.End != nil }

// String is the state of the run in a few words.
func (v View) String() string {
	if v.Ended() {
		return v.State + ", " + v.End.Reason
	}
	return fmt.Sprintf("%s %d of %d", v.State, v.Progress.Completed, v.Progress.Total)
}

// account is what an end tells that follows from its result.
func (v View) account() string {
	return fmt.Sprintf("%q, documents %s, at %s", v.End.Message, v.Documents, v.OutputURL)
}

func (v View) hasResult() bool { return len(v.Result) > 0 && string(v.Result) != "null" }

// Event is an event of the stream, as far as promises speak of it.
type Event struct {
	Name     string    `json:"-"`
	ID       ID        `json:"-"`
	At       time.Time `json:"-"` // when it was read
	Since    time.Time `json:"-"` // when its connection was begun
	Instance string    `json:"-"` // the header X-Instance: which instance the router of the system's test chose

	JobID   string  `json:"jobId"`
	CaseID  string  `json:"case_id"`
	Run     int     `json:"run"`
	Current int     `json:"current"`
	Total   int     `json:"total"`
	Percent float64 `json:"percent"`
	State   string  `json:"state"`
	Code    string  `json:"code"`
}

// IsEnd reports whether the event tells the end of a run.
func (e Event) IsEnd() bool { return e.Name == "complete" || e.Name == "error" }

func (e Event) String() string {
	switch e.Name {
	case "complete": // it does not say its state
		return "succeeded"
	case "error":
		return e.State + ", " + e.Code
	}
	return fmt.Sprintf("%s %d of %d", e.State, e.Current, e.Total)
}

// agrees reports whether an event of an end tells what JSON shows.
func (e Event) agrees(v View) bool {
	if e.Name == "complete" {
		return v.State == "succeeded"
	}
	return e.State != "succeeded" && e.State == v.State && e.Code == v.End.Reason
}

// ID is the id of an event: the run, and the version of its record.
type ID struct {
	Run     int
	Version int64
}

func (id ID) String() string { return fmt.Sprintf("%d.%d", id.Run, id.Version) }

func (id ID) before(other ID) bool {
	return id.Run < other.Run || id.Run == other.Run && id.Version < other.Version
}
