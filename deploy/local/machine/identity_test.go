package machine_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// Nobody calls the private functions but those who do when deployed, and with them a case runs from its start to its end.
func TestWhoMayCallThePrivateFunctions(t *testing.T) {
	s := newSystem(t, nil)
	const task = `{"case_id":"c","run":1,"seq":1}`
	for path, ok := range map[string]int{"/dispatch": 200, "/check": 200, "/complete": 400, "/sweep": 200} {
		for name, test := range map[string]struct {
			token string
			want  int
		}{
			"no token":         {"", 401},
			"a wrong audience": {s.token("tasks", identitytest.Claim("aud", "https://other.example")), 401},
			"expired":          {s.token("tasks", identitytest.Expires(time.Now().Add(-time.Hour))), 401},
			"another issuer's": {identitytest.New(s.m.Issuer.URL).Sign("tasks@local.iam.gserviceaccount.com", s.base), 401},
			"a wrong account":  {s.token("somebody"), 403},
			"an account of us": {s.token("tasks"), ok},
		} {
			var header []string
			if test.token != "" {
				header = []string{"Authorization: Bearer " + test.token}
			}
			if code, body := s.do("POST", s.base+path, task, header...); code != test.want {
				t.Errorf("%s with %s: %d %s, want %d", path, name, code, body, test.want)
			}
		}
	}
	// Each of its ends comes by one of them: the answer by a task of dispatch, the event by a push, what was published beside them too.
	s.pipe.OnEnd = func(event []byte) { s.publish(string(event)) }
	s.pipe.Script("by-answer", pipelinetest.Work(4, 0, 20*time.Millisecond))
	s.wantEnd(s.start(`{"case_id":"by-answer"}`, ""), cases.Succeeded, cases.ReasonCompleted)
	s.pipe.Script("by-event", pipelinetest.Async(4))
	c := s.start(`{"case_id":"by-event"}`, "")
	s.until(c, "it was looked at", func(v view) bool { return v.Checks.Count > 1 })
	s.pipe.Finish("by-event", pipelinetest.Result("by-event", 4, 0))
	if v := s.wantEnd(c, cases.Succeeded, cases.ReasonCompleted); v.End.Source != cases.SourceEvent {
		t.Errorf("it ended by %s", v.End.Source)
	}
	if !strings.Contains(s.sweep(), `"leaked":0`) {
		t.Error("something leaked")
	}
}

// Told to look at nobody, the machine lets all in, and needs no issuer.
func TestPrivateFunctionsUnguarded(t *testing.T) {
	s := newSystem(t, map[string]string{"INVOKER_SERVICE_ACCOUNTS": ""})
	if code, body := s.do("POST", s.base+"/sweep", ""); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	s.pipe.Script("c", pipelinetest.Work(4, 0, 20*time.Millisecond))
	s.wantEnd(s.start(`{"case_id":"c"}`, ""), cases.Succeeded, cases.ReasonCompleted)
}
