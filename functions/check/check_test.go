package check_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/check"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
)

func TestMain(m *testing.M) {
	// OpenCensus, which Google's clients import, starts this worker in an init function. It cannot
	// be stopped, and there is one per process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const (
	task   = `{"case_id":"c","run":1,"seq":1}`
	isJSON = "Content-Type: application/json"
)

func begin(t *testing.T, b *functiontest.Bench) {
	t.Helper()
	request := reconcile.StartRequest{CaseID: "c", Form: []byte("{}"), Adopt: true}
	if _, err := b.Reconciler.Start(t.Context(), request); err != nil {
		t.Fatal(err)
	}
}

func checks(b *functiontest.Bench) (seqs []int64) {
	for _, task := range b.Queue.Created() {
		if task.Kind == queue.Check {
			seqs = append(seqs, task.Seq)
		}
	}
	return seqs
}

func TestPollsOnceAndSchedulesTheNext(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(check.New)
	begin(t, b)
	// A repeated delivery neither polls nor schedules.
	for range 3 {
		if a := b.Do("POST", u, task, isJSON); a.Status != 200 || a.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	c := b.Case("c", 1)
	if c.State != cases.Running || c.Job.Progress.Completed != 1 || c.Job.Progress.Total != 4 || c.Checks.Polls != 1 ||
		c.Checks.Seq != 2 {
		t.Errorf("%s %+v %+v", c.State, c.Job.Progress, c.Checks)
	}
	if got := checks(b); len(got) != 2 {
		t.Errorf("scheduled checks have seq %v, want 1 and 2", got)
	}
}

func TestCheckAfterTheEndDoesNothing(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(check.New)
	begin(t, b)
	if _, err := b.Reconciler.Cancel(t.Context(), "c", 0); err != nil {
		t.Fatal(err)
	}
	if a := b.Do("POST", u, task, isJSON); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if c := b.Case("c", 1); c.Checks.Polls != 0 || len(checks(b)) != 1 {
		t.Errorf("a check after the end polled or scheduled: %+v", c.Checks)
	}
}

func TestOtherTasks(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(check.New)
	begin(t, b)
	for _, test := range []struct {
		name, method, body string
		want               int
	}{
		{"unknown case", "POST", `{"case_id":"d","run":1,"seq":1}`, 200},
		{"unknown run", "POST", `{"case_id":"c","run":2,"seq":1}`, 200},
		{"ahead of the record", "POST", `{"case_id":"c","run":1,"seq":2}`, 503},
		{"not a task", "POST", `{"case_id":"c"}`, 400},
		{"GET", "GET", ``, 405},
		{"HEAD", "HEAD", ``, 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := b.Do(test.method, u, test.body, isJSON)
			if test.want != 200 && test.method != "HEAD" {
				b.Problem(a, test.want)
			}
			if a.Status != test.want {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	if c := b.Case("c", 1); c.Checks.Polls != 0 {
		t.Error("the pipeline was polled")
	}
}

func TestDown(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(check.New)
	begin(t, b)
	b.Store.SetDown(true)
	b.Problem(b.Do("POST", u, task, isJSON), 503)
	b.Store.SetDown(false)
	// If the next check cannot be scheduled, the delivery is retried. The retry schedules it and
	// does not poll again.
	b.Queue.SetDown(true)
	b.Problem(b.Do("POST", u, task, isJSON), 503)
	b.Queue.SetDown(false)
	if a := b.Do("POST", u, task, isJSON); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if c := b.Case("c", 1); c.Checks.Polls != 1 || len(checks(b)) != 2 {
		t.Errorf("polled %d times, checks %v; want 1 poll and 2 checks", c.Checks.Polls, checks(b))
	}
}

func TestOnlyInvokersMayCall(t *testing.T) {
	functiontest.CheckInvokers(t, check.New, task, 200, isJSON)
}

func TestCrossOriginRequestsAreRejected(t *testing.T) {
	functiontest.CheckCrossOrigin(t, check.New, task, 200, isJSON)
}
