package system_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// verdict is what came of the cases.
type verdict struct {
	runs                  int
	ends                  map[string]int // by state and reason
	unsent                int            // runs that the pipeline was never sent
	doubled, polled, lost int
	leaked, leakedMost    int             // by the last sweep, and the most that one found
	right, wrong          int             // viewers
	took                  []time.Duration // from when a run had to end until a reader saw that it had
	healed                []time.Duration // the same, from the end of the last outage in between if there was one
}

// judge compares what became of every run with what the pipeline wrote down, and wants nothing to be left.
func (c *chaos) judge(t *testing.T) {
	v := &c.verdict
	v.ends = map[string]int{}
	ends := map[string]cases.View{} // by the id of the end's event
	for _, tr := range c.trials {
		if tr.problem != "" {
			t.Errorf("%s: %s", tr.id, tr.problem)
		}
		if len(tr.runs) == 0 {
			t.Errorf("%s was not accepted", tr.id)
		}
		for _, r := range tr.runs {
			v.runs++
			seen := tr.seen[r.Run].view
			if seen.EndedAt == nil {
				v.lost++
				t.Errorf("%s run %d has not ended: %+v", r.ID, r.Run, seen)
				continue
			}
			v.ends[fmt.Sprintf("%s, %s", seen.State, seen.End.Reason)]++
			ends[endID(r)] = seen
		}
	}
	published := c.judgeEnds(t, ends)
	for _, tr := range c.trials {
		for i, r := range tr.runs {
			if seen := tr.seen[r.Run]; seen.view.EndedAt != nil {
				c.judgeRun(t, tr, r, seen, published[endID(r)], i == len(tr.runs)-1)
			}
		}
		if tr.viewer == nil {
			continue
		}
		if wrong := tr.viewer.misled(tr.seen[tr.runs[len(tr.runs)-1].Run].view); wrong != "" {
			v.wrong++
			t.Errorf("a viewer of %s %s", tr.id, wrong)
		} else {
			v.right++
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
func (c *chaos) judgeRun(t *testing.T, tr *trial, r run, seen sighting, published time.Time, last bool) {
	v, view := &c.verdict, seen.view
	posts := c.pipe.PostsOfRun(tr.id, r.Run)
	if n := len(posts) - tr.busy - 1; n > 0 {
		v.doubled += n
		t.Errorf("%s run %d was sent %d times", r.ID, r.Run, len(posts))
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
		if view.State != want || !slices.Contains(reasons, view.End.Reason) {
			t.Errorf("%s run %d is %s, %+v; by what the pipeline wrote down it is %s, %v", r.ID, r.Run, view.State, *view.End, want, reasons)
		}
		if due.IsZero() {
			due = posts[len(posts)-1].Done
		}
	case view.State == cases.Failed && view.End.Reason == cases.ReasonStartUnknown && c.startLost(view): // it is not known to whoever looks whether it was sent
	case view.End.Reason == cases.ReasonDeadline && (tr.query != "" || r.Run > 1):
		// A short deadline may pass in an outage. And a pipeline that does not know runs, asked for one that it was never sent, tells of the one before.
		due = view.DeadlineAt
	default: // no outage is as long as what ends a run that cannot be started
		t.Errorf("%s run %d is %s, %+v, and never reached the pipeline", r.ID, r.Run, view.State, *view.End)
	}
	if view.State == cases.TimedOut && view.EndedAt.Before(view.DeadlineAt) {
		t.Errorf("%s run %d timed out at %v, before its deadline %v", r.ID, r.Run, view.EndedAt, view.DeadlineAt)
	}
	if !due.IsZero() {
		v.took = append(v.took, max(0, seen.at.Sub(due)))
		v.healed = append(v.healed, max(0, seen.at.Sub(c.quietSince(due, seen.at))))
	} else {
		due = view.DeadlineAt // whatever happens
	}
	if late := seen.at.Sub(c.quietSince(due, seen.at)); late > healedWithin {
		t.Errorf("%s run %d was to end at %v, and was seen to only %v after that and the outages", r.ID, r.Run, due, late)
	}
	polls := c.record(t, r)
	if last { // the pipeline does not know runs
		// From when the end was known to be saved, and the look that was under way has come.
		known := seen.at
		if !published.IsZero() && published.Before(known) {
			known = published
		}
		after := c.pipe.PollsAfter(tr.id, known.Add(2*time.Second))
		if polls = max(polls, len(after)); len(after) > 0 {
			t.Errorf("%s was asked for %d times after its end, at %v and later", tr.id, len(after), after[0].At.Sub(*view.EndedAt))
		}
	}
	v.polled += polls
	if now, ok := c.view(r); !ok || !sameEnd(view, now) {
		t.Errorf("%s run %d ended as %+v, %+v, and is now %+v, %+v (%t)", r.ID, r.Run, view, view.End, now, now.End, ok)
	}
}

// record wants the record of a run to tell of no check that began after its end and asked the pipeline, and returns of how many it does.
func (c *chaos) record(t *testing.T, r run) int {
	var d detail
	if code := c.console(http.MethodGet, fmt.Sprintf("/%s?run=%d", r.ID, r.Run), "", &d); code != http.StatusOK || d.Case.Run != r.Run || d.Leaked != 0 {
		t.Errorf("the console says of %s run %d: %d, %d checks asked after its end", r.ID, r.Run, code, d.Leaked)
	}
	return d.Leaked
}

// sameEnd reports whether an end is still the same. A result that was missing may have been filled in, with what follows from it.
func sameEnd(before, now cases.View) bool {
	if now.End == nil || now.EndedAt == nil || now.State != before.State || now.End.Reason != before.End.Reason || now.End.Source != before.End.Source ||
		!now.EndedAt.Equal(*before.EndedAt) || now.Progress != before.Progress {
		return false
	}
	if string(before.Result) == "null" && string(now.Result) != "null" {
		return true
	}
	return *now.End == *before.End && string(now.Result) == string(before.Result) && reflect.DeepEqual(now.Documents, before.Documents) && reflect.DeepEqual(now.OutputURL, before.OutputURL)
}

// startLost reports whether the request that starts a run may have been lost: an instance of dispatch was killed while the run lasted, or connections to the
// pipeline broke, or the store did not answer for as long as dispatch tries to save its mark. A server that is out for some seconds is waited for.
func (c *chaos) startLost(v cases.View) bool {
	during := func(from, to time.Time) bool { return to.After(v.CreatedAt) && from.Before(*v.EndedAt) }
	return v.EndedAt.Sub(v.CreatedAt) > markPatience || slices.ContainsFunc(c.killed["dispatch"], func(at time.Time) bool { return during(at, at) }) ||
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

// judgeEnds waits until every end has been published and the console finds all well. It returns when each was first published.
func (c *chaos) judgeEnds(t *testing.T, want map[string]cases.View) map[string]time.Time {
	published := map[string]time.Time{}
	var health string
	for end := time.Now().Add(healthyWithin); ; time.Sleep(500 * time.Millisecond) {
		for _, m := range c.topics.pull(t, "ended-test") {
			id, at := m.GetAttributes()["ce-id"], m.GetPublishTime().AsTime()
			if first, ok := published[id]; !ok || at.Before(first) {
				published[id] = at
			}
			var v cases.View
			if err := json.Unmarshal(m.GetData(), &v); err != nil || want[id].End == nil || v.End == nil || v.State != want[id].State || v.End.Reason != want[id].End.Reason {
				t.Errorf("%s was published as %.500s (%v), and ended as %+v", id, m.GetData(), err, want[id])
			}
		}
		missing := slices.DeleteFunc(slices.Collect(maps.Keys(want)), func(id string) bool { return !published[id].IsZero() })
		if health = c.unwell(); health == "" && len(missing) == 0 {
			return published
		}
		if time.Now().After(end) {
			t.Errorf("%d ends were not published: %v; the console says %s", len(missing), missing, health)
			return published
		}
	}
}

// judgeSweeps wants the last sweep to find nothing, and none to have found a leak once the faults were long over.
func (c *chaos) judgeSweeps(t *testing.T) {
	v, last := &c.verdict, c.report()
	var found, all sweepReport
	if err := json.Unmarshal([]byte(last), &found); err != nil || found.Open+found.Overdue+found.Republished+found.Leaked != 0 {
		t.Errorf("at the end the sweep reports %s (%v)", last, err)
	}
	v.leaked = found.Leaked
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, text := range c.reports {
		found = sweepReport{}
		if err := json.Unmarshal([]byte(text), &found); err != nil {
			t.Errorf("the sweep reports %s", text)
		}
		all.Rearmed, all.Republished = all.Rearmed+found.Rearmed, all.Republished+found.Republished
		v.leakedMost = max(v.leakedMost, found.Leaked)
		if found.Leaked > 0 && c.reported[i].After(c.over.Add(settledWithin)) {
			t.Errorf("%v after the faults a sweep reports %s", c.reported[i].Sub(c.over).Round(time.Second), text)
		}
	}
	t.Logf("%d sweeps answered; they scheduled %d wake-ups anew, told %d ends, and found at most %d leaks", len(c.reports), all.Rearmed, all.Republished, v.leakedMost)
}

// sweepReport is what a sweep answers, as far as it is looked at here.
type sweepReport struct{ Open, Overdue, Rearmed, Republished, Leaked int }

// unwell is what the console finds wrong; "" if nothing.
func (s *system) unwell() string {
	to := s.routers["console"].url
	code, data := s.persist(http.MethodGet, to+"/-/health", "", "Authorization", s.tokens.bearer(operator, to), "Accept", "application/json")
	var health struct {
		Healthy                            bool
		Open, Overdue, Leaked, Unpublished int
	}
	if err := json.Unmarshal(data, &health); err != nil || code != http.StatusOK || !health.Healthy || health.Open+health.Overdue+health.Leaked+health.Unpublished != 0 {
		return fmt.Sprintf("%d %s", code, data)
	}
	return ""
}
