package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/description"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest/apis"
)

// descriptions are what a user writes for each of the servers of package apis: at most 15 lines.
var descriptions = map[string]string{
	"operation": `
p:
  preset: operation
  url: %s
  start: {request: "POST /v1/projects/sample:generate", body: {set: {/webhook: "{callback_url}"}}}
  progress:
    completed: body:/metadata/progressDocuments/completedWork
    total: body:/metadata/progressDocuments/estimatedWork
`,
	"location": `
p:
  preset: location
  url: %s
  start: {request: POST /documents}
`,
	"azure": `
p:
  preset: location
  url: %s
  start: {request: "POST /documents:analyze", body: {set: {/webhook: "{callback_url}"}}}
`,
	"prediction": `
p:
  preset: prediction
  url: %s
  start: {body: {set: {/version: "5c7d5dc6"}}}
`,
	"job": `
p:
  preset: job
  url: %s
  start: {body: {set: {/webhook: "{callback_url}"}}}
  cancel: {request: "DELETE /jobs/{job}"}
`,
}

// work is the jobs of a server. A test changes them.
type work struct {
	mu        sync.Mutex
	jobs      map[string]*apis.Job
	forms     []string
	callbacks []string
	refuse    error
}

func (w *work) Start(form []byte, callbackURL string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return "", w.refuse
	}
	id := fmt.Sprint(9007199254740993 + len(w.jobs)) // no float holds it
	w.jobs[id] = &apis.Job{ID: id}
	w.forms, w.callbacks = append(w.forms, string(form)), append(w.callbacks, callbackURL)
	return id, nil
}

func (w *work) Job(id string) (apis.Job, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j := w.jobs[id]; j != nil {
		return *j, true
	}
	return apis.Job{}, false
}

func (w *work) Cancel(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j := w.jobs[id]; j != nil && !j.State.Ended() {
		j.State = apis.Cancelled
		return true
	}
	return false
}

// change changes every job.
func (w *work) change(change func(*apis.Job)) apis.Job {
	w.mu.Lock()
	defer w.mu.Unlock()
	var last apis.Job
	for _, j := range w.jobs {
		change(j)
		last = *j
	}
	return last
}

