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

// TestQueueServerDown: with Cloud Tasks really gone, a start is recorded and answered 503, the case can be seen, and cancelled.
func TestQueueServerDown(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.Default(pipelinetest.Async(4))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.m.Tasks.Close(ctx); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	code, body := s.do("POST", s.base+"/start", `{"case_id":"c","text":"of the form"}`)
	var problem struct{ Detail string }
	if err := json.Unmarshal(body, &problem); err != nil || code != http.StatusServiceUnavailable || !strings.Contains(problem.Detail, "recorded but not yet queued") {
		t.Fatalf("%d %s %v", code, body, err)
	}
	t.Logf("answered after %v", time.Since(begun))
	// The repeat finds the run that was recorded; it is still not queued.
	if code, body = s.do("POST", s.base+"/start", `{"case_id":"c","text":"of the form"}`); code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", code, body)
	}
	if code, body = s.do("POST", s.base+"/sweep", "", "Authorization: Bearer "+s.token("scheduler")); code != http.StatusOK || !strings.Contains(string(body), `"open":1,`) {
		t.Errorf("%d %s", code, body)
	}
	if n := len(s.pipe.Posts("c")); n != 0 {
		t.Errorf("posted %d times", n)
	}
	if strings.Contains(s.log.String(), "of the form") {
		t.Error("the form is in the log")
	}
}
