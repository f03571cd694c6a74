package system_test

import (
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

	"github.com/casewatch/casewatch/shared/cases"
)

// verdict is what came of the cases.
type verdict struct {
	runs                          int
	ends                          map[cases.State]int
	doubled, polled, lost, leaked int
	took                          []time.Duration // from when a run had to end until a reader saw that it had
	healed                        []time.Duration // the same, from the end of the last outage in between if there was one
}

// judge compares what became of every run with what the pipeline wrote down, and wants nothing to be left.
func (c *chaos) judge(t *testing.T) {
	v := &c.verdict
	v.ends = map[cases.State]int{}
	states := map[string]cases.State{} // by the id of the end's event
	for _, tr := range c.trials {
		if tr.problem != "" {
			t.Errorf("%s: %s", tr.id, tr.problem)
		}
		if len(tr.runs) == 0 {
			t.Errorf("%s was not accepted", tr.id)
		}
		for i, r := range tr.runs {
			v.runs++
			seen := tr.seen[r.Run]
			if seen.view.EndedAt == nil {
				v.lost++
				t.Errorf("%s run %d has not ended: %+v", r.ID, r.Run, seen.view)
				continue
			}
			v.ends[seen.view.State]++
			states[fmt.Sprintf("%s:%d:ended", r.ID, r.Run)] = seen.view.State
			c.judgeRun(t, tr, r, seen, i == len(tr.runs)-1)
		}
	}
	c.judgeEnds(t, states)
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

// keep keeps what the processes said, for whoever looks for the reason.
func (c *chaos) keep(t *testing.T, log string) {
	file := filepath.Join(os.TempDir(), "casewatch-chaos-"+c.store+".log")
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Error(err)
		return
	}
	t.Logf("what the processes said is in %s", file)
}

// judgeRun judges a run that ended.
func (c *chaos) judgeRun(t *testing.T, tr *trial, r run, seen sighting, last bool) {
	v, view := &c.verdict, seen.view
	posts := c.pipe.PostsOfRun(tr.id, r.Run)
	if n := len(posts) - tr.busy - 1; n > 0 {
		v.doubled += n
		t.Errorf("%s run %d was sent %d times", r.ID, r.Run, len(posts))
	}
	due := tr.due[r.Run]
	switch {
	case len(posts) > tr.busy: // the pipeline has the last word
		want := tr.state
		if !last {
			want = cases.Cancelled
		}
		if view.State != want {
			t.Errorf("%s run %d is %s, %+v; by what the pipeline wrote down it is %s", r.ID, r.Run, view.State, *view.End, want)
		}
		if due.IsZero() {
			due = posts[len(posts)-1].Done
		}
	case slices.Contains([]cases.Reason{cases.ReasonStartUnknown, cases.ReasonPipelineUnreachable}, view.End.Reason):
	case view.End.Reason == cases.ReasonDeadline && (tr.query != "" || r.Run > 1):
		// A short deadline may pass in an outage. And a pipeline that does not know runs, asked for one that it was never sent, tells of the one before.
	default:
		t.Errorf("%s run %d is %s, %+v, and never reached the pipeline", r.ID, r.Run, view.State, *view.End)
	}
	if !due.IsZero() {
		v.took = append(v.took, max(0, seen.at.Sub(due)))
		v.healed = append(v.healed, max(0, seen.at.Sub(c.quietSince(due, seen.at))))
	}
	if last { // the pipeline does not know runs
		// From when a reader saw the end, and the look that was under way has come: until then it may have been about to be saved.
		if polls := c.pipe.PollsAfter(tr.id, seen.at.Add(2*time.Second)); len(polls) > 0 {
			v.polled += len(polls)
			t.Errorf("%s was asked for %d times after its end, at %v and later", tr.id, len(polls), polls[0].At.Sub(*view.EndedAt))
		}
	}
	// A result that comes later, and agrees with the end, is filled in; then the end's message no longer says that it is missing.
	if now, ok := c.view(r); !ok || now.State != view.State || now.End == nil || now.End.Reason != view.End.Reason || now.End.Source != view.End.Source || now.Progress != view.Progress {
		t.Errorf("%s run %d ended as %s, %+v, %+v, and is now %s, %+v, %+v (%t)", r.ID, r.Run, view.State, *view.End, view.Progress, now.State, now.End, now.Progress, ok)
	}
}

// quietSince is that time, or the end of the last outage after it that began by then.
func (c *chaos) quietSince(at, by time.Time) time.Time {
	for _, o := range c.outages { // in the order of time
		if o.to.After(at) && !o.from.After(by) {
			at = o.to
		}
	}
	return at
}

// judgeEnds waits until every end has been published, the sweep has nothing to do and the console finds all well; and wants no sweep to have found
// a leak once the faults were over.
func (c *chaos) judgeEnds(t *testing.T, want map[string]cases.State) {
	published := map[string]int{}
	var health string
	for end := time.Now().Add(healthyWithin); ; {
		for _, m := range c.topics.pull(t, "ended-test") {
			id := m.GetAttributes()["ce-id"]
			published[id]++
			var v cases.View
			if err := json.Unmarshal(m.GetData(), &v); err != nil || want[id] != v.State {
				t.Errorf("%s was published as %s, and ended as %q (%v)", id, v.State, want[id], err)
			}
		}
		missing := slices.DeleteFunc(slices.Collect(maps.Keys(want)), func(id string) bool { return published[id] > 0 })
		if health = c.unwell(); health == "" && len(missing) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("%d ends were not published: %v; the console says %s", len(missing), missing, health)
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	last := c.report()
	var found, all sweepReport
	if err := json.Unmarshal([]byte(last), &found); err != nil || found.Open+found.Overdue+found.Republished+found.Leaked != 0 {
		t.Errorf("at the end the sweep reports %s (%v)", last, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	meanwhile := 0
	for i, text := range c.reports {
		found = sweepReport{}
		if err := json.Unmarshal([]byte(text), &found); err != nil {
			t.Errorf("the sweep reports %s", text)
		}
		all.Rearmed, all.Republished = all.Rearmed+found.Rearmed, all.Republished+found.Republished
		if c.reported[i].After(c.over.Add(settledWithin)) {
			c.verdict.leaked += found.Leaked
		} else {
			meanwhile += found.Leaked
		}
	}
	if c.verdict.leaked != 0 {
		t.Errorf("sweeps found %d leaks after the faults", c.verdict.leaked)
	}
	// A check whose deliveries fail, since the servers that it needs are down, is pending long after its run has ended: the sweep counts it.
	t.Logf("%d sweeps answered; they scheduled %d wake-ups anew, told %d ends, and found %d checks of ended runs whose deliveries had failed", len(c.reports), all.Rearmed, all.Republished, meanwhile)
}

// sweepReport is what a sweep answers, as far as it is looked at here.
type sweepReport struct{ Open, Overdue, Rearmed, Republished, Leaked int }

// unwell is what the console finds wrong; "" if nothing.
func (s *system) unwell() string {
	to := s.routers["console"].url
	code, data := s.persist(http.MethodGet, to+"/-/health", "", "Authorization", "Bearer "+s.issuer.Sign(operator, to), "Accept", "application/json")
	var health struct {
		Healthy                            bool
		Open, Overdue, Leaked, Unpublished int
	}
	if err := json.Unmarshal(data, &health); err != nil || code != http.StatusOK || !health.Healthy || health.Open+health.Overdue+health.Leaked+health.Unpublished != 0 {
		return fmt.Sprintf("%d %s", code, data)
	}
	return ""
}
