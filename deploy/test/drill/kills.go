package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/queue"
)

// purge: only sweeps know of the cases then. Two of them are somewhere on their way; of the third
// it is certain that its tasks were there.
func (d *drill) purge(ctx context.Context, name string) error {
	var all []*canary
	begin := func(mode string) error {
		c, err := d.start(ctx, name, name+"-"+mode, sample{"mode": mode, defendants: 5}, d.deadline(), "")
		if err == nil {
			all = append(all, c)
		}
		return err
	}
	if err := errors.Join(begin("silent"), begin("sync")); err != nil {
		return err
	}
	err := d.holding(ctx, func() error {
		if err := begin("async"); err != nil {
			return err
		}
		if !d.t.Local() {
			d.say("  %s: every case loses its tasks now (%s); none goes on before a sweep finds it, within %s", name,
				d.openNow(ctx), d.heal())
		}
		queued := d.check(all[2], 1)
		task, err := d.google.find(ctx, d.google.nameOf(queued))
		if err == nil && task == nil {
			err = errors.New("a case has no check in a queue that delivers nothing")
		}
		if err := errors.Join(err, d.purged(ctx, all[2])); err != nil {
			return err
		}
		if task, err = d.google.find(ctx, d.google.nameOf(queued)); err == nil && task != nil {
			err = errors.New("the queues were purged, and the check of a case is still there")
		}
		return err
	})
	close(d.afterPurge)
	return errors.Join(err, d.endAll(ctx, all...))
}

// purged purges the queues, and returns when that has come into effect in each: a task that it put
// there, due in an hour, is gone.
func (d *drill) purged(ctx context.Context, c *canary) error {
	var marks []string
	for _, q := range d.google.queues() {
		mark, err := d.put(ctx, q, d.check(c, 1), time.Hour)
		if err != nil {
			return err
		}
		marks = append(marks, mark)
	}
	if err := d.google.purge(ctx); err != nil {
		return err
	}
	return d.gone(ctx, marks)
}

// waiting is a job that ends once we say so, where we can; else by itself.
func (d *drill) waiting() sample {
	if d.t.EventsTopic == "" {
		return sample{"mode": "silent", defendants: 5}
	}
	return hanging
}

// healed lets a case end that has lost its check, once it is looked at again. If it never is, only
// its deadline can end it.
func (d *drill) healed(ctx context.Context, c *canary) error {
	before := c.Latest()
	limit, cancel := context.WithDeadline(ctx, before.DeadlineAt.Add(d.grace()))
	defer cancel()
	looked := c.Await(limit, func(v witness.View) bool { return v.Checks.Count > before.Checks.Count || v.Ended() })
	if v := c.Latest(); !looked || v.Ended() || d.t.EventsTopic == "" {
		return ctx.Err()
	}
	return d.google.publish(ctx, c.says("succeeded"))
}

// openNow says how many runs are open, as far as the console tells.
func (d *drill) openNow(ctx context.Context) string {
	h, err := d.lookAtHealth(ctx)
	if err != nil {
		return "how many are open is not known"
	}
	return fmt.Sprintf("%d are open", h.Open)
}

// still reports whether a check stays the newest of a case for as long as a look may take that was
// under way. No sweep comes between: it waits longer.
func (d *drill) still(ctx context.Context, c *canary, seq int64) (bool, error) {
	for until := time.Now().Add(d.t.CheckTimeout.Duration() + time.Second); time.Now().Before(until); {
		if ctxtime.Sleep(ctx, 200*time.Millisecond) != nil {
			return false, ctx.Err()
		}
		now, err := d.checkSeq(ctx, c)
		if v := c.Latest(); err != nil || now != seq || v.Ended() {
			return false, err
		}
	}
	return true, nil
}

// killAtStart deletes what was queued before any of it is delivered.
func (d *drill) killAtStart(ctx context.Context, name string) error {
	var c *canary
	err := d.holding(ctx, func() (err error) {
		if c, err = d.start(ctx, name, name, sample{"mode": "sync"}, d.deadline(), ""); err != nil {
			return err
		}
		for _, kind := range []queue.Kind{queue.Dispatch, queue.Check} {
			task := queue.Task{Kind: kind, CaseID: c.CaseID, Run: 1, Seq: 1, CreatedAt: c.created}
			was, err := d.google.lose(ctx, task)
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

// holding does something while the queues deliver nothing. It does not touch queues that somebody else has stopped.
func (d *drill) holding(ctx context.Context, do func() error) (err error) {
	d.holds.Lock() // faults run side by side, and would find the queues stopped by each other
	defer d.holds.Unlock()
	for _, name := range d.google.queues() {
		switch stopped, err := d.google.paused(ctx, name); {
		case err != nil:
			return err
		case stopped:
			return fmt.Errorf("the queue %s is paused, by somebody else: it is left alone", path.Base(name))
		}
	}
	defer func() { err = errors.Join(err, d.release(context.WithoutCancel(ctx))) }()
	for _, name := range d.google.queues() {
		d.mu.Lock()
		d.held = append(d.held, name) // before it is: whatever comes of the request
		d.mu.Unlock()
		if err := d.google.hold(ctx, name); err != nil {
			return err
		}
	}
	return do()
}

// loseCheck deletes the check to come, and reports whether it was there. On one machine it stops the
// queues for that moment: the check may be due before its number is known.
func (d *drill) loseCheck(ctx context.Context, c *canary) (seq int64, lost bool, err error) {
	lose := func() (err error) {
		if seq, err = d.checkSeq(ctx, c); err == nil {
			lost, err = d.google.lose(ctx, d.check(c, seq))
		}
		return err
	}
	if d.t.Local() {
		err = d.holding(ctx, lose)
	} else {
		err = lose()
	}
	return seq, lost, err
}

// killAtCheck deletes the check to come: what a kill leaves between the save that says so and the task itself.
func (d *drill) killAtCheck(ctx context.Context, name string) error {
	c, err := d.start(ctx, name, name, d.waiting(), d.deadline(), "")
	if err != nil {
		return err
	}
	d.soon(ctx, c, func(v witness.View) bool { return v.Checks.Count > 0 || v.Ended() })
	for v := c.Latest(); !v.Ended() && ctx.Err() == nil; v = c.Latest() {
		seq, lost, err := d.loseCheck(ctx, c)
		if err != nil {
			return err
		}
		if !lost {
			_ = ctxtime.Sleep(ctx, 100*time.Millisecond)
			continue
		}
		// One that is being delivered goes on, deleted or not, and queues the next.
		if cut, err := d.still(ctx, c, seq); err != nil || cut {
			return errors.Join(err, d.healed(ctx, c), d.end(ctx, c))
		}
	}
	if v := c.Latest(); v.Ended() {
		return tooEarly(v)
	}
	return ctx.Err()
}
