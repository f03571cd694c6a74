package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/ctxtime"
)

// settle is how long the cases are watched after the last of them has ended: what polls on is seen by then.
func (d *drill) settle() time.Duration {
	return clockSlack + max(time.Second, 3*d.t.CheckMinInterval.Duration())
}

// Run drills a target, and returns what was seen. It returns when every case has ended, or should
// have; then it cleans up, as it does when ctx ends, or nothing answers any more. The error says
// why it could not be done, and what is left then; broken promises are no error, but in the report.
func Run(ctx context.Context, t *target.Target, o settings, out io.Writer) (_ *report, err error) {
	for _, name := range o.only {
		if !slices.ContainsFunc(faults, func(f fault) bool { return f.name == name }) {
			return nil, fmt.Errorf("there is no fault %s; there are %s", name, strings.Join(names(), ", "))
		}
	}
	d := &drill{t: t, door: newDoor(t), out: out, opts: o, stamp: newStamp(), afterPurge: make(chan struct{})}
	defer d.door.http.CloseIdleConnections()
	if d.google, err = openGoogle(context.WithoutCancel(ctx), t); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.google.close()) }()
	ctx, d.abandon = context.WithCancelCause(ctx)
	defer d.abandon(nil)
	began := time.Now()
	d.say("drilling %s: about %s, at most %s", t.Name, d.about().Round(time.Second), d.atMost().Round(time.Second))
	var why error
	if d.before, why = d.lookAtHealth(ctx); why != nil {
		d.noHouse = why
		d.note("the console's health was not looked at: %v", why)
		t.Console = "" // nor are its cases
	}
	if d.before.Leaked > 0 {
		d.note("the console told of %d leaked before the drill began: runbooks/leaked.md", d.before.Leaked)
	}
	reading, stop := context.WithTimeout(ctx, d.atMost())
	defer stop()
	d.reading = reading
	d.readers.Go(func() { d.patrol(reading) })

	rep := d.all(reading)
	if ctxtime.Sleep(ctx, d.settle()) == nil {
		if err := d.door.knock(ctx); err != nil { // what cannot be read is not judged
			d.lost(err)
		} else {
			d.judge(ctx)
		}
	}
	stop()
	d.readers.Wait()
	why = context.Cause(ctx)
	if why != nil {
		d.say("%s; cleaning up, for at most %s", words(why), cleanUpTimeout)
	}
	left := d.cleanUp(context.WithoutCancel(ctx))
	if why != nil {
		return nil, d.stopped(why, left)
	}
	if left != nil {
		rep.Left = left.Error()
	}
	d.aftermath(ctx)
	d.report(rep)
	rep.Seconds = time.Since(began).Round(100 * time.Millisecond).Seconds()
	return rep, nil
}

// words says why a drill ended early.
func words(why error) string {
	if errors.Is(why, context.Canceled) {
		return "it was stopped"
	}
	return why.Error()
}

// stopped is the error of a drill that ended early; what was seen broken until then is told.
func (d *drill) stopped(why, left error) error {
	for _, c := range d.cases {
		for _, b := range c.Breaches() {
			d.say("%s", told(c.fault, b))
		}
	}
	if left != nil {
		return fmt.Errorf("%s, and not everything could be cleaned up: %w", words(why), left)
	}
	return fmt.Errorf("%s; nothing of it is left open", words(why))
}

// aftermath notes what a drill leaves behind in the cases of others.
func (d *drill) aftermath(ctx context.Context) {
	if d.noHouse != nil {
		return
	}
	if after, err := d.lookAtHealth(ctx); err == nil && after.Overdue > d.before.Overdue {
		d.note("%d runs are overdue (%d before the drill): no sweep has found them yet; look at the console's health "+
			"until none is", after.Overdue, d.before.Overdue)
	}
}

func names() []string {
	var all []string
	for _, f := range faults {
		all = append(all, f.name)
	}
	return all
}

