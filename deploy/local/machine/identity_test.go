package machine_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
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

// The account of the tasks is a setting, and whichever it is may call.
func TestTasksOfAnotherAccount(t *testing.T) {
	s := newSystem(t, map[string]string{"TASKS_SERVICE_ACCOUNT": "mine@p.iam.gserviceaccount.com"})
	s.pipe.Script("c", pipelinetest.Work(4, 0, 20*time.Millisecond))
	s.wantEnd(s.start(`{"case_id":"c"}`, ""), cases.Succeeded, cases.ReasonCompleted)
}

// Settings by which nothing could ever be delivered here are refused at the start, each by its name.
func TestSettingsThatTurnOurCallersAway(t *testing.T) {
	const us = "tasks@local.iam.gserviceaccount.com,events@local.iam.gserviceaccount.com,scheduler@local.iam.gserviceaccount.com"
	for _, test := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"as deployed", map[string]string{
			"INVOKER_SERVICE_ACCOUNTS": "tasks@p.iam.gserviceaccount.com", "INVOKER_AUDIENCES": "https://check-1.example.run.app",
			"INVOKER_ISSUER": "https://accounts.google.com",
		}, []string{"INVOKER_SERVICE_ACCOUNTS", "INVOKER_AUDIENCES", "INVOKER_ISSUER"}},
		{"one account is missing", map[string]string{"INVOKER_SERVICE_ACCOUNTS": strings.TrimPrefix(us, "tasks@local.iam.gserviceaccount.com,")}, []string{"INVOKER_SERVICE_ACCOUNTS"}},
		{"more than ours", map[string]string{"INVOKER_SERVICE_ACCOUNTS": us + ",x@p.iam.gserviceaccount.com", "INVOKER_AUDIENCES": "https://x.example,http://127.0.0.1:1"}, nil},
		{"nothing is checked", map[string]string{"INVOKER_SERVICE_ACCOUNTS": "", "INVOKER_AUDIENCES": "", "INVOKER_ISSUER": "https://accounts.google.com"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := machine.Check(machine.Options{BaseURL: "http://127.0.0.1:1", DataDir: t.TempDir(), Lookup: func(name string) (string, bool) { v, ok := test.env[name]; return v, ok }})
			var named []string
			if faulty, ok := errors.AsType[*config.Error](err); ok {
				for _, f := range faulty.Faults {
					named = append(named, f.Name)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(named, test.want) {
				t.Errorf("%v names %q, want %q", err, named, test.want)
			}
		})
	}
}
