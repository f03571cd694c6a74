package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/ctxtime"
)

// fault is something that goes wrong, and what is done to make it so.
type fault struct {
	name string
	does string
	// needs returns why it cannot be done there, or "".
	needs func(t *target.Target, o settings) string
	run   func(*drill, context.Context, string) error
}

// faults are in the order of the report. The first one begins alone: a purge would take away what
// the others have just queued.
var faults = []fault{
	{"purge", "the queues are purged, with the tasks of every case, while three are on their way",
		mayPurge, (*drill).purge},
	{"lost-event", "the pipeline ends and tells nobody", needsSample, (*drill).lostEvent},
	{"repeated-event", "the event of the end is delivered ten times, before and after it", needsEvents,
		(*drill).repeatedEvent},
	{"late-event", "events come after the end, and say otherwise", needsEvents, (*drill).lateEvent},
	{"disordered-events", "older progress comes after newer, and progress after the end", needsEvents,
		(*drill).disorderedEvents},
	{"contradicting-events", "success and failure are told at the same time", needsEvents,
		(*drill).contradictingEvents},
	{"kill-at-start", "an instance dies after it has recorded a run, before it has queued anything",
		needsHold, (*drill).killAtStart},
	{"kill-at-check", "an instance dies after a check has saved, before the next is queued",
		needsConsole, (*drill).killAtCheck},
	{"freeze", "the pipeline hangs for ever, its request held open; it answers after the deadline",
		needsSample, (*drill).freeze},
	{"progress-down", "the pipeline's progress cannot be read; it tells the end, or never does",
		needsSample, (*drill).progressDown},
	{"stale-tasks", "hundreds of tasks of the past, and the next one, are delivered many times, to an open run " +
		"and to an ended one", needsEvents, (*drill).staleTasks},
	{"repeated-start", "a start is repeated ten times at once with one Idempotency-Key", nil, (*drill).repeatedStart},
	{"supersede", "a case is superseded while its request is under way, by several at once", nil, (*drill).supersede},
	{"cancel-twice", "a run is cancelled twice at once, and then the pipeline says that it succeeded",
		needsEvents, (*drill).cancelTwice},
}

func needsSample(t *target.Target, _ settings) string {
	if t.SamplePipeline == "" {
		return "only the sample pipeline does this when asked"
	}
	return ""
}

func needsEvents(t *target.Target, _ settings) string {
	if t.EventsTopic == "" {
		return "there is no topic of the pipeline's events"
	}
	return ""
}

func needsConsole(t *target.Target, _ settings) string {
	if t.Console == "" {
		return "the number of the pending check is known to the console only, which cannot be reached"
	}
	return ""
}

func mayPurge(t *target.Target, o settings) string {
	if !t.Local() && !o.yesPurge {
		return "it takes away the tasks of every case, which sweeps then heal: only with --yes-purge"
	}
	return ""
}

func needsHold(t *target.Target, o settings) string {
	if !t.Local() && !o.yesPurge {
		return "it stops the queues of every case for a moment: only with --yes-purge"
	}
	return ""
}

// lostEvent: none is published.
func (d *drill) lostEvent(ctx context.Context, name string) error {
	c, err := d.start(ctx, name, name, sample{"mode": "silent"}, d.deadline(), "")
	if err != nil {
		return err
	}
	if err := d.end(ctx, c); err != nil {
		return err
	}
	if v := c.Latest(); v.Ended() && v.End.Source == "event" {
		return errors.New("the end was told all the same, by an event")
	}
	return nil
}

// freeze: the deadline is all that ends it.
func (d *drill) freeze(ctx context.Context, name string) error {
	c, err := d.start(ctx, name, name, sample{"mode": "sync", "fault": "hang"}, 20*time.Second, "")
	if err != nil {
		return err
	}
	if err := d.end(ctx, c); err != nil {
		return err
	}
	if v := c.Latest(); v.Ended() && v.End.Reason != "deadline" {
		return fmt.Errorf("it did not hang: the %s ended it (%s)", v.End.Source, v.String())
	}
	if asked, err := d.door.record(ctx, c.CaseID); err != nil || len(asked.Requests) == 0 {
		return errors.Join(err, errors.New("its request did not reach the pipeline"))
	}
	if d.t.EventsTopic == "" {
		return nil
	}
	return d.keptLate(ctx, c,
		event{CaseID: c.CaseID, Run: 1, Status: "succeeded", Result: result("after the deadline")})
}

