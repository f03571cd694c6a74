package main

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// clockSlack is how long after the end a poll may still arrive: the check that sent it began before.
const clockSlack = 3 * time.Second

// slowStream is how long a stream may take to tell an end that status shows: it may be cut just then, and come back.
const slowStream = streamFor + 5*time.Second

const (
	// perLook is how many polls a look may be: it is asked again when a connection that was used before turns out dead.
	perLook = 2
	// unaccounted is how many polls of a case may be counted by no check: each end, rerun or cancel may come while one is under way.
	unaccounted = 20
)

// judge looks at every case once more, at what its readers could not see.
func (d *drill) judge(ctx context.Context) {
	d.mu.Lock()
	cases := d.cases
	d.mu.Unlock()
	var pending map[string][]int64
	var err error
	if d.t.Local() {
		if pending, err = d.google.pending(ctx); err != nil {
			d.note("the queue could not be listed: %v", err)
		}
	} else {
		d.note("pending checks were not counted: the queue of a deployed system cannot be seen whole")
	}
	if d.t.SamplePipeline == "" {
		d.note("starts and polls were not counted: only the sample pipeline keeps a record; of checks after the end only their count was looked at")
	}
	published, cancel := context.WithTimeout(ctx, d.heal())
	defer cancel()
	hearing, over := context.WithTimeout(ctx, slowStream)
	defer over()
	for _, c := range cases {
		c.hear(hearing)
		d.endedInTime(c)
		d.toldOnce(c)
		for run, r := range c.ended() {
			if n := c.pend(pending, run); n > 0 {
				c.accuse(oneChain, run, "it has ended (%s), and %d of its checks still pend", r.words(), n)
			}
		}
		if d.t.SamplePipeline != "" {
			d.asked(ctx, c)
		}
		if d.t.Console != "" {
			d.settled(published, c)
		}
	}
}

// ended returns the runs that were seen to end.
func (w *witness) ended() map[int]view {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[int]view{}
	for n, r := range w.runs {
		if r.end != nil {
			all[n] = *r.end
		}
	}
	return all
}

// looks returns how often all runs together have looked at the pipeline, by their own count.
func (w *witness) looks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, r := range w.runs {
		n += r.last.Checks.Count
	}
	return n
}

func (d *drill) endedInTime(c *canary) {
	open, newest := c.open()
	if newest == 0 {
		c.accuse(ends, 1, "it was accepted, and its status could never be read")
	}
	now, _ := c.now()
	for _, run := range open {
		if time.Since(now.DeadlineAt) > d.grace() { // else its fault gave up on it
			c.accuse(ends, run, "it has not ended; its deadline was at %s", now.DeadlineAt.Format(time.TimeOnly))
		}
	}
	for run, v := range c.ended() {
		if late := v.EndedAt.Sub(v.DeadlineAt); late > d.grace() {
			c.accuse(ends, run, "it ended %s after its deadline", late.Round(time.Second))
		}
	}
}

// hear waits until the stream has told the newest end that status shows, or ctx ends.
func (w *witness) hear(ctx context.Context) {
	for {
		w.mu.Lock()
		r := w.runs[w.latest.Run]
		told := r == nil || r.end == nil || r.told > 0
		w.mu.Unlock()
		if told || !pause(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// toldOnce judges the stream of a case. An earlier run that was superseded while it was watched need not be told of.
func (d *drill) toldOnce(c *canary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.runs[c.latest.Run]
	if r != nil && r.end != nil && r.told == 0 {
		c.breach(told, c.latest.Run, "it has ended (%s), and the stream did not tell", r.end.words())
	}
}

// asked judges what the pipeline was asked, by its own record.
func (d *drill) asked(ctx context.Context, c *canary) {
	found, err := d.door.record(ctx, c.caseID)
	if err != nil {
		d.note("starts and polls of %s were not counted: %v", c.caseID, err)
		return
	}
	arrived, began := map[string]int{}, map[string]int{}
	for _, r := range found.Requests {
		switch r.Did {
		case "started":
			began[r.Run]++
			arrived[r.Run]++
		case "joined":
			arrived[r.Run]++
		}
	}
	if d.t.Idempotent {
		arrived = began // the same key twice is one start
	}
	for run, n := range arrived {
		if n > 1 {
			number, _ := strconv.Atoi(run)
			c.accuse(once, number, "the pipeline was started %d times", n)
		}
	}
	_, newest := c.open()
	after := 0
	if end, over := c.ended()[newest]; over {
		for _, at := range found.Looks {
			if at.After(end.EndedAt.Add(clockSlack)) {
				after++
			}
		}
	}
	if after > 0 {
		c.accuse(oneChain, newest, "the pipeline was polled %d times after the end", after)
	} else if told := c.looks(); len(found.Looks) > perLook*told+unaccounted {
		c.accuse(oneChain, newest, "the pipeline was polled %d times, and its checks tell of %d looks", len(found.Looks), told)
	}
}

// settled judges what the console says of a case. That an end is published may take a sweep.
func (d *drill) settled(ctx context.Context, c *canary) {
	_, newest := c.open()
	if _, over := c.ended()[newest]; !over {
		return
	}
	for {
		found, err := d.detail(ctx, c)
		switch {
		case err != nil && ctx.Err() == nil:
			d.note("the console told nothing of %s: %v", c.caseID, err)
			return
		case found.Leaked > 0:
			c.accuse(oneChain, newest, "the console tells that %d checks asked the pipeline after the end", found.Leaked)
			return
		case found.Published:
			return
		}
		if !pause(ctx, 500*time.Millisecond) {
			if errors.Is(ctx.Err(), context.Canceled) { // by whoever drills
				return
			}
			c.accuse(told, newest, "its end was not published")
			return
		}
	}
}
