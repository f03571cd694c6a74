package callback_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/callback"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/reconcile"
)

func TestMain(m *testing.M) {
	// OpenCensus, which Google's clients import, starts this worker in an init function. It cannot
	// be stopped, and there is one per process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// address returns the callback address of a run.
func address(b *functiontest.Bench, function, caseID string, run int) string {
	until := time.Now().Add(time.Hour)
	return casetoken.Callback(function, b.Config.Access.TokenSecrets, caseID, run, until)
}

const failed = `{"case_id":"c","status":"failed","error":{"message":"out of paper"}}`

func TestAReportEndsTheRun(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(callback.New)
	b.Begin("c")
	for range 2 { // pipelines repeat their reports
		if a := b.Do("POST", address(b, u, "c", 1), failed); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	c := b.Case("c", 1)
	if c.State != cases.Failed || c.Outcome.End.Source != cases.SourceCallback ||
		c.Outcome.End.Message != "out of paper" ||
		c.Outcome.Late != nil {
		t.Errorf("%s %+v %+v", c.State, c.Outcome.End, c.Outcome.Late)
	}
	if log := b.Log.String(); strings.Contains(log, "token=") || strings.Contains(log, "out of paper") {
		t.Errorf("the log repeats the token or the report:\n%s", log)
	}
}

func TestAddresses(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(callback.New)
	b.Begin("c")
	good := address(b, u, "c", 1)
	other := casetoken.New(casetoken.ToCancel, b.Config.Access.TokenSecrets).Sign("c", time.Now().Add(time.Hour))
	for name, test := range map[string]struct {
		method, address, body string
		want                  int
	}{
		"no token":             {"POST", u + "/c?run=1", failed, 401},
		"no run":               {"POST", strings.Replace(good, "run=1&", "", 1), failed, 401},
		"another run":          {"POST", strings.Replace(good, "run=1", "run=2", 1), failed, 401},
		"another case":         {"POST", strings.Replace(good, "/c?", "/d?", 1), failed, 401},
		"the token to cancel":  {"POST", u + "/c?run=1&token=" + other, failed, 401},
		"no case":              {"POST", u + "/?run=1", failed, 404},
		"GET":                  {"GET", good, "", 405},
		"too large":            {"POST", good, strings.Repeat("x", 1<<20+1), 413},
		"not readable":         {"POST", good, "<xml/>", 400},
		"nothing":              {"POST", good, "", 400},
		"of another case":      {"POST", good, strings.Replace(failed, `"c"`, `"d"`, 1), 400},
		"a run that is purged": {"POST", address(b, u, "c", 7), failed, 404},
	} {
		t.Run(name, func(t *testing.T) {
			b.Problem(b.Do(test.method, test.address, test.body), test.want)
		})
	}
	if c := b.Case("c", 1); c.State != cases.Pending {
		t.Errorf("%s", c.State)
	}
	if n := len(b.Topic.Invalid()); n != 3 {
		t.Errorf("%d dead letters, want those that were answered 400", n)
	}
	b.Pass(30 * 24 * time.Hour)
	b.Problem(b.Do("POST", good, failed), 401)
}

func TestSignatures(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(callback.New)
	b.Begin("c")
	b.Pipe.OnCallback(func(pipeline string, header map[string][]string, body []byte) (reconcile.Callback, error) {
		if pipeline != "default" || http.Header(header).Get("Webhook-Signature") != "v1,good" {
			return reconcile.Callback{}, fmt.Errorf("no: %w", reconcile.ErrSignature)
		}
		return reconcile.Callback{Reading: cases.Reading{Status: cases.StatusCancelled}}, nil
	})
	b.Problem(b.Do("POST", address(b, u, "c", 1), "{}"), 401)
	if a := b.Do("POST", address(b, u, "c", 1), "{}", "Webhook-Signature: v1,good"); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if c := b.Case("c", 1); c.State != cases.Cancelled || c.Outcome.End.Source != cases.SourceCallback {
		t.Errorf("%s", c.State)
	}
}

func TestNothingRecorded(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(callback.New)
	b.Begin("c")
	b.Store.SetDown(true)
	b.Problem(b.Do("POST", address(b, u, "c", 1), failed), 503)
	b.Store.SetDown(false)
	b.Topic.SetDown(true)
	b.Problem(b.Do("POST", address(b, u, "c", 1), "no event"), 503)
}
