package machine_test

import (
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/cases"
)

// The console is served with and without a trailing slash. It needs no sign-in, and can cancel a
// run and run a case again.
func TestConsole(t *testing.T) {
	s := newSystem(t, nil)
	c := s.start(`{"case_id":"watched"}`, "")
	for _, path := range []string{"/console", "/console/", "/console/watched", "/console/?id=watched"} {
		if code, page := s.do("GET", s.base+path, ""); code != 200 || !strings.Contains(string(page), "watched") {
			t.Errorf("%s is answered %d %s, want 200 with the case", path, code, page)
		}
	}
	act := func(run, action string) (int, []byte) {
		return s.do("POST", s.base+"/console/watched?run="+run, "action="+action,
			"Content-Type: application/x-www-form-urlencoded")
	}
	code, page := act("1", "cancel") // the page after the redirect
	if code != 200 || !strings.Contains(string(page), "The run is cancelled.") {
		t.Errorf("the cancel is answered %d %s, want 200 that says so", code, page)
	}
	s.wantEnd(c, cases.Cancelled, cases.ReasonCancelled)
	code, page = act("1", "rerun")
	if code != 200 || !strings.Contains(string(page), "Run 2") {
		t.Errorf("the rerun is answered %d %s, want 200 with run 2", code, page)
	}
	code, body := s.do("GET", s.base+"/console/-/health", "", "Accept: application/json")
	if code != 200 || !strings.Contains(string(body), `"leaked":0`) {
		t.Errorf("the health is answered %d %s, want 200 without a leak", code, body)
	}
}
