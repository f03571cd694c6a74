package reconcile_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// Whatever writes a line about a run writes it into the trace of the request that began the run. The
// deliveries of tasks and events, and those who cancel or supersede, bring none or another one.
func TestLinesAreInTheTraceOfTheirRun(t *testing.T) {
	t.Parallel()
	traces := map[float64]string{
		1: "4bf92f3577b34da6a3ce929d0e0e4736",
		2: "0af7651916cd43dd8448eb211c80319c",
		3: "5b8aa5a2d2c872e8321cf37308d69df2",
	}
	begin := func(run float64, supersede bool) func(*reconcile.StartRequest) {
		return func(req *reconcile.StartRequest) {
			req.TraceParent, req.Supersede = "00-"+traces[run]+"-00f067aa0ba902b7-01", supersede
		}
	}
	w := newWorld(t)
	w.begin(begin(1, false))
	w.run(10 * time.Second)
	if err := w.publish("m", `{"case_id":"c","run":1,"status":"running"}`); err != nil {
		t.Fatal(err)
	}
	w.begin(begin(2, true)) // which ends run 1
	w.run(10 * time.Second)
	if _, err := w.Cancel(t.Context(), "c", 2); err != nil {
		t.Fatal(err)
	}
	w.begin(begin(3, false))
	w.queue.purge()
	w.pass(5 * time.Minute)
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for message, runs := range map[string][]float64{
		"case accepted":                    {1, 2, 3},
		"handing the case to the pipeline": {1, 2},
		"the pipeline answered":            {1, 2},
		"progress checked":                 {1, 2},
		"an event of the pipeline":         {1},
		"progress checks ended":            {1, 2},
		"lost task rescheduled":            {3},
	} {
		seen := map[float64]bool{}
		for _, line := range w.lines(message) {
			run := line["run"].(float64)
			seen[run] = true
			if got, want := line["logging.googleapis.com/trace"], "projects/p/traces/"+traces[run]; got != want {
				t.Errorf("%q of run %v is in the trace %v, want %s", message, run, got, want)
			}
		}
		for _, run := range runs {
			if !seen[run] {
				t.Errorf("there is no line %q of run %v", message, run)
			}
		}
	}
}

// The line of a check says when the next one is due. The last one has none after it.
func TestLineOfACheckSaysWhenTheNextIsDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	w.deliver(0)
	check := func() map[string]any {
		t.Helper()
		w.pass(w.get(1).Checks.NextAt.Sub(w.clock()))
		if err := w.Check(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: w.get(1).Checks.Seq}); err != nil {
			t.Fatal(err)
		}
		lines := w.lines("progress checked")
		return lines[len(lines)-1]
	}
	got := check()["next_seconds"]
	if want := w.get(1).Checks.NextAt.Sub(w.clock()).Seconds(); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	w.pipe.poll = func(string) cases.CheckOutcome { return reading(4, 4, cases.StatusSucceeded) }
	if got, ok := check()["next_seconds"]; ok {
		t.Errorf("after the end: got %v, want none", got)
	}
}

// An event about no run that is kept changes nothing. Operators can find it.
func TestEventAboutNoRunIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	for id, event := range map[string]string{
		"of no case": `{"case_id":"nobody","status":"failed"}`,
		"of no run":  `{"case_id":"c","run":7,"status":"failed"}`,
	} {
		if err := w.publish(id, event); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	got := map[any][3]any{}
	for _, line := range w.lines("an event of the pipeline is about no run that is kept") {
		got[line["message_id"]] = [3]any{line["severity"], line["case_id"], line["run"]}
	}
	want := map[any][3]any{"of no case": {"WARNING", "nobody", 0.0}, "of no run": {"WARNING", "c", 7.0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the lines (-want +got):\n%s", diff)
	}
}

// An event that is not valid is forwarded, and the log says which one and why, without its content.
func TestInvalidEventIsLogged(t *testing.T) {
	t.Parallel()
	const event = `{"case_id":"c","status":"secret"}`
	w := newWorld(t)
	if err := w.publish("m", event); err != nil || len(w.topic.invalid) != 1 {
		t.Fatalf("forwarded %d, %v", len(w.topic.invalid), err)
	}
	lines := w.lines("an event of the pipeline is not valid; forwarding it")
	if len(lines) != 1 || lines[0]["severity"] != "WARNING" || lines[0]["message_id"] != "m" ||
		lines[0]["bytes"] != float64(len(event)) || lines[0]["why"] == "" {
		t.Errorf("got %v, want one warning with its id, size and reason", lines)
	}
}
