package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
	"github.com/casewatch/casewatch/deploy/test/witness"
)

const (
	// pollEvery is how often a reader asks for JSON. On Google Cloud it asks more rarely: reads
	// cost.
	pollEvery      = 300 * time.Millisecond
	pollEveryCloud = 2 * time.Second
	// streamFor is how long a stream is held before it is cut, so that each case sees what a reader
	// sees who comes back.
	streamFor = 7 * time.Second
)

// taskSlack is, beyond a poll's own time, how late a task may be before a sweep asks whether it
// still exists.
const taskSlack = 20 * time.Second

// drill is one drill under way.
type drill struct {
	t      *target.Target
	door   *door
	google *google
	out    io.Writer // what is going on, for people
	opts   settings
	stamp  string // in the id of each case
	// afterPurge is closed once the queues are purged.
	afterPurge chan struct{}

	mu      sync.Mutex
	cases   []*canary
	made    int        // tasks of ours
	own     []string   // those that may still be there
	holds   sync.Mutex // taken while the queues are stopped
	held    []string   // queues that we stopped
	notes   []string
	before  health // when the drill began
	worst   health
	pended  map[string][]int64      // the checks that the last patrol saw pending, by run
	abandon context.CancelCauseFunc // ends it all
	noHouse error                   // why the console cannot be read; nil: it can
	readers sync.WaitGroup
	reading context.Context // of the readers
}

// settings are what the caller chose.
type settings struct {
	only     []string // names of faults; none: all
	yesPurge bool
}

// canary is a case of the drill.
type canary struct {
	*witness.Witness
	fault     string
	form      []byte
	cancelURL string
	created   time.Time    // of its first run
	early     atomic.Int64 // the last check of its first run that the drill had delivered itself
}

// pend is how many checks of a run wait for their turn. One that the drill had delivered before its
// time still waits, for nothing.
func (c *canary) pend(pending map[string][]int64, run int) (n int) {
	for _, seq := range pending[runName(c.CaseID, run)] {
		if run > 1 || seq > c.early.Load() {
			n++
		}
	}
	return n
}

// heal is how long the system may take to find what was lost: a poll's time and the slack, then a
// sweep, and one more that found it a moment too early.
func (d *drill) heal() time.Duration {
	return d.t.CheckTimeout.Duration() + taskSlack + 2*d.t.SweepInterval.Duration()
}

// deadline is that of a case, long enough for what was lost to be found, worked on, and ended
// without an event.
func (d *drill) deadline() time.Duration {
	if d.t.Patience > 0 {
		return d.t.Patience.Duration()
	}
	return d.heal() + d.t.CompletionGrace.Duration() + 30*time.Second
}

// grace is how late after its deadline a run may end: its last check may be lost, which a sweep
// finds.
func (d *drill) grace() time.Duration { return d.heal() + 5*time.Second }

// faulty bounds the faults: a case that ends at its deadline, by a sweep, is the slowest that keeps
// its promise. It may begin when a purge is over.
func (d *drill) faulty() time.Duration {
	return d.patience() + d.deadline() + d.grace() + 15*time.Second
}

// atMost bounds the whole drill: an end that was not published is what the verdicts wait for.
func (d *drill) atMost() time.Duration { return d.faulty() + d.heal() }

// about is how long it takes in health: until what was lost was found, worked on, and ended without
// an event.
func (d *drill) about() time.Duration {
	return d.t.CheckTimeout.Duration() + taskSlack + d.t.SweepInterval.Duration() +
		d.t.CompletionGrace.Duration() + 15*time.Second
}

// sample tells the sample pipeline how to behave; another is not told anything.
type sample map[string]any

// defendants is for us, not for the pipeline: a number of them makes three times as many documents.
const defendants = "defendants"

// hanging is a job that stops midway, so that only we say how it goes on.
var hanging = sample{"mode": "silent", "fault": "hang"}

// ownForm is the form of a canary where the target gives none. It has all that a real pipeline
// needs: `make run` may have one of its user's.
const ownForm = `{"Form":{"Id":"drill","InternalName":"drill","Name":"Drill v. Fire LLC"},
	"PlaintiffDetails":[{"Id":"p1","ItemNumber":1,"HeadOfHousehold":true,
		"PlaintiffItemNumberName":{"First":"Dora","Last":"Drill","FirstAndLast":"Dora Drill"},
		"PlaintiffItemNumberType":"Individual","PlaintiffItemNumberAgeCategory":["Adult"],
		"PlaintiffItemNumberDiscovery":{"VerminIssue":true,"Vermin":["Rats/Mice"]}}],
	"DefendantDetails2":[{"Id":"d1","ItemNumber":1,
		"DefendantItemNumberName":{"First":"","Last":"Fire LLC","FirstAndLast":"Fire LLC"},
		"DefendantItemNumberType":"LLC","DefendantItemNumberManagerOwner":"Owner"}],
	"Full_Address":{"StreetAddress":"1 Test Street","Line1":"1 Test Street",
		"City":"Los Angeles","State":"CA","PostalCode":"90001"},
	"Filing city":"Los Angeles","Filing county":"Los Angeles","document_types":["srogs","pods","admissions"]}`

