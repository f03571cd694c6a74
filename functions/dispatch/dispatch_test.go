package dispatch_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/dispatch"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/reconcile"
)

const isJSON = "Content-Type: application/json"

func TestMain(m *testing.M) {
	// OpenCensus, which Google's clients import, starts this worker in an init function. It cannot
	// be stopped, and there is one per process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const task = `{"case_id":"c","run":1,"seq":1}`

func TestStartsTheRunOnce(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(dispatch.New)
	b.Begin("c")
	if a := b.Do("POST", u, task, isJSON, "X-CloudTasks-TaskRetryCount: 0"); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if jobs := b.Pipe.Jobs(); len(jobs) != 1 || jobs[0].CaseID != "c" || jobs[0].Run != 1 ||
		string(jobs[0].Form) != `{"a":1}` {
		t.Errorf("%+v", jobs)
	}
	if c := b.Case("c", 1); c.State != cases.Running || c.Dispatch.Phase != cases.PhaseAnswered {
		t.Errorf("%s %s", c.State, c.Dispatch.Phase)
	}
	// A repeated delivery does not start the run again.
	if a := b.Do("POST", u, task, isJSON, "X-CloudTasks-TaskRetryCount: 1"); a.Status != 200 ||
		len(b.Pipe.Jobs()) != 1 {
		t.Errorf("%d %s, %d jobs", a.Status, a.Body, len(b.Pipe.Jobs()))
	}
}

// While a dispatch is in flight, a delivery with the same or a lower retry count is a duplicate.
// One with a higher count means that the earlier attempt was lost.
func TestRetryCount(t *testing.T) {
	for _, test := range []struct {
		header string
		phase  cases.Phase
	}{
		{"2", cases.PhaseInFlight}, {"1", cases.PhaseInFlight}, {"0", cases.PhaseInFlight}, {"",
			cases.PhaseInFlight}, {"-3", cases.PhaseInFlight}, {"x", cases.PhaseInFlight},
		{"3", cases.PhaseUncertain}, {"17", cases.PhaseUncertain},
	} {
		t.Run(test.header, func(t *testing.T) {
			b := functiontest.New(t, nil)
			u := b.Serve(dispatch.New)
			b.Begin("c")
			answer := make(chan struct{})
			b.Pipe.OnDispatch(func(context.Context, reconcile.Job) cases.DispatchOutcome {
				<-answer
				return cases.DispatchOutcome{Kind: cases.DispatchAccepted}
			})
			first := make(chan functiontest.Answer, 1)
			go func() { first <- b.Do("POST", u, task, isJSON, "X-CloudTasks-TaskRetryCount: 2") }()
			for deadline := time.Now().Add(20 * time.Second); len(b.Pipe.Jobs()) == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the pipeline got no request within 20 s")
				}
			}
			if c := b.Case("c", 1); c.Dispatch.RetryCount != 2 || c.Dispatch.Phase != cases.PhaseInFlight {
				t.Errorf("dispatch is %+v, want it in flight with retry count 2", c.Dispatch)
			}
			if a := b.Do("POST", u, task, isJSON, "X-CloudTasks-TaskRetryCount: "+test.header); a.Status != 200 {
				t.Errorf("%d %s", a.Status, a.Body)
			}
			if c := b.Case("c", 1); c.Dispatch.Phase != test.phase {
				t.Errorf("phase %s, want %s", c.Dispatch.Phase, test.phase)
			}
			close(answer)
			if a := <-first; a.Status != 200 {
				t.Errorf("%d %s", a.Status, a.Body)
			}
			// The response of the first request still counts, and there was only one request.
			if c := b.Case("c", 1); c.State != cases.Running || len(b.Pipe.Jobs()) != 1 {
				t.Errorf("%s, %d jobs", c.State, len(b.Pipe.Jobs()))
			}
		})
	}
}

func TestOtherTasks(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(dispatch.New)
	b.Begin("c")
	for _, test := range []struct {
		name, method, body string
		want               int
	}{
		{"unknown case", "POST", `{"case_id":"d","run":1,"seq":1}`, 200},
		{"unknown run", "POST", `{"case_id":"c","run":2,"seq":1}`, 200},
		{"ahead of the record", "POST", `{"case_id":"c","run":1,"seq":2}`, 503},
		{"no body", "POST", ``, 400},
		{"GET", "GET", ``, 405},
		{"PUT", "PUT", task, 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := b.Do(test.method, u, test.body, isJSON)
			if test.want != 200 {
				b.Problem(a, test.want)
			}
			if a.Status != test.want {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	if len(b.Pipe.Jobs()) != 0 {
		t.Errorf("the pipeline got %d requests, want none", len(b.Pipe.Jobs()))
	}
}

func TestDown(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(dispatch.New)
	b.Begin("c")
	b.Store.SetDown(true)
	b.Problem(b.Do("POST", u, task, isJSON), 503)
	if len(b.Pipe.Jobs()) != 0 {
		t.Error("the pipeline got a request before the dispatch was recorded")
	}
	b.Store.SetDown(false)
	if a := b.Do("POST", u, task, isJSON, fmt.Sprint("X-CloudTasks-TaskRetryCount: ", 1)); a.Status != 200 ||
		len(b.Pipe.Jobs()) != 1 {
		t.Errorf("%d %s, %d jobs", a.Status, a.Body, len(b.Pipe.Jobs()))
	}
}

func TestOnlyInvokersMayCall(t *testing.T) {
	functiontest.CheckInvokers(t, dispatch.New, `{"case_id":"c","run":1,"seq":1}`, 200, isJSON)
}

func TestCrossOriginRequestsAreRejected(t *testing.T) {
	functiontest.CheckCrossOrigin(
		t,
		dispatch.New,
		`{"case_id":"c","run":1,"seq":1}`,
		200,
		"Content-Type: application/json; charset=utf-8",
	)
}