// opened returns a client of the pipeline that the text describes.
func opened(t *testing.T, text string, options ...func(*Config)) *Client {
	t.Helper()
	set, err := description.Parse([]byte(text), description.Options{Secret: func(name string) (string, bool) {
		return map[string]string{
			"PIPELINE_SECRET_KEY":     "hush-key",
			"PIPELINE_SECRET_WEBHOOK": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		}[name], true
	}})
	if err != nil {
		t.Fatal(err)
	}
	set.Fill(description.Defaults{Timeout: 20 * time.Second})
	config := Config{Pipeline: set.Default(), CheckTimeout: 10 * time.Second}
	for _, option := range options {
		option(&config)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// speaking starts a server of a protocol and returns a client of it.
func speaking(t *testing.T, name string) (*Client, *work, string) {
	t.Helper()
	w := &work{jobs: map[string]*apis.Job{}}
	var s *httptest.Server
	s = httptest.NewServer(apis.New(name, func() string { return s.URL }, w))
	t.Cleanup(s.Close)
	text := fmt.Sprintf(descriptions[name], s.URL)
	if lines := strings.Count(strings.TrimSpace(text), "\n") + 1; lines > 15 {
		t.Errorf("the description of %s has %d lines", name, lines)
	}
	return opened(t, text), w, s.URL
}

const callbackURL = "https://casewatch.example/callback/c-1?run=2&token=hush-token"

func job(id string) Job {
	return Job{
		CaseID:      "c-1",
		Run:         2,
		ID:          id,
		Form:        []byte(`{"n":1.50,"Form":{"Id":"form-content"}}`),
		CallbackURL: callbackURL,
	}
}

// TestPresets takes a job from its start to its result, or to its failure, or cancels it.
func TestPresets(t *testing.T) {
	result := json.RawMessage(`{"url":"https://files.example/1.pdf"}`)
	for _, name := range apis.Names {
		t.Run(name, func(t *testing.T) {
			begin := func(t *testing.T) (*Client, *work, Job) {
				c, w, _ := speaking(t, name)
				got := c.Dispatch(t.Context(), job(""))
				if got.Kind != cases.DispatchAccepted || got.JobID == "" {
					t.Fatalf("dispatch: %+v", got)
				}
				return c, w, job(got.JobID)
			}
			poll := func(t *testing.T, c *Client, j Job) cases.CheckOutcome {
				t.Helper()
				got := c.Poll(t.Context(), j)
				if got.Kind != cases.CheckReading {
					t.Fatalf("poll: %+v", got)
				}
				if got.Reading.Unmapped != "" {
					t.Errorf("poll: the status %q is in no list", got.Reading.Unmapped)
				}
				return got
			}

			t.Run("to its result", func(t *testing.T) {
				c, w, j := begin(t)
				if got := poll(t, c, j); got.Reading.Status != cases.StatusRunning {
					t.Errorf("queued: %+v", got.Reading)
				}
				w.change(func(j *apis.Job) { j.State, j.Completed, j.Total, j.Current = apis.Running, 3, 4, "a.pdf" })
				got := poll(t, c, j)
				if got.Reading.Status != cases.StatusRunning {
					t.Errorf("running: %+v", got.Reading)
				}
				r := got.Reading
				counted, percent := r.Completed == 3 && r.Total == 4, r.Percent == 75
				if want := name == "operation" || name == "job"; counted != want {
					t.Errorf("%d of %d are done; counted: want %v", r.Completed, r.Total, want)
				}
				if want := name == "location" || name == "azure"; percent != want {
					t.Errorf("%v %% are done; want 75: %v", r.Percent, want)
				}
				w.change(func(j *apis.Job) { j.State, j.Result = apis.Succeeded, result })
				got = poll(t, c, j)
				if got.Reading.Status != cases.StatusSucceeded || got.ResultMissing ||
					got.Result == nil || got.Dropped.Result {
					t.Fatalf("succeeded: %+v", got)
				}
				if !strings.Contains(string(got.Result.Raw), "https://files.example/1.pdf") || got.Result.Size == 0 {
					t.Errorf("the result is %s", got.Result.Raw)
				}
			})
			t.Run("to its failure", func(t *testing.T) {
				c, w, j := begin(t)
				w.change(func(j *apis.Job) { j.State, j.Error = apis.Failed, "it ran out of paper, said hush-token" })
				got := poll(t, c, j)
				want := "it ran out of paper, said [redacted]"
				if got.Reading.Status != cases.StatusFailed || got.Message != want || got.Result != nil {
					t.Errorf("failed: %+v", got)
				}
			})
			t.Run("cancelled by us", func(t *testing.T) {
				c, w, j := begin(t)
				if got := c.Cancel(t.Context(), j); got.Kind != cases.CancelConfirmed {
					t.Fatalf("cancel: %+v", got)
				}
				if got := w.change(func(*apis.Job) {}); got.State != apis.Cancelled {
					t.Errorf("the job is %v", got.State)
				}
				if got := c.Cancel(t.Context(), j); got.Kind != cases.CancelConfirmed {
					t.Errorf("cancelled again: %+v", got)
				}
				got := c.Poll(t.Context(), j)
				if name == "location" { // its job is gone
					if got.Kind != cases.CheckUnknown {
						t.Errorf("poll: %+v", got)
					}
				} else if got.Kind != cases.CheckReading || got.Reading.Status != cases.StatusCancelled {
					t.Errorf("poll: %+v", got)
				}
			})
			t.Run("lost", func(t *testing.T) {
				c, w, j := begin(t)
				w.mu.Lock()
				clear(w.jobs)
				w.mu.Unlock()
				if got := c.Poll(t.Context(), j); got.Kind != cases.CheckUnknown {
					t.Errorf("poll: %+v", got)
				}
				if got := c.Cancel(t.Context(), j); got.Kind != cases.CancelConfirmed {
					t.Errorf("cancel: %+v", got)
				}
			})
			t.Run("busy", func(t *testing.T) {
				c, w, _ := speaking(t, name)
				w.refuse = errors.New("too much to do")
				got := c.Dispatch(t.Context(), job(""))
				if got.Kind != cases.DispatchBusy || got.RetryAfter != time.Second || got.Message != "too much to do" {
					t.Errorf("dispatch: %+v", got)
				}
			})
			t.Run("by callback", func(t *testing.T) {
				if name == "location" {
					t.Skip("location has no callbacks")
				}
				c, w, j := begin(t)
				if got := w.callbacks; !cmp.Equal(got, []string{callbackURL}) {
					t.Errorf("the pipeline was told the callbacks %q", got)
				}
				done := w.change(func(j *apis.Job) { j.State, j.Result = apis.Succeeded, result })
				got, err := c.ReadCallback(nil, apis.Report(name, c.base, done))
				if err != nil || got.Reading.Status != cases.StatusSucceeded || got.Fetch || got.Event {
					t.Fatalf("%+v, %v", got, err)
				}
				// Azure's start names the job in a header, which a callback does not have.
				if want := map[bool]string{true: "", false: j.ID}[name == "azure"]; got.JobID != want {
					t.Errorf("the callback is about %q, want %q", got.JobID, want)
				}
				if got.Result == nil || !strings.Contains(string(got.Result.Raw), "1.pdf") {
					t.Errorf("the result is %+v", got.Result)
				}
				broken := w.change(func(j *apis.Job) { j.State, j.Error = apis.Failed, "it broke" })
				if got, err := c.ReadCallback(nil, apis.Report(name, c.base, broken)); err != nil ||
					got.Reading.Status != cases.StatusFailed || got.Message != "it broke" {
					t.Errorf("%+v, %v", got, err)
				}
			})
		})
	}
}

// The form arrives byte for byte, below the member and with the members that the description names.
func TestWhatIsSent(t *testing.T) {
	for name, want := range map[string]string{
		"operation":  `{"webhook":"` + callbackURL + `","n":1.50,"Form":{"Id":"form-content"}}`,
		"prediction": `{"n":1.50,"Form":{"Id":"form-content"}}`,
		"location":   `{"n":1.50,"Form":{"Id":"form-content"}}`,
	} {
		c, w, _ := speaking(t, name)
		c.Dispatch(t.Context(), job(""))
		if len(w.forms) != 1 || w.forms[0] != want {
			t.Errorf("%s: got %q, want %q", name, w.forms, want)
		}
	}
}