func (d *drill) progressDown(ctx context.Context, name string) error {
	tells, err := d.start(ctx, name, name+"-tells",
		sample{"mode": "async", "fault": "down", defendants: 5}, d.deadline(), "")
	if err != nil {
		return err
	}
	silent, err := d.start(ctx, name, name+"-silent", sample{"mode": "silent", "fault": "down"}, 20*time.Second, "")
	if err != nil {
		return err
	}
	if err := d.endAll(ctx, tells, silent); err != nil {
		return err
	}
	for _, c := range []*canary{tells, silent} {
		if v := c.Latest(); v.Checks.Failures == 0 {
			return fmt.Errorf("no look at the progress of %s failed", c.CaseID)
		}
	}
	return nil
}

// repeatedStart: whoever got no answer asks again.
func (d *drill) repeatedStart(ctx context.Context, name string) error {
	key := "drill-" + d.stamp
	c, err := d.start(ctx, name, name, sample{"mode": "sync"}, d.deadline(), key)
	if err != nil {
		return err
	}
	again := func() error {
		s, err := d.door.start(ctx, c.form, deadlineQuery(d.deadline()), key)
		if err == nil && (s.Run != 1 || s.Code != http.StatusOK) {
			c.Accuse(witness.Once, s.Run, "a start repeated with its Idempotency-Key was answered %d with run %d",
				s.Code, s.Run)
		}
		return err
	}
	if err := atOnce(10, again); err != nil {
		return err
	}
	if err := d.end(ctx, c); err != nil {
		return err
	}
	err = atOnce(3, again) // after its end too
	_ = ctxtime.Sleep(ctx, time.Second)
	return errors.Join(err, d.end(ctx, c)) // of what has begun all the same
}

// supersede: each new run begins while the request of the one before is under way.
func (d *drill) supersede(ctx context.Context, name string) error {
	c, err := d.start(ctx, name, name, sample{"mode": "sync", defendants: 5}, d.deadline(), "")
	if err != nil {
		return err
	}
	query := deadlineQuery(d.deadline())
	query.Set("supersede", "true")
	another := func() error {
		_, err := d.door.start(ctx, c.form, query, "")
		return err
	}
	for _, n := range []int{1, 3} {
		_ = ctxtime.Sleep(ctx, 700*time.Millisecond)
		if err := atOnce(n, another); err != nil {
			return err
		}
	}
	if err := d.end(ctx, c); err != nil {
		return err
	}
	if first := c.Run(1); first.End == nil || first.End.Reason != "superseded" {
		return fmt.Errorf("its first run was not open any more (%s)", first)
	}
	return nil
}

func (d *drill) cancelTwice(ctx context.Context, name string) error {
	c, err := d.start(ctx, name, name, sample{"mode": "sync", "fault": "hang"}, d.deadline(), "")
	if err != nil {
		return err
	}
	_ = ctxtime.Sleep(ctx, 700*time.Millisecond) // its request is under way
	codes := make(chan int, 2)
	err = atOnce(cap(codes), func() error {
		code, err := d.door.cancel(ctx, c.cancelURL)
		codes <- code
		return err
	})
	if err := errors.Join(err, d.end(ctx, c)); err != nil {
		return err
	}
	if v := c.Latest(); v.Ended() && v.State != "cancelled" {
		return tooEarly(v)
	}
	for range cap(codes) {
		if code := <-codes; code != http.StatusOK {
			c.Accuse(witness.Final, 1, "a cancel of the run was answered %d", code)
		}
	}
	return d.keptLate(ctx, c, event{CaseID: c.CaseID, Run: 1, Status: "succeeded", Result: result("after the cancel")})
}

// atOnce calls f n times at the same time.
func atOnce(n int, f func() error) error {
	errs := make(chan error, n)
	for range n {
		go func() { errs <- f() }()
	}
	var all []error
	for range n {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// result is a result as a pipeline tells it.
func result(by string) map[string]any {
	return map[string]any{
		"success": true, "drill": by, "webhook_summary": map[string]any{"total_sets": 3, "succeeded": 3, "failed": 0},
	}
}
