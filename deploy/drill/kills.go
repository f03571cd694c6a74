package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/queue"
)

// purge: only sweeps know of the cases then.
func (d *drill) purge(ctx context.Context, name string) error {
	var all []*canary
	for _, mode := range []string{"silent", "async", "sync"} {
		c, err := d.start(ctx, name, name+"-"+mode, sample{"mode": mode}, d.deadline(), "")
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	err := d.google.purge(ctx)
	close(d.afterPurge)
	for _, c := range all {
		err = errors.Join(err, d.end(ctx, c))
	}
	return err
}

// killAtStart deletes what was queued before any of it is delivered.
func (d *drill) killAtStart(ctx context.Context, name string) error {
	var c *canary
	err := d.holding(ctx, append([]string{d.t.Dispatch}, d.t.Checks...), func() (err error) {
		if c, err = d.start(ctx, name, name, sample{"mode": "sync"}, d.deadline(), ""); err != nil {
			return err
		}
		for _, kind := range []queue.Kind{queue.Dispatch, queue.Check} {
			was, err := d.google.lose(ctx, queue.Task{Kind: kind, CaseID: c.caseID, Run: 1, Seq: 1, CreatedAt: c.created})
			if err != nil {
				return err
			}
			if !was {
				return fmt.Errorf("its %s had gone before it could be taken away", kind)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.end(ctx, c)
}

// holding does something while queues deliver nothing.
func (d *drill) holding(ctx context.Context, queues []string, do func() error) error {
	d.mu.Lock()
	d.held = queues
	d.mu.Unlock()
	var err error
	for _, name := range queues {
		err = errors.Join(err, d.google.hold(ctx, name))
	}
	if err == nil {
		err = do()
	}
	for _, name := range queues {
		err = errors.Join(err, d.google.resume(ctx, name))
	}
	if ctx.Err() == nil {
		d.mu.Lock()
		d.held = nil
		d.mu.Unlock()
	}
	return err
}

// killAtCheck deletes the check to come: what a kill leaves between the save that says so and the task itself.
func (d *drill) killAtCheck(ctx context.Context, name string) error {
	c, err := d.start(ctx, name, name, sample{"mode": "silent", defendants: 5}, d.deadline(), "")
	if err != nil {
		return err
	}
	d.soon(ctx, c, func(v view) bool { return v.Checks.Count > 0 || v.ended() })
	for v, _ := c.now(); !v.ended() && ctx.Err() == nil; v, _ = c.now() {
		seq, err := d.checkSeq(ctx, c)
		if err != nil {
			return err
		}
		lost, err := d.google.lose(ctx, d.check(c, seq))
		if err != nil {
			return err
		}
		// One that is being delivered goes on, deleted or not, and queues the next.
		pause(ctx, time.Second)
		if now, err := d.checkSeq(ctx, c); lost && err == nil && now == seq {
			return d.end(ctx, c)
		}
	}
	return errors.Join(ctx.Err(), errors.New("each of its checks had gone before it could be taken away"))
}
