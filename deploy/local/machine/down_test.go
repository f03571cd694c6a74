package machine_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// When Cloud Tasks is down, a start is recorded and answered 503. The sweep can still be called,
// and the pipeline gets nothing.
func TestStartWithoutCloudTasks(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Default(pipelinetest.Async(4))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.m.Tasks.Close(ctx); err != nil {
		t.Fatal(err)
	}
	const form = `{"case_id":"c","text":"of the form"}`
	code, body := s.do("POST", s.base+"/start", form)
	var problem struct{ Detail string }
	if err := json.Unmarshal(body, &problem); err != nil || code != http.StatusServiceUnavailable ||
		!strings.Contains(problem.Detail, "recorded but not yet queued") {
		t.Fatalf("the start is answered %d %s (%v), want 503 that says that it is recorded", code, body, err)
	}
	// A repeat finds the recorded run, which is still not queued.
	if code, body = s.do("POST", s.base+"/start", form); code != http.StatusServiceUnavailable {
		t.Errorf("the repeated start is answered %d %s, want 503", code, body)
	}
	if report := s.sweep(); !strings.Contains(report, `"open":1,`) {
		t.Errorf("the sweep reports %s, want one open run", report)
	}
	if n := len(s.pipe.Posts("c")); n != 0 {
		t.Errorf("the pipeline was started %d times, want never", n)
	}
	if strings.Contains(s.log.String(), "of the form") {
		t.Error("the log contains the form")
	}
}
