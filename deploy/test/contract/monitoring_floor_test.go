package contract

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

// entry is a log entry as Cloud Logging keeps it: logName, severity, resource and jsonPayload.
type entry map[string]any

// outside is all that a Reconciler works with, as it is told to be: a queue that delivers nothing,
// a pipeline, a topic and a log.
type outside struct {
	t       *testing.T
	now     time.Time
	running string // the function that runs
	entries []entry

	tasks     map[string]queue.Task
	queueDown bool
	topicDown bool
	answer    cases.DispatchKind
	found     cases.CheckOutcome
	looks     map[string]float64 // by what they found
	handed    map[string]float64 // by what came of it
	forwarded float64
}

var errDown = errors.New("down")

func fail(down bool) error {
	if down {
		return errDown
	}
	return nil
}

// Write takes in a line as Cloud Run does: the fields with a meaning of their own are no part of the payload
// (https://cloud.google.com/run/docs/logging#using-json).
func (o *outside) Write(line []byte) (int, error) {
	var payload map[string]any
	if err := json.Unmarshal(line, &payload); err != nil {
		o.t.Errorf("a line is not JSON: %s", line)
	}
	severity := payload["severity"]
	maps.DeleteFunc(payload, func(k string, _ any) bool {
		return k == "severity" || k == "time" || strings.HasPrefix(k, "logging.googleapis.com/")
	})
	o.entries = append(o.entries, newEntry("run.googleapis.com/stdout", o.running, severity, payload))
	return len(line), nil
}

func newEntry(log, function string, severity any, payload map[string]any) entry {
	return entry{"logName": log, "severity": severity, "jsonPayload": payload, "resource": map[string]any{
		"type":   "cloud_run_revision",
		"labels": map[string]any{"service_name": placeholders["PREFIX"] + "-" + function}}}
}

func (o *outside) Create(_ context.Context, t queue.Task) (bool, error) {
	if _, taken := o.tasks[t.Name()]; taken || o.queueDown {
		return false, fail(o.queueDown)
	}
	o.tasks[t.Name()] = t
	return true, nil
}

func (o *outside) Delete(_ context.Context, t queue.Task) error {
	if !o.queueDown {
		delete(o.tasks, t.Name())
	}
	return fail(o.queueDown)
}

func (o *outside) Exists(_ context.Context, t queue.Task) (bool, error) {
	_, ok := o.tasks[t.Name()]
	return ok, fail(o.queueDown)
}

func (o *outside) Dispatch(context.Context, reconcile.Job) cases.DispatchOutcome {
	o.handed[string(o.answer)]++
	return cases.DispatchOutcome{Kind: o.answer, Message: "as told"}
}

func (o *outside) Poll(context.Context, reconcile.Job) cases.CheckOutcome {
	o.looks[string(o.found.Kind)]++
	return o.found
}

func (o *outside) Cancel(context.Context, reconcile.Job) cases.CancelOutcome {
	return cases.CancelOutcome{Kind: cases.CancelConfirmed}
}

func (o *outside) ReadCallback(string, map[string][]string, []byte) (reconcile.Callback, error) {
	return reconcile.Callback{Event: true}, nil
}

func (o *outside) PublishEnded(context.Context, cases.View, string) error { return fail(o.topicDown) }

func (o *outside) ForwardInvalid(context.Context, []byte, map[string]string, string) error {
	o.forwarded++
	return fail(o.topicDown)
}

// floor is a Reconciler and its outside, taken through cases as the functions do.
type floor struct {
	*outside
	w       *reconcile.Reconciler
	started float64
	swept   []reconcile.Report
}

func newFloor(t *testing.T) *floor {
	t.Helper()
	s, err := sqlite.Open(t.Context(), store.Options{Location: filepath.Join(t.TempDir(), "cases.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	o := &outside{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), tasks: map[string]queue.Task{},
		looks: map[string]float64{}, handed: map[string]float64{}}
	o.answer = cases.DispatchAccepted
	nonce := 0
	cfg := reconcile.Config{CaseDeadline: time.Hour, CheckTimeout: 10 * time.Second, Rules: cases.Rules{
		PipelineTimeout: 29 * time.Minute, CheckMinInterval: 2 * time.Second, CheckMaxInterval: 30 * time.Second,
		StartGrace:      2 * time.Minute,
		CompletionGrace: 30 * time.Second, StallAfter: 5 * time.Minute, UnreachableAfter: 10 * time.Minute,
		Retention: 720 * time.Hour, FormRetention: 24 * time.Hour,
	}}
	w, err := reconcile.New(cfg, reconcile.Deps{
		Store: s, Queue: o, Pipeline: o, Events: o, Now: func() time.Time { return o.now },
		Jitter: func() float64 { return 0.5 },
		Nonce:  func() string { nonce++; return strconv.Itoa(nonce) },
		Log:    slog.New(gcplog.New(o, gcplog.Options{Project: "p"})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &floor{outside: o, w: w}
}

// as runs a function.
func (f *floor) as(function string, do func(ctx context.Context) error) {
	f.t.Helper()
	f.running = function
	if err := do(f.t.Context()); err != nil {
		f.t.Fatalf("%s: %v", function, err)
	}
}

func (f *floor) start(caseID string) {
	f.t.Helper()
	f.started++
	f.as("start", func(ctx context.Context) error {
		_, err := f.w.Start(ctx, reconcile.StartRequest{CaseID: caseID, Form: []byte(`{}`)})
		return err
	})
}

// pass delivers whatever becomes due of a case in that time, in order.
func (f *floor) pass(caseID string, d time.Duration) {
	f.t.Helper()
	end := f.now.Add(d)
	for {
		var next *queue.Task
		for _, t := range f.tasks {
			if t.CaseID == caseID && !t.At.After(end) && (next == nil || t.At.Before(next.At)) {
				next = &t
			}
		}
		if next == nil {
			break
		}
		if next.At.After(f.now) {
			f.now = next.At
		}
		body := queue.Body{CaseID: next.CaseID, Run: next.Run, Seq: next.Seq}
		f.as(string(next.Kind), func(ctx context.Context) error {
			if next.Kind == queue.Dispatch {
				return f.w.Dispatch(ctx, body, 0)
			}
			return f.w.Check(ctx, body)
		})
		delete(f.tasks, next.Name())
	}
	f.now = end
}

func (f *floor) event(id, data string) {
	f.t.Helper()
	f.as("complete", func(ctx context.Context) error {
		return f.w.Complete(ctx, reconcile.Message{ID: id, Published: f.now, Data: []byte(data)})
	})
}

func (f *floor) sweep() reconcile.Report {
	f.t.Helper()
	var rep reconcile.Report
	f.as("sweep", func(ctx context.Context) (err error) {
		rep, err = f.w.Sweep(ctx)
		return err
	})
	f.swept = append(f.swept, rep)
	return rep
}

// shows makes the pipeline show that much of 4.
func (f *floor) shows(completed int) {
	f.found = cases.CheckOutcome{
		Kind: cases.CheckReading, Reading: cases.Reading{Completed: completed, Total: 4, Percent: -1},
	}
}
