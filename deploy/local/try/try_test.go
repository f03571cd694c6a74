package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/pipeline/description"
)

func TestMain(m *testing.M) {
	documentTime, pollEvery = 20*time.Millisecond, 100*time.Millisecond
	goleak.VerifyTestMain(m)
}

// tried runs a trial with these settings, in the root of the module.
func tried(t *testing.T, settings map[string]string) (string, error) {
	t.Helper()
	t.Chdir("../../..")
	var out bytes.Buffer
	err := run(t.Context(), &out, func(name string) (string, bool) { v, ok := settings[name]; return v, ok })
	return out.String(), err
}

// TestSampleFits tries the sample pipeline behind each protocol: every description of deploy/local/pipelines.yaml fits.
func TestSampleFits(t *testing.T) {
	text, err := os.ReadFile("../pipelines.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, err := description.Parse(text, description.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(set) < 6 {
		t.Errorf("only %d pipelines are described", len(set))
	}
	for _, name := range set.Names() {
		t.Run(name, func(t *testing.T) {
			out, err := tried(t, map[string]string{"PIPELINE": name})
			if err != nil || !strings.HasSuffix(out, "the description fits\n") ||
				!strings.Contains(out, "  output_url: http://127.0.0.1:") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	documentTime = time.Minute
	defer func() { documentTime = 20 * time.Millisecond }()
	out, err := tried(t, map[string]string{"PIPELINE": "tasks", "CANCEL": "1"})
	if err != nil || !strings.Contains(out, "> DELETE http://") || !strings.Contains(out, "  read: confirmed") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWrongDescriptions tries descriptions that do not fit the sample pipeline.
func TestWrongDescriptions(t *testing.T) {
	base, closeSample, err := startSample()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeSample)
	for name, test := range map[string]struct{ text, want, shown string }{
		"a status in no list": {
			"  status: {succeeded: [ready], running: [queued], failed: [failed]}\n",
			`the status "completed" is in no list`, `status.at: "completed"`,
		},
		"a pointer that finds nothing": {"  status: {at: body:/state}\n", "no answer had a status at body:/state",
			"no answer had status.at"},
		"a job that is elsewhere": {"  start: {job: body:/uuid}\n", "it names no job at body:/uuid", "< 202 Accepted"},
		"a path that is not there": {"  start: {request: POST /tasks}\n", "the start was not accepted",
			"< 404 Not Found"},
		"a poll that is not there": {"  poll: {request: \"GET /tasks/{job}\", min: 10ms}\n",
			"5 polls in a row brought no reading: unknown", "< 404 Not Found"},
		"a result that is elsewhere": {"  result: {at: body:/documents, url: ~}\n",
			"no result was found at body:/documents", "read: succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := tried(t, map[string]string{
				"PIPELINES": fmt.Sprintf("p:\n  preset: job\n  url: %s/pipeline/apis/job\n%s", base, test.text),
				"DEADLINE":  "2s",
			})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(out, test.shown) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestWrongSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	text := "p: {preset: job, url: \"https://p.example\", auth: {header: X-K, value: \"{secret:PIPELINE_SECRET_K}\"}}"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		settings map[string]string
		want     string
	}{
		"a secret that is not set": {map[string]string{"PIPELINES_FILE": file},
			"line 1: p.auth.value needs the secret PIPELINE_SECRET_K"},
		"two ways":     {map[string]string{"PIPELINES_FILE": file, "PIPELINE_API_URL": "x"}, "expected one"},
		"no such file": {map[string]string{"PIPELINES_FILE": file + "x"}, "no such file"},
		"a pipeline that is not one": {
			map[string]string{"PIPELINES_FILE": file, "PIPELINE_SECRET_K": "k", "PIPELINE": "q"},
			`no pipeline is named "q"; there are p`},
		"a deadline of no kind": {map[string]string{"PIPELINES_FILE": file, "PIPELINE_SECRET_K": "k",
			"DEADLINE": "soon"}, "DEADLINE"},
		"a form that is not there": {map[string]string{"PIPELINES_FILE": file, "PIPELINE_SECRET_K": "k",
			"FORM": file + "x"}, "no such file"},
		"nothing there": {map[string]string{"PIPELINE_API_URL": "http://127.0.0.1:1"},
			"the start was not accepted: the pipeline could not be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := tried(t, test.settings); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
