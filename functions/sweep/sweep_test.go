package sweep_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/sweep"
)

func TestMain(m *testing.M) {
	// OpenCensus, which Google's clients import, starts this worker in an init function. It cannot
	// be stopped, and there is one per process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func TestReport(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(sweep.New)
	for _, id := range []string{"a", "b", "c"} {
		b.Begin(id)
	}
	if _, err := b.Reconciler.Cancel(t.Context(), "c", 0); err != nil {
		t.Fatal(err)
	}
	a := b.Do("POST", u, "")
	body := a.JSON(t)
	if got := slices.Sorted(maps.Keys(body)); a.Status != 200 ||
		!slices.Equal(got, []string{"leaked", "open", "overdue", "purged", "rearmed", "republished", "timed_out"}) {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	for name, n := range body {
		if want := map[bool]float64{true: 2}[name == "open"]; n != want {
			t.Errorf("%s is %v, want %v", name, n, want)
		}
	}
}

// After an hour and a half every run is past its deadline. No task was delivered.
func TestRepairs(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(sweep.New)
	b.Begin("a")
	b.Topic.SetDown(true)
	b.Begin("b")
	if _, err := b.Reconciler.Cancel(t.Context(), "b", 0); err != nil {
		t.Fatal(err)
	}
	b.Topic.SetDown(false)
	b.Pass(90 * time.Minute)
	body := b.Do("POST", u, "").JSON(t)
	if body["open"] != 0.0 || body["overdue"] != 1.0 || body["timed_out"] != 1.0 || body["republished"] != 1.0 ||
		body["leaked"] != 0.0 {
		t.Errorf("%v", body)
	}
	if ended := b.Topic.Ended(); len(ended) != 2 {
		t.Errorf("%d ends were published, want 2", len(ended))
	}
}

func TestErrors(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(sweep.New)
	a := b.Do("GET", u, "")
	b.Problem(a, 405)
	if a.Header.Get("Allow") != "POST" {
		t.Errorf("%v", a.Header)
	}
	b.Store.SetDown(true)
	b.Problem(b.Do("POST", u, ""), 503)
	if strings.Contains(b.Log.String(), `"leaked"`) {
		t.Error("a sweep that could not read the store logged a report")
	}
}

func TestOnlyInvokersMayCall(t *testing.T) {
	functiontest.CheckInvokers(t, sweep.New, "", 200)
}

func TestCrossOriginRequestsAreRejected(t *testing.T) {
	functiontest.CheckCrossOrigin(t, sweep.New, "", 200, "Content-Type: application/octet-stream")
}