// start begins a case and watches it, by JSON and by the stream, until the drill ends.
func (d *drill) start(ctx context.Context, fault, name string, behaviour sample, deadline time.Duration,
	key string) (*canary, error) {
	caseID := "drill-" + d.stamp + "-" + name
	form := map[string]any{}
	text := d.t.Form
	if len(text) == 0 {
		text = []byte(ownForm)
	}
	if err := json.Unmarshal(text, &form); err != nil {
		return nil, fmt.Errorf("the form of the canary: %w", err)
	}
	form["case_id"] = caseID
	if d.t.SamplePipeline != "" {
		form["sample"] = behaviour
		if n, ok := behaviour[defendants].(int); ok {
			form["DefendantDetails2"] = make([]struct{}, n)
		}
	}
	data, err := json.Marshal(form)
	if err != nil {
		return nil, err
	}
	s, err := d.door.start(ctx, data, deadlineQuery(deadline), key)
	if err != nil {
		return nil, err
	}
	every := pollEvery
	if !d.t.Local() {
		every = pollEveryCloud
	}
	o := witness.Options{Client: d.door.http, Every: every, Cut: streamFor}
	c := &canary{
		Witness: witness.New(caseID, s.StatusURL, o), fault: fault, form: data,
		cancelURL: s.CancelURL, created: s.CreatedAt,
	}
	d.mu.Lock()
	d.cases = append(d.cases, c)
	d.mu.Unlock()
	d.readers.Go(func() { c.Poll(d.reading) })
	d.readers.Go(func() { c.Stream(d.reading) })
	return c, nil
}

func deadlineQuery(deadline time.Duration) url.Values {
	return url.Values{"deadline": {deadline.String()}}
}

// end waits until every run of a case has ended, or should have: then the verdict says so.
func (d *drill) end(ctx context.Context, c *canary) error {
	seen := within(ctx, 10*time.Second, c, func(v witness.View) bool { return v.Run > 0 })
	if !seen && ctx.Err() == nil {
		return errors.New("its status could not be read")
	}
	for ctx.Err() == nil {
		before := c.Latest()
		rest := time.Until(before.DeadlineAt.Add(d.grace()))
		ended := func() bool { open, _ := c.Open(); return len(open) == 0 }
		newer := func(v witness.View) bool { return ended() || v.Run > before.Run } // which has a deadline of its own
		if !within(ctx, rest, c, newer) || ended() {
			break
		}
	}
	return ctx.Err()
}

// endAll is end of each.
func (d *drill) endAll(ctx context.Context, all ...*canary) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, d.end(ctx, c))
	}
	return errors.Join(errs...)
}

// patience is how long what happens at once in health may take.
func (d *drill) patience() time.Duration {
	if d.t.Local() {
		return 20 * time.Second
	}
	return 2 * time.Minute
}

// soon waits a while for a case to be as asked, and reports whether it was.
func (d *drill) soon(ctx context.Context, c *canary, is func(witness.View) bool) bool {
	return within(ctx, d.patience(), c, is)
}

// within waits that long at most for a case to be as asked, and reports whether it was.
func within(ctx context.Context, limit time.Duration, c *canary, is func(witness.View) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return c.Await(ctx, is)
}

// keptLate sees to it that what the pipeline says after the end of the current run is kept beside
// it.
func (d *drill) keptLate(ctx context.Context, c *canary, e event) error {
	v := c.Latest()
	before := 0
	if v.Late != nil {
		before = v.Late.Count
	}
	if err := d.google.publish(ctx, e); err != nil {
		return err
	}
	late := func(v witness.View) bool { return v.Late != nil && v.Late.Count > before }
	if !d.soon(ctx, c, late) && ctx.Err() == nil {
		c.Accuse(witness.Final, v.Run, "the event %s, published after the end, is not kept as late", e.Status)
	}
	return ctx.Err()
}

func (d *drill) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format+"\n", args...)
}

// newStamp is when the drill began, and a few letters that no other drill of that second has.
func newStamp() string {
	return strings.ToLower(time.Now().UTC().Format("20060102t150405") + "-" + rand.Text()[:4])
}
