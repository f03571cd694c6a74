package main

import (
	"context"
	"errors"
	"time"

	"github.com/casewatch/casewatch/shared/queue"
)

// staleEach is how often each task of the past is delivered again.
const staleEach = 20

// running starts a case whose pipeline hangs midway, and returns when it is known to run.
func (d *drill) running(ctx context.Context, name string) (*canary, error) {
	c, err := d.start(ctx, name, name, hanging, d.deadline(), "")
	if err != nil {
		return nil, err
	}
	if !d.soon(ctx, c, func(v view) bool { return v.State != "pending" && v.Run > 0 }) && ctx.Err() == nil {
		return c, errors.New("it does not begin to run")
	}
	return c, ctx.Err()
}

// says is an event about a case.
func (c *canary) says(status string) event {
	e := event{CaseID: c.caseID, Run: 1, Status: status}
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
	e.Progress = map[string]any{"completed": completed, "total": 3, "progress_percent": float64(completed) * 100 / 3, "current_doc": "drill"}
	return e
}

func (d *drill) repeatedEvent(ctx context.Context, name string) error {
	c, err := d.running(ctx, name)
	if err != nil {
		return err
	}
	publish := func() error { return d.google.publish(ctx, c.says("succeeded")) }
	if err := errors.Join(atOnce(5, publish), d.end(ctx, c)); err != nil {
		return err
	}
	return atOnce(5, publish)
}

func (d *drill) lateEvent(ctx context.Context, name string) error {
	c, err := d.running(ctx, name)
	if err != nil {
		return err
	}
	if err := errors.Join(d.google.publish(ctx, c.says("succeeded")), d.end(ctx, c)); err != nil {
		return err
	}
	pause(ctx, 2*time.Second)
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
	for _, completed := range []int{2, 1, 2, 0, 1} {
		if err := d.google.publish(ctx, c.progressed(completed)); err != nil {
			return err
		}
		pause(ctx, 200*time.Millisecond)
	}
	if err := d.google.publish(ctx, c.says("succeeded")); err != nil {
		return err
	}
	for _, completed := range []int{3, 1} {
		if err := d.google.publish(ctx, c.progressed(completed)); err != nil {
			return err
		}
	}
	return d.end(ctx, c)
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
	if err := errors.Join(err, d.end(ctx, c)); err != nil {
		return err
	}
	if !d.soon(ctx, c, func(v view) bool { return v.Late != nil }) && ctx.Err() == nil {
		c.accuse(final, 1, "of two words that contradict each other one was dropped")
	}
	return ctx.Err()
}

func (d *drill) staleTasks(ctx context.Context, name string) error {
	c, err := d.running(ctx, name)
	if err != nil {
		return err
	}
	d.soon(ctx, c, func(v view) bool { return v.Checks.Count >= 3 || v.ended() })
	if err := d.flood(ctx, c); err != nil {
		return err
	}
	pause(ctx, 2*time.Second)
	if err := errors.Join(d.google.publish(ctx, c.says("succeeded")), d.end(ctx, c)); err != nil {
		return err
	}
	pause(ctx, time.Second)
	return d.flood(ctx, c)
}

// flood has every task that the run had so far delivered again, many times.
func (d *drill) flood(ctx context.Context, c *canary) error {
	last, err := d.checkSeq(ctx, c)
	if err != nil { // the console is not for us: as many as have looked were there at least
		v, _ := c.now()
		last = int64(v.Checks.Count)
	}
	var tasks []queue.Task
	if v, _ := c.now(); v.ended() {
		last++ // nothing of it is to come any more
	}
	for seq := max(1, last-8); seq < last; seq++ {
		tasks = append(tasks, d.check(c, seq))
	}
	tasks = append(tasks, queue.Task{Kind: queue.Dispatch, CaseID: c.caseID, Run: 1, Seq: 1, CreatedAt: c.created})
	for _, t := range tasks {
		for range staleEach {
			d.mu.Lock()
			nth := len(d.stale)
			d.mu.Unlock()
			name, err := d.google.stale(ctx, t, nth)
			if err != nil {
				return err
			}
			d.mu.Lock()
			d.stale = append(d.stale, name)
			d.mu.Unlock()
		}
	}
	return nil
}

func (d *drill) check(c *canary, seq int64) queue.Task {
	return queue.Task{Kind: queue.Check, CaseID: c.caseID, Run: 1, Seq: seq, CreatedAt: c.created}
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
	err := d.door.console(ctx, "/"+c.caseID, &found)
	return found, err
}
