package system_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/cases"
)

// verdict is what came of the cases.
type verdict struct {
	runs               int
	ends               map[string]int // by state and reason
	unsent             int            // runs that the pipeline was never sent
	lost               int
	doubled, polled    int             // runs that were started again, and polled after their end
	leaked, leakedMost int             // by the last sweep, and the most that one found
	right, wrong       int             // viewers
	took               []time.Duration // from when a run had to end until a reader saw that it had
	healed             []time.Duration // the same, from the end of the last outage in between if there was one
}

// judge compares what became of every run with what the pipeline wrote down, and wants nothing to
// be left.
func (c *chaos) judge(t *testing.T) {
	v := &c.verdict
	v.ends = map[string]int{}
	ends := map[string]witness.View{} // by the id of the end's event
	for _, tr := range c.trials {
		if len(tr.runs) == 0 {
			t.Errorf("%s was not accepted", tr.id)
		}
		for _, r := range tr.runs {
			v.runs++
			seen := tr.w.Run(r.Run)
			if seen.EndSeen.IsZero() {
				v.lost++
				t.Errorf("%s run %d has not ended: %s", r.ID, r.Run, seen)
				continue
			}
			v.ends[seen.String()]++
			ends[endID(r)] = seen.View
		}
	}
	published := c.judgeEnds(t, ends)
	stopping, cancel := context.WithTimeout(t.Context(), viewersStop)
	defer cancel()
	for _, tr := range c.trials {
		for i, r := range tr.runs {
			if seen := tr.w.Run(r.Run); !seen.EndSeen.IsZero() {
				c.judgeRun(t, tr, r, seen, published[endID(r)], i == len(tr.runs)-1)
			}
		}
		if len(tr.runs) > 0 {
			tr.w.Judge(stopping, quietWithin)
			c.blame(t, tr)
		}
	}
	c.judgeSweeps(t)
	log := c.log()
	defer func() {
		if t.Failed() {
			c.keep(t, log)
		}
	}()
	for _, o := range c.outages {
		if !c.short && !strings.Contains(log, o.says) {
			t.Errorf("%s, and nobody noticed", o.name)
		}
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, "panic") || strings.Contains(line, "fatal error") {
			t.Errorf("a process says: %s", line)
		}
	}
}

// blame counts the promises that a case was seen to break.
func (c *chaos) blame(t *testing.T, tr *trial) {
	v, broken := &c.verdict, tr.w.Breaches()
	for _, b := range broken {
		t.Error(b)
		switch b.Promise {
		case witness.Once:
			v.doubled++
		case witness.OneChain:
			v.polled++
		}
	}
	switch {
	case !tr.shown:
	case len(broken) == 0:
		v.right++
	default:
		v.wrong++
	}
}

func endID(r run) string { return fmt.Sprintf("%s:%d:ended", r.ID, r.Run) }

// keep keeps what the processes said, for whoever looks for the reason.
func (c *chaos) keep(t *testing.T, log string) {
	file := filepath.Join(os.TempDir(), "casewatch-chaos-"+c.store+".log")
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Error(err)
		return
	}
	t.Logf("what the processes said is in %s", file)
}

// judgeRun judges a run that ended, and whose end was published at that time.
func (c *chaos) judgeRun(t *testing.T, tr *trial, r run, seen witness.Seen, published time.Time, last bool) {
	v, state, reason := &c.verdict, cases.State(seen.State), cases.Reason(seen.End.Reason)
	posts := c.pipe.PostsOfRun(tr.id, r.Run)
	if len(posts)-tr.busy > 1 {
		tr.w.Accuse(witness.Once, r.Run, "the pipeline was sent it %d times", len(posts))
	}
	if len(posts) == 0 {
		v.unsent++
	}
	due := tr.due[r.Run]
	switch {
	case len(posts) > tr.busy: // the pipeline has the last word
		want, reasons := tr.state, tr.reasons
		if reasons == nil {
			reasons = []cases.Reason{usual[want]}
		}
		if !last {
			want, reasons = cases.Cancelled, []cases.Reason{cases.ReasonSuperseded}
		}
		if state != want || !slices.Contains(reasons, reason) {
			t.Errorf("%s run %d is %s, %+v; by what the pipeline wrote down it is %s, %v",
				r.ID, r.Run, state, *seen.End, want, reasons)
		}
		if due.IsZero() {
			due = posts[len(posts)-1].Done
		}
	case state == cases.Failed && reason == cases.ReasonStartUnknown && c.startLost(seen.View):
		// No reader can know whether it was sent.
	case reason == cases.ReasonDeadline && (tr.query != "" || r.Run > 1):
		// A short deadline may pass in an outage. And a pipeline that does not know runs, asked for
		// one that it was never sent, tells of the one before.
		due = seen.DeadlineAt
	default: // no outage is as long as what ends a run that cannot be started
		t.Errorf("%s run %d is %s, %+v, and never reached the pipeline", r.ID, r.Run, state, *seen.End)
	}
	if !due.IsZero() {
		v.took = append(v.took, max(0, seen.EndSeen.Sub(due)))
		v.healed = append(v.healed, max(0, seen.EndSeen.Sub(c.quietSince(due, seen.EndSeen))))
	} else {
		due = seen.DeadlineAt // whatever happens
	}
	if late := seen.EndSeen.Sub(c.quietSince(due, seen.EndSeen)); late > healedWithin {
		t.Errorf("%s run %d was to end at %v, and was seen to only %v after that and the outages",
			r.ID, r.Run, due, late)
	}
	c.record(t, tr, r)
	if last { // the pipeline does not know runs
		// From when the end was known to be saved, and the poll that was under way has come.
		known := seen.EndSeen
		if !published.IsZero() && published.Before(known) {
			known = published
		}
		if after := c.pipe.PollsAfter(tr.id, known.Add(underWay)); len(after) > 0 {
			tr.w.Accuse(witness.OneChain, r.Run, "the pipeline was polled %d times after its end, at %v and later",
				len(after), after[0].At.Sub(*seen.EndedAt))
		}
	}
	if _, err := tr.w.Read(t.Context(), r.Run); err != nil {
		t.Errorf("%s run %d cannot be read: %v", r.ID, r.Run, err)
	}
}

