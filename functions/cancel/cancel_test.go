package cancel_test

import (
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/casetoken"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/cancel"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
)

func TestMain(m *testing.M) {
	// OpenCensus, which Google's clients import, starts this worker in an init function. It cannot
	// be stopped, and there is one per process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const key = "X-API-Key: " + functiontest.Key

func TestCancel(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(cancel.New)
	b.Begin("c")
	first := b.Do("POST", u+"/c?run=1", "", key)
	body := first.JSON(t)
	if first.Status != 200 || body["case_id"] != "c" || body["run"] != 1.0 || body["state"] != "cancelled" ||
		body["ended_at"] == nil {
		t.Fatalf("got %d %s, want 200 and a cancelled run", first.Status, first.Body)
	}
	if end := body["end"].(map[string]any); end["reason"] != "cancelled" || end["source"] != "cancel" {
		t.Errorf("got end %v", end)
	}
	// The pending tasks are deleted, and the end is published.
	kinds := map[queue.Kind]int{}
	for _, task := range b.Queue.Deleted() {
		kinds[task.Kind]++
	}
	if kinds[queue.Check] != 1 || kinds[queue.Dispatch] != 1 {
		t.Errorf("deleted tasks %v, want one check and one dispatch", kinds)
	}
	if ended := b.Topic.Ended(); len(ended) != 1 || ended[0].State != cases.Cancelled {
		t.Errorf("%+v", ended)
	}
	for _, query := range []string{"", "?run=1"} {
		again := b.Do("POST", u+"/c"+query, "", key)
		if again.Status != 200 || again.JSON(t)["ended_at"] != body["ended_at"] {
			t.Errorf("repeated cancel: got %d %s", again.Status, again.Body)
		}
	}
	if n := len(b.Topic.Ended()); n != 1 {
		t.Errorf("the end was published %d times, want once", n)
	}
}

func TestRunThatCannotBeCancelled(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(cancel.New)
	b.Begin("done")
	b.Event("m", `{"case_id":"done","run":1,"status":"succeeded","result":{}}`)
	b.Begin("done2")
	b.Event("m2", `{"case_id":"done2","run":1,"status":"succeeded","result":{}}`)
	b.Begin("done2")
	b.Begin("twice")
	b.Do("POST", u+"/twice", "", key)
	b.Begin("twice")
	for _, test := range []struct {
		name, path string
		want       int
		contains   string
	}{
		{"ended in another state", "/done", 409, "succeeded"},
		{"ended in another state, with run", "/done?run=1", 409, "succeeded"},
		{"not the current run", "/done2?run=1", 409, "run 1 is not the current run, which is 2"},
		{"not the current run, but already cancelled", "/twice?run=1", 200, `"cancelled"`},
		{"no such run", "/done?run=2", 409, "run 2 is not the current run"},
		{"no such case", "/missing", 404, ""},
		{"no case id", "/", 404, ""},
		{"bad id", "/.c", 400, "case_id"},
		{"bad run", "/done?run=x", 400, "run"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := b.Do("POST", u+test.path, "", key)
			if test.want != 200 {
				b.Problem(a, test.want)
			}
			if a.Status != test.want || !strings.Contains(a.Body, test.contains) {
				t.Errorf("%d %s, want %d with %q", a.Status, a.Body, test.want, test.contains)
			}
		})
	}
	if c := b.Case("done", 1); c.State != cases.Succeeded {
		t.Errorf("the cancel changed a run that had ended: %s", c.State)
	}
	if c := b.Case("twice", 2); c.State != cases.Pending {
		t.Errorf("the cancel of run 1 changed run 2: %s", c.State)
	}
}

func TestAccess(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(cancel.New)
	b.Begin("c")
	tokens := casetoken.New(casetoken.ToCancel, b.Config.Access.TokenSecrets)
	soon := time.Now().Add(time.Hour)
	for _, test := range []struct {
		name, method, path string
		header             []string
		want               int
	}{
		{"no credentials", "POST", "/c", nil, 401},
		{"wrong key", "POST", "/c", []string{"Authorization: Bearer wrong"}, 401},
		{"another case's token", "POST", "/c?token=" + tokens.Sign("d", soon), nil, 403},
		{"expired token", "POST", "/c?token=" + tokens.Sign("c", time.Now().Add(-time.Second)), nil, 403},
		{"a token for reading", "POST",
			"/c?token=" + casetoken.New(casetoken.ToRead, b.Config.Access.TokenSecrets).Sign("c", soon), nil,
			403},
		{"made-up token", "POST", "/c?token=x", nil, 403},
		{"made-up token, unknown case", "POST", "/d?token=x", nil, 403},
		{"GET", "GET", "/c?token=" + tokens.Sign("c", soon), nil, 405},
		{"HEAD", "HEAD", "/c", nil, 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := b.Do(test.method, u+test.path, "", test.header...)
			if test.method != "HEAD" {
				b.Problem(a, test.want)
			}
			if a.Status != test.want || test.want == 405 && a.Header.Get("Allow") != "POST" {
				t.Errorf("%d %v, want %d", a.Status, a.Header, test.want)
			}
		})
	}
	if c := b.Case("c", 1); c.State != cases.Pending {
		t.Fatalf("a rejected request changed the case: %s", c.State)
	}
	if a := b.Do("POST", u+"/c?run=1&token="+tokens.Sign("c", soon), ""); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestDown(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(cancel.New)
	b.Begin("c")
	b.Store.SetDown(true)
	b.Problem(b.Do("POST", u+"/c", "", key), 503)
	b.Store.SetDown(false)
	// The end is recorded although the queue is down. The sweep finalizes the run later.
	b.Queue.SetDown(true)
	if a := b.Do("POST", u+"/c", "", key); a.Status != 200 || a.JSON(t)["state"] != "cancelled" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if !strings.Contains(b.Log.String(), "run not finalized") {
		t.Errorf("%s", b.Log)
	}
}
