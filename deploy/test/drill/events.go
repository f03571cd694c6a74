package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/queue"
)

// staleEach is how often each task of the past is delivered again.
const staleEach = 20

// begun starts a case whose pipeline hangs midway, and returns when that is known to work on it, or has ended it.
func (d *drill) begun(ctx context.Context, name string) (*canary, error) {
	c, err := d.start(ctx, name, name, hanging, d.deadline(), "")
	if err != nil {
		return nil, err
	}
	if !d.soon(ctx, c, func(v witness.View) bool { return v.State != "pending" && v.Run > 0 }) && ctx.Err() == nil {
		return nil, errors.New("it does not begin to run")
	}
	return c, ctx.Err()
}

// running is begun, for faults that need an open run.
func (d *drill) running(ctx context.Context, name string) (*canary, error) {
	c, err := d.begun(ctx, name)
	if err != nil {
		return nil, err
	}
	if v := c.Latest(); v.Ended() {
		return nil, tooEarly(v)
	}
	return c, nil
}

// tooEarly is why a fault meets nothing.
func tooEarly(v witness.View) error {
	return fmt.Errorf("it had ended before (%s, by %s)", v.String(), v.End.Source)
}

// byEvent returns an error unless an event has ended a run: none was delivered in time then.
func byEvent(c *canary) error {
	if v := c.Latest(); v.Ended() && v.End.Source != "event" {
		return fmt.Errorf("none of the events that were published has ended it, but the %s (%s)",
			v.End.Source, v.String())
	}
	return nil
}

// says is an event about a case.
func (c *canary) says(status string) event {
	e := event{CaseID: c.CaseID, Run: 1, Status: status}
	switch status {
	case "succeeded":
		e.Result = result("event")
	case "failed":
		e.Error = map[string]any{"code": "drill", "message": "the drill says so"}
	}
	return e
}

// progressed is an event that tells of progress.
func (c *canary) progressed(completed int) event {
	e := c.says("running")
	e.Progress = map[string]any{
		"completed": completed, "total": 3, "progress_percent": float64(completed) * 100 / 3, "current_doc": "drill",
	}
	return e
}

func (d *drill) repeatedEvent(ctx context.Context, name string) error {
	c, err := d.running(ctx, name)
	if err != nil {
		return err
	}
	publish := func() error { return d.google.publish(ctx, c.says("succeeded")) }
	if err := errors.Join(atOnce(5, publish), d.end(ctx, c), byEvent(c)); err != nil {
		return err
	}
	if err := atOnce(5, publish); err != nil {
		return err
	}
	return d.keptLate(ctx, c, c.says("failed")) // it comes after them
}

func (d *drill) lateEvent(ctx context.Context, name string) error {
	c, err := d.begun(ctx, name)
	if err != nil {
		return err
	}
	if err := errors.Join(d.google.publish(ctx, c.says("succeeded")), d.end(ctx, c)); err != nil {
		return err
	}
	_ = ctxtime.Sleep(ctx, 2*time.Second)
	if err := d.google.publish(ctx, c.progressed(1)); err != nil {
		return err
	}
	return d.keptLate(ctx, c, c.says("failed"))
}

func (d *drill) disorderedEvents(ctx context.Context, name string) error {
	c, err := d.running(ctx, name)
	if err != nil {
		return err
	}
	if err := d.google.publish(ctx, c.progressed(2)); err != nil {
		return err
	}
	shown := func(v witness.View) bool { return v.Progress.Completed >= 2 || v.Ended() }
	if !d.soon(ctx, c, shown) && ctx.Err() == nil {
		return errors.New("an event that tells of progress was published, and had no effect")
	}
	if v := c.Latest(); v.Ended() {
		return tooEarly(v)
	}
	for _, completed := range []int{1, 2, 0, 1} {
		if err := d.google.publish(ctx, c.progressed(completed)); err != nil {
			return err
		}
		_ = ctxtime.Sleep(ctx, 200*time.Millisecond)
	}
	if err := d.google.publish(ctx, c.says("succeeded")); err != nil {
		return err
	}
	for range 2 { // while the end comes, and after it
		for _, completed := range []int{3, 1} {
			if err := d.google.publish(ctx, c.progressed(completed)); err != nil {
				return err
			}
		}
		if err := errors.Join(d.end(ctx, c), byEvent(c)); err != nil {
			return err
		}
	}
	return d.keptLate(ctx, c, c.says("failed")) // it comes after them
}

