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

// The private functions accept calls only of the accounts that call them in a deployment.
func TestPrivateFunctionsVerifyTheirCallers(t *testing.T) {
	s := newSystem(t, nil)
	const task = `{"case_id":"c","run":1,"seq":1}`
	for path, accepted := range map[string]int{"/dispatch": 200, "/check": 200, "/complete": 400, "/sweep": 200} {
		for name, test := range map[string]struct {
			token string
			want  int
		}{
			"no token":              {"", 401},
			"wrong audience":        {s.token("tasks", identitytest.Claim("aud", "https://other.example")), 401},
			"expired token":         {s.token("tasks", identitytest.Expires(time.Now().Add(-time.Hour))), 401},
			"key of another issuer": {identitytest.New(s.m.Issuer.URL).Sign(local("tasks"), s.base), 401},
			"wrong account":         {s.token("somebody"), 403},
			"account of the tasks":  {s.token("tasks"), accepted},
		} {
			t.Run(path+" with "+name, func(t *testing.T) {
				var header []string
				if test.token != "" {
					header = []string{"Authorization: Bearer " + test.token}
				}
				if code, body := s.do("POST", s.base+path, task, header...); code != test.want {
					t.Errorf("answered %d %s, want %d", code, body, test.want)
				}
			})
		}
	}
}

// A case can end by its dispatch, which a task calls, and by an event, which a push delivers.
func TestTokensOfTasksAndPushesAreAccepted(t *testing.T) {
	s := newSystem(t, nil)
	s.pipe.OnEnd = func(event []byte) { s.publish(string(event)) }
	s.pipe.Script("by-answer", pipelinetest.Work(4, 0, 20*time.Millisecond))
	s.wantEnd(s.start(`{"case_id":"by-answer"}`, ""), cases.Succeeded, cases.ReasonCompleted)
	s.pipe.Script("by-event", pipelinetest.Async(4))
	c := s.start(`{"case_id":"by-event"}`, "")
	s.until(c, "the case was checked", func(v view) bool { return v.Checks.Count > 1 })
	s.pipe.Finish("by-event", pipelinetest.Result("by-event", 4, 0))
	if v := s.wantEnd(c, cases.Succeeded, cases.ReasonCompleted); v.End.Source != cases.SourceEvent {
		t.Errorf("the case ended by %s, want %s", v.End.Source, cases.SourceEvent)
	}
}

func TestPrivateFunctionsWithoutInvokersAcceptAllCalls(t *testing.T) {
	s := newSystem(t, map[string]string{"INVOKER_SERVICE_ACCOUNTS": ""})
	if code, body := s.do("POST", s.base+"/sweep", ""); code != http.StatusOK {
		t.Errorf("a sweep without a token is answered %d %s, want 200", code, body)
	}
	s.pipe.Script("c", pipelinetest.Work(4, 0, 20*time.Millisecond))
	s.wantEnd(s.start(`{"case_id":"c"}`, ""), cases.Succeeded, cases.ReasonCompleted)
}

func TestTasksCanHaveAnotherAccount(t *testing.T) {
	s := newSystem(t, map[string]string{"TASKS_SERVICE_ACCOUNT": "mine@p.iam.gserviceaccount.com"})
	s.pipe.Script("c", pipelinetest.Work(4, 0, 20*time.Millisecond))
	s.wantEnd(s.start(`{"case_id":"c"}`, ""), cases.Succeeded, cases.ReasonCompleted)
}

// local returns the e-mail address of an account of the machine.
func local(account string) string { return account + "@local.iam.gserviceaccount.com" }

// Check rejects settings with which the private functions would reject the machine's own calls.
func TestCheckRejectsSettingsOfOtherInvokers(t *testing.T) {
	own := []string{local("tasks"), local("events"), local("scheduler")}
	for _, test := range []struct {
		name string
		env  map[string]string
		want []string // names of the rejected settings
	}{
		{
			"settings of a deployment",
			map[string]string{
				"INVOKER_SERVICE_ACCOUNTS": "tasks@p.iam.gserviceaccount.com",
				"INVOKER_AUDIENCES":        "https://check-1.example.run.app",
				"INVOKER_ISSUER":           "https://accounts.google.com",
			},
			[]string{"INVOKER_SERVICE_ACCOUNTS", "INVOKER_AUDIENCES", "INVOKER_ISSUER"},
		},
		{
			"a missing account",
			map[string]string{"INVOKER_SERVICE_ACCOUNTS": strings.Join(own[1:], ",")},
			[]string{"INVOKER_SERVICE_ACCOUNTS"},
		},
		{
			"additional accounts and audiences",
			map[string]string{
				"INVOKER_SERVICE_ACCOUNTS": strings.Join(append(own, "x@p.iam.gserviceaccount.com"), ","),
				"INVOKER_AUDIENCES":        "https://x.example,http://127.0.0.1:1",
			},
			nil,
		},
		{
			"no verification",
			map[string]string{
				"INVOKER_SERVICE_ACCOUNTS": "",
				"INVOKER_AUDIENCES":        "",
				"INVOKER_ISSUER":           "https://accounts.google.com",
			},
			nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := machine.Check(machine.Options{
				BaseURL: "http://127.0.0.1:1",
				DataDir: t.TempDir(),
				Lookup:  lookup(test.env),
			})
			var named []string
			if invalid, ok := errors.AsType[*config.Error](err); ok {
				for _, f := range invalid.Faults {
					named = append(named, f.Name)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(named, test.want) {
				t.Errorf("the error %v names %q, want %q", err, named, test.want)
			}
		})
	}
}
