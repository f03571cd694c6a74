package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/ctxtime"
)

// clockSlack is how long after the end a poll may still arrive: the check that sent it began
// before.
const clockSlack = 3 * time.Second

// slowStream is how long a stream may take to tell an end that status shows, and that nothing more
// comes: it may be cut just then, and its reader waits before it reconnects.
const slowStream = streamFor + 10*time.Second

const (
	// perCheck is how many polls a check may send: it polls again when a connection that was used
	// before turns out dead.
	perCheck = 2
	// unaccounted is how many polls of a case may be counted by no check: each end, rerun or cancel
	// may come while one is under way.
	unaccounted = 20
)

// judge judges every case by what is missing, and by what its readers could not see.
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
		d.note("starts and polls were not counted: only the sample pipeline keeps a record; " +
			"of checks after the end only their number was judged")
	}
	published, cancel := context.WithTimeout(ctx, d.heal())
	defer cancel()
	hearing, over := context.WithTimeout(ctx, slowStream)
	defer over()
	for _, c := range cases {
		c.Judge(hearing, d.grace())
		_, newest := c.Open()
		for run := 1; run <= newest; run++ {
			r := c.Run(run)
			if n := c.pend(pending, run); n > 0 && !r.EndSeen.IsZero() {
				c.Accuse(witness.OneChain, run, "it has ended (%s), and %d of its checks still pend", r, n)
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

// asked judges what the pipeline was asked, by its own record.
func (d *drill) asked(ctx context.Context, c *canary) {
	found, err := d.door.record(ctx, c.CaseID)
	if err != nil {
		d.note("starts and polls of %s were not counted: %v", c.CaseID, err)
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
			c.Accuse(witness.Once, number, "the pipeline was started %d times", n)
		}
	}
	_, newest := c.Open()
	after, counted := 0, 0
	if end := c.Run(newest); !end.EndSeen.IsZero() {
		for _, at := range found.Looks {
			if at.After(end.EndedAt.Add(clockSlack)) {
				after++
			}
		}
	}
	for run := 1; run <= newest; run++ {
		counted += c.Run(run).Checks.Count
	}
	if after > 0 {
		c.Accuse(witness.OneChain, newest, "the pipeline was polled %d times after the end", after)
	} else if len(found.Looks) > perCheck*counted+unaccounted {
		c.Accuse(witness.OneChain, newest, "the pipeline was polled %d times, and its checks tell of %d polls",
			len(found.Looks), counted)
	}
}

// settled judges what the console says of a case. That an end is published may take a sweep.
func (d *drill) settled(ctx context.Context, c *canary) {
	_, newest := c.Open()
	if c.Run(newest).EndSeen.IsZero() {
		return
	}
	for {
		found, err := d.detail(ctx, c)
		switch {
		case err != nil && ctx.Err() == nil:
			d.note("the console told nothing of %s: %v", c.CaseID, err)
			return
		case found.Leaked > 0:
			c.Accuse(witness.OneChain, newest, "the console tells that %d checks asked the pipeline after the end",
				found.Leaked)
			return
		case found.Published:
			return
		}
		if ctxtime.Sleep(ctx, 500*time.Millisecond) != nil {
			if errors.Is(ctx.Err(), context.Canceled) { // by whoever drills
				return
			}
			c.Accuse(witness.Told, newest, "its end was not published")
			return
		}
	}
}