func (d *drill) contradictingEvents(ctx context.Context, name string) error {
	c, err := d.running(ctx, name)
	if err != nil {
		return err
	}
	status := make(chan string, 6)
	for range 3 {
		status <- "succeeded"
		status <- "failed"
	}
	err = atOnce(cap(status), func() error { return d.google.publish(ctx, c.says(<-status)) })
	if err := errors.Join(err, d.end(ctx, c), byEvent(c)); err != nil {
		return err
	}
	if !d.soon(ctx, c, func(v witness.View) bool { return v.Late != nil }) && ctx.Err() == nil {
		c.Accuse(witness.Final, 1, "of two words that contradict each other one was dropped")
	}
	return ctx.Err()
}

func (d *drill) staleTasks(ctx context.Context, name string) error {
	c, err := d.running(ctx, name)
	if err != nil {
		return err
	}
	d.soon(ctx, c, func(v witness.View) bool { return v.Checks.Count >= 3 || v.Ended() })
	if v := c.Latest(); v.Ended() {
		return tooEarly(v)
	}
	if err := d.flood(ctx, c); err != nil {
		return err
	}
	if err := errors.Join(d.google.publish(ctx, c.says("succeeded")), d.end(ctx, c)); err != nil {
		return err
	}
	if v := c.Latest(); v.Ended() { // what they ask then is no longer taken for what was under way
		_ = ctxtime.Sleep(ctx, time.Until(v.EndedAt.Add(clockSlack+500*time.Millisecond)))
	}
	return d.flood(ctx, c)
}

// flood has every task that the run had so far delivered again, many times at once, and returns when all were.
func (d *drill) flood(ctx context.Context, c *canary) error {
	last, err := d.checkSeq(ctx, c)
	if err != nil { // the console is not for us: as many as have looked were there at least
		v := c.Latest()
		last = int64(v.Checks.Count)
	}
	c.early.Store(last)
	var tasks []queue.Task
	for seq := max(1, last-8); seq <= last; seq++ { // the last is still to come, if the run is open
		tasks = append(tasks, d.check(c, seq))
	}
	tasks = append(tasks, queue.Task{Kind: queue.Dispatch, CaseID: c.CaseID, Run: 1, Seq: 1, CreatedAt: c.created})
	var names []string
	made := make(chan string, staleEach)
	for _, t := range tasks {
		if err := atOnce(staleEach, func() error {
			name, err := d.put(ctx, d.google.queueOf(t), t, 0)
			made <- name
			return err
		}); err != nil {
			return err
		}
		for range staleEach {
			names = append(names, <-made)
		}
	}
	return d.gone(ctx, names)
}

func (d *drill) check(c *canary, seq int64) queue.Task {
	return queue.Task{Kind: queue.Check, CaseID: c.CaseID, Run: 1, Seq: seq, CreatedAt: c.created}
}

// checkSeq returns the number of the newest check of a case, from the console.
func (d *drill) checkSeq(ctx context.Context, c *canary) (int64, error) {
	found, err := d.detail(ctx, c)
	return found.Checks.Tasks, err
}

// detail is what the console knows of a run, as far as it matters here.
type detail struct {
	Published bool `json:"published"`
	Leaked    int  `json:"leaked"`
	Checks    struct {
		Tasks int64 `json:"tasks"`
	} `json:"checks"`
}

func (d *drill) detail(ctx context.Context, c *canary) (detail, error) {
	var found detail
	err := d.door.console(ctx, "/"+c.CaseID, &found)
	return found, err
}