// record wants the record of a run to tell of no check that began after its end and polled the
// pipeline.
func (c *chaos) record(t *testing.T, tr *trial, r run) {
	var d detail
	code := c.console(http.MethodGet, fmt.Sprintf("/%s?run=%d", r.ID, r.Run), "", &d)
	if code != http.StatusOK || d.Case.Run != r.Run {
		t.Errorf("the console says of %s run %d: %d %+v", r.ID, r.Run, code, d)
	}
	if d.Leaked != 0 {
		tr.w.Accuse(witness.OneChain, r.Run, "the console tells that %d checks polled after the end", d.Leaked)
	}
}

// startLost reports whether the request that starts a run may have been lost: an instance of
// dispatch was killed while the run lasted, or connections to the pipeline broke, or the store did
// not answer for as long as dispatch tries to save its mark. A server that is out for some seconds
// is waited for.
func (c *chaos) startLost(v witness.View) bool {
	during := func(from, to time.Time) bool { return to.After(v.CreatedAt) && from.Before(*v.EndedAt) }
	return v.EndedAt.Sub(v.CreatedAt) > markPatience ||
		slices.ContainsFunc(c.killed["dispatch"], func(at time.Time) bool { return during(at, at) }) ||
		slices.ContainsFunc(c.outages, func(o span) bool { return o.tears == "pipeline" && during(o.from, o.to) })
}

// quietSince is that time, or the end of the last outage after it that began by then.
func (c *chaos) quietSince(at, by time.Time) time.Time {
	for _, o := range c.outages {
		if o.to.After(at) && !o.from.After(by) {
			at = o.to
		}
	}
	return at
}

// judgeEnds waits until every end has been published and the console finds all well. It returns
// when each was first published.
func (c *chaos) judgeEnds(t *testing.T, want map[string]witness.View) map[string]time.Time {
	published := map[string]time.Time{}
	var health string
	for end := time.Now().Add(healthyWithin); ; time.Sleep(500 * time.Millisecond) {
		for _, m := range c.topics.pull(t, "ended-test") {
			id, at := m.GetAttributes()["ce-id"], m.GetPublishTime().AsTime()
			if first, ok := published[id]; !ok || at.Before(first) {
				published[id] = at
			}
			var v witness.View
			err := json.Unmarshal(m.GetData(), &v)
			if err != nil || want[id].End == nil || v.End == nil || v.State != want[id].State ||
				v.End.Reason != want[id].End.Reason {
				t.Errorf("%s was published as %.500s (%v), and ended as %+v", id, m.GetData(), err, want[id])
			}
		}
		missing := slices.DeleteFunc(slices.Collect(maps.Keys(want)), func(id string) bool {
			return !published[id].IsZero()
		})
		if health = c.unwell(); health == "" && len(missing) == 0 {
			return published
		}
		if time.Now().After(end) {
			t.Errorf("%d ends were not published: %v; the console says %s", len(missing), missing, health)
			return published
		}
	}
}

// judgeSweeps wants the last sweep to find nothing, and none to have found a leak once the faults
// were long over.
func (c *chaos) judgeSweeps(t *testing.T) {
	v := &c.verdict
	v.leaked = c.sweepsClean(t).Leaked
	c.mu.Lock()
	defer c.mu.Unlock()
	var all sweepReport
	for i, text := range c.reports {
		var found sweepReport
		if err := json.Unmarshal([]byte(text), &found); err != nil {
			t.Errorf("the sweep reports %s", text)
		}
		all.Rearmed, all.Republished = all.Rearmed+found.Rearmed, all.Republished+found.Republished
		v.leakedMost = max(v.leakedMost, found.Leaked)
		if found.Leaked > 0 && c.reported[i].After(c.over.Add(settledWithin)) {
			t.Errorf("%v after the faults a sweep reports %s", c.reported[i].Sub(c.over).Round(time.Second), text)
		}
	}
	t.Logf("%d sweeps answered; they scheduled %d wake-ups anew, told %d ends, and found at most %d leaks",
		len(c.reports), all.Rearmed, all.Republished, v.leakedMost)
}
