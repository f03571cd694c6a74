package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/queue"
)

// cleanUpTimeout bounds the end of a drill.
const cleanUpTimeout = time.Minute

// put puts a task of ours into a queue, and remembers it until it is gone.
func (d *drill) put(ctx context.Context, parent string, t queue.Task, after time.Duration) (string, error) {
	d.mu.Lock()
	d.made++
	nth := d.made
	d.mu.Unlock()
	name, err := d.google.put(ctx, parent, t, nth, after)
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	d.own = append(d.own, name)
	d.mu.Unlock()
	return name, nil
}

// gone returns when none of these tasks of ours exists any more: they were delivered and taken, or
// purged. The error says why one is still there.
func (d *drill) gone(ctx context.Context, names []string) error {
	short, cancel := context.WithTimeout(ctx, d.patience())
	defer cancel()
	for rest := slices.Clone(names); len(rest) > 0; {
		task, err := d.google.find(ctx, rest[len(rest)-1])
		switch {
		case err != nil:
			return fmt.Errorf("a task of ours cannot be looked for: %w", err)
		case task == nil:
			rest = rest[:len(rest)-1]
		case ctxtime.Sleep(short, 200*time.Millisecond) != nil:
			why := "it was not tried"
			if n := task.GetDispatchCount(); n > 0 {
				why = fmt.Sprintf("it was tried %d times, and last answered %s", n,
					code.Code(task.GetLastAttempt().GetResponseStatus().GetCode()))
			}
			return errors.Join(ctx.Err(),
				fmt.Errorf("of %d tasks of ours one is still there after %s: %s", len(names), d.patience(), why))
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.own = slices.DeleteFunc(d.own, func(name string) bool { return slices.Contains(names, name) })
	return nil
}

// release lets every queue that we stopped deliver again. One that could not be told to stays in
// held, for the end of the drill.
func (d *drill) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanUpTimeout/4)
	defer cancel()
	d.mu.Lock()
	held := slices.Clone(d.held)
	d.mu.Unlock()
	var errs []error
	for _, name := range held {
		if err := d.google.resume(ctx, name); err != nil {
			errs = append(errs,
				fmt.Errorf("the queue %s is still paused (gcloud tasks queues resume): %w", path.Base(name), err))
			continue
		}
		d.mu.Lock()
		d.held = slices.DeleteFunc(d.held, func(other string) bool { return other == name })
		d.mu.Unlock()
	}
	return errors.Join(errs...)
}

// cleanUp leaves nothing behind: what was stopped goes on, open cases are cancelled, tasks of ours
// deleted. Records stay, for RETENTION.
func (d *drill) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanUpTimeout)
	defer cancel()
	err := d.release(ctx)
	d.mu.Lock()
	cases, own := slices.Clone(d.cases), slices.Clone(d.own)
	d.mu.Unlock()
	open, left := 0, 0
	var why error
	for _, c := range cases {
		if e := d.cancel(ctx, c); e != nil {
			open, why = open+1, e
		}
	}
	if open > 0 {
		err = errors.Join(err, fmt.Errorf(
			"%d cases named drill-%s-… are perhaps still open, until their deadline: %w", open, d.stamp, why))
	}
	for _, name := range own {
		if e := d.google.drop(ctx, name); e != nil {
			left, why = left+1, e
		}
	}
	if left > 0 {
		err = errors.Join(err, fmt.Errorf("%d tasks of ours are still queued, and do nothing: %w", left, why))
	}
	return err
}

// cancel ends what is open of a case.
func (d *drill) cancel(ctx context.Context, c *canary) error {
	v, err := c.Read(ctx, 0)
	if err != nil || v.Ended() {
		return err
	}
	// The address names the first run: it is the newest that is open.
	to := strings.Replace(c.cancelURL, "run=1", fmt.Sprintf("run=%d", v.Run), 1)
	answer, err := d.door.cancel(ctx, to)
	if err == nil && answer != http.StatusOK && answer != http.StatusConflict {
		err = fmt.Errorf("cancel answered %d", answer)
	}
	return err
}