// all makes every fault happen, and returns when all cases have ended or should have.
func (d *drill) all(ctx context.Context) *report {
	ctx, cancel := context.WithTimeout(ctx, d.faulty())
	defer cancel()
	rep := &report{Target: d.t.Name, Faults: make([]outcome, len(faults))}
	var running sync.WaitGroup
	for i, f := range faults {
		o := &rep.Faults[i]
		o.Fault, o.Does = f.name, f.does
		if len(d.opts.only) > 0 && !slices.Contains(d.opts.only, f.name) {
			o.Skipped = notAsked
			continue
		}
		if f.needs != nil {
			if o.Skipped = f.needs(d.t, d.opts); o.Skipped != "" {
				continue
			}
		}
		d.say("  %s: %s", f.name, f.does)
		over := make(chan struct{})
		running.Go(func() {
			defer close(over)
			if err := f.run(d, ctx, f.name); err != nil {
				o.Error = err.Error()
			}
			if ctx.Err() == nil {
				d.ended(f.name, o.Error)
			}
		})
		if f.name == "purge" {
			select {
			case <-d.afterPurge:
			case <-over:
			}
		}
	}
	running.Wait()
	rep.Faults = slices.DeleteFunc(rep.Faults, func(o outcome) bool { return o.Skipped == notAsked })
	return rep
}

// ended says how a fault's cases ended.
func (d *drill) ended(fault, problem string) {
	if problem != "" {
		d.say("  %s: %s", fault, problem)
		return
	}
	var how []string
	for _, c := range d.casesOf(fault) {
		v := c.Latest()
		how = append(how, v.String())
	}
	d.say("  %s: %s", fault, strings.Join(how, "; "))
}

func (d *drill) casesOf(fault string) []*canary {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.cases), func(c *canary) bool { return c.fault != fault })
}

func (d *drill) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if text := fmt.Sprintf(format, args...); !slices.Contains(d.notes, text) {
		d.notes = append(d.notes, text)
	}
}

func (d *drill) lookAtHealth(ctx context.Context) (health, error) {
	var h health
	err := d.door.console(ctx, "/-/health", &h)
	return h, err
}

// patrol looks around until ctx ends: whether anything answers, at the health, and on one machine
// at the queue, which there can be seen whole.
func (d *drill) patrol(ctx context.Context) {
	answered := time.Now()
	for {
		err := d.door.knock(ctx)
		switch {
		case err == nil:
			answered = time.Now()
		case time.Since(answered) > d.patience() && ctx.Err() == nil:
			d.lost(err)
			return
		}
		if d.t.Console != "" {
			if h, err := d.lookAtHealth(ctx); err == nil {
				d.mu.Lock()
				d.worst.Leaked = max(d.worst.Leaked, h.Leaked)
				d.mu.Unlock()
			}
		}
		if d.t.Local() {
			short, cancel := context.WithTimeout(ctx, 5*time.Second) // Google's client tries as long as it may
			if pending, err := d.google.pending(short); err == nil {
				d.crowded(pending)
			}
			cancel()
		}
		if ctxtime.Sleep(ctx, time.Second) != nil {
			return
		}
	}
}

// lost ends a drill whose system is gone.
func (d *drill) lost(why error) {
	d.abandon(fmt.Errorf("nothing answers at %s any more: %w", d.t.Start, why))
}

// crowded accuses the runs for which more than one check pends, and did at the patrol before. A
// check that is brought forward is scheduled before the one whose place it takes is deleted, so
// that both pend for a moment.
func (d *drill) crowded(pending map[string][]int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lasting := map[string][]int64{}
	for run, seqs := range pending {
		for _, seq := range seqs {
			if slices.Contains(d.pended[run], seq) {
				lasting[run] = append(lasting[run], seq)
			}
		}
	}
	d.pended = pending
	for _, c := range d.cases {
		_, newest := c.Open()
		for run := 1; run <= newest; run++ {
			if n := c.pend(lasting, run); n > 1 {
				c.Accuse(witness.OneChain, run, "%d checks were pending at once", n)
			}
		}
	}
}
