package machine_test

import (
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/cases"
)

// The console is found with and without the slash at its end, is open to this machine, and runs what was cancelled again.
func TestConsole(t *testing.T) {
	s := newSystem(t, nil)
	c := s.start(`{"case_id":"watched"}`, "")
	for _, path := range []string{"/console", "/console/", "/console/watched", "/console/?id=watched"} {
		if code, page := s.do("GET", s.base+path, ""); code != 200 || !strings.Contains(string(page), "watched") {
			t.Errorf("%s: %d %s", path, code, page)
		}
	}
	act := func(run, action string) (int, []byte) {
		return s.do("POST", s.base+"/console/watched?run="+run, "action="+action, "Content-Type: application/x-www-form-urlencoded")
	}
	if code, page := act("1", "cancel"); code != 200 || !strings.Contains(string(page), "The run is cancelled.") { // as redirected
		t.Errorf("cancel: %d %s", code, page)
	}
	s.wantEnd(c, cases.Cancelled, cases.ReasonCancelled)
	if code, page := act("1", "rerun"); code != 200 || !strings.Contains(string(page), "Run 2") {
		t.Errorf("rerun: %d %s", code, page)
	}
	if code, body := s.do("GET", s.base+"/console/-/health", "", "Accept: application/json"); code != 200 || !strings.Contains(string(body), `"leaked":0`) {
		t.Errorf("health: %d %s", code, body)
	}
}
