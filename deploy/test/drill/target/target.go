// Package target says where a running Casewatch is: what a program needs that looks at it, or
// disturbs it, from outside.
package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// File is the name under which `make run` keeps its target in DATA_DIR while it runs.
const File = "target.json"

// Target is a running system. Addresses have no slash at their end.
type Target struct {
	Name string `json:"name"` // in words: what is meant

	Start   string `json:"start"`
	Status  string `json:"status"`
	Console string `json:"console"` // "" if there is none, or none that can be reached
	// SamplePipeline is the pipeline, if it is the sample one, which can be told to misbehave and
	// keeps a record; else "".
	SamplePipeline string          `json:"sample_pipeline"`
	Form           json.RawMessage `json:"form,omitempty"` // of a canary; none: a small one for the sample pipeline
	// that a canary may take in all, its deadline; 0: what the faults need
	Patience Seconds `json:"patience"`

	APIKey      string `json:"api_key,omitempty"`      // for start, status and cancel; "": anyone may
	IDToken     string `json:"id_token,omitempty"`     // for the console; "": it is open
	AccessToken string `json:"access_token,omitempty"` // for Google's APIs; "": there are emulators

	Project  string   `json:"project"`
	Checks   []string `json:"checks"`   // full names of the queues of checks, by shard
	Dispatch string   `json:"dispatch"` // full name of the queue of dispatches

	CheckURL     string `json:"check_url"`
	DispatchURL  string `json:"dispatch_url"`
	TasksAccount string `json:"tasks_account"` // whose token tasks carry; "" for none
	EventsTopic  string `json:"events_topic"`  // its id; "": the pipeline publishes no events

	TasksEmulator  string `json:"tasks_emulator"`  // host:port; "": Cloud Tasks itself
	PubSubEmulator string `json:"pubsub_emulator"` // host:port; "": Pub/Sub itself

	// The rules by which it runs.
	SweepInterval    Seconds `json:"sweep_interval"`
	CheckTimeout     Seconds `json:"check_timeout"`
	CheckMinInterval Seconds `json:"check_min_interval"`
	CompletionGrace  Seconds `json:"completion_grace"`
	Idempotent       bool    `json:"idempotent"` // the pipeline may be started again under the same key
}

// Seconds is a duration; in JSON a number of seconds, or the text of a Go duration as the settings have it.
type Seconds float64

// In returns d in seconds.
func In(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration returns s as a duration.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// UnmarshalJSON reads both forms.
func (s *Seconds) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		d, err := time.ParseDuration(text)
		*s = In(d)
		return err
	}
	return json.Unmarshal(data, (*float64)(s))
}

// Local reports whether the target is on this machine, with servers of its own in place of Google's.
func (t *Target) Local() bool { return t.TasksEmulator != "" && t.PubSubEmulator != "" }

// Write keeps t in a folder, whole or not at all, readable by its owner only: it may hold keys.
func (t *Target) Write(dir string) error {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, File)
	if err := os.WriteFile(file+".new", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// Remove forgets the target of a folder. It is no error if there is none.
func Remove(dir string) error {
	if err := os.Remove(filepath.Join(dir, File)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Read returns the target that a file describes. The error names every address that is missing; it
// is fs.ErrNotExist, wrapped, if there is no such file.
func Read(file string) (*Target, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t := &Target{}
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var faults []error
	for name, value := range map[string]string{
		"start": t.Start, "status": t.Status, "project": t.Project, "dispatch": t.Dispatch, "check_url": t.CheckURL,
		"dispatch_url": t.DispatchURL,
	} {
		if value == "" {
			faults = append(faults, fmt.Errorf("%s: %s is missing", file, name))
		}
	}
	if len(t.Checks) == 0 {
		faults = append(faults, fmt.Errorf("%s: checks is missing", file))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return t, nil
}
