package system_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// viewer watches a case as a browser's EventSource does: it comes back with the id of the last event that it was shown when the connection ends, after
// the time that it was told, and stops for good at 204. One thing it does that an EventSource does not: where the router answers for an instance
// that died before it could, or because there is none, it comes back too. (https://html.spec.whatwg.org/multipage/server-sent-events.html)
type viewer struct {
	r       run
	stopped chan struct{} // closed when it has stopped

	mu       sync.Mutex
	shown    []shown
	visits   int    // connections
	broken   int    // of those, cut before the server ended them
	gone     bool   // it was answered 204
	problem  string // what made it stop otherwise, or was wrong
	last     string // the id of the last event
	lastRun  int
	lastVers int64
	pause    time.Duration
	took     time.Duration // from the run's end to its viewer, if the viewer was there; else 0
}

// shown is an event that reached a viewer.
type shown struct {
	name     string
	at       time.Time
	since    time.Time // when the connection began
	instance string    // of status
	progress
}

// progress is what the events hold that is looked at here.
type progress struct {
	JobID   string       `json:"jobId"`
	CaseID  string       `json:"case_id"`
	Run     int          `json:"run"`
	Current int          `json:"current"`
	Percent float64      `json:"percent"`
	State   cases.State  `json:"state"`
	Code    cases.Reason `json:"code"`
}

func (e shown) end() bool { return e.name != "progress" }

// streaming has no time limit: a stream ends by itself.
var streaming = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

// watch sends a viewer to the case of a run, for at most two minutes.
func (s *system) watch(r run) *viewer { return s.watchUntil(r, time.Now().Add(2*time.Minute)) }

func (s *system) watchUntil(r run, until time.Time) *viewer {
	v := &viewer{r: r, stopped: make(chan struct{}), pause: 3 * time.Second} // what browsers take unless they are told
	s.mu.Lock()
	s.viewers = append(s.viewers, v)
	s.mu.Unlock()
	ctx, cancel := context.WithDeadline(context.Background(), until)
	go func() {
		defer close(v.stopped)
		v.watch(ctx)
	}()
	s.t.Cleanup(func() { cancel(); <-v.stopped })
	return v
}

func (v *viewer) watch(ctx context.Context) {
	for v.visit(ctx) {
		select {
		case <-time.After(v.pause):
		case <-ctx.Done():
			v.wrong("it was not told to stop in time")
			return
		}
	}
}

// wrong notes what is wrong, and is false: it is no reason to come back.
func (v *viewer) wrong(format string, args ...any) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.problem == "" {
		v.problem = fmt.Sprintf(format, args...)
	}
	return false
}

// visit holds one connection. It reports whether to come back.
func (v *viewer) visit(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.r.StatusURL, http.NoBody)
	if err != nil {
		return v.wrong("%v", err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-store")
	if v.last != "" {
		req.Header.Set("Last-Event-ID", v.last)
	}
	v.mu.Lock()
	v.visits++
	v.mu.Unlock()
	began := time.Now()
	res, err := streaming.Do(req)
	if err != nil {
		return ctx.Err() == nil || v.wrong("it was not told to stop in time")
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusNoContent:
		v.mu.Lock()
		v.gone = true
		v.mu.Unlock()
		return false
	case res.StatusCode >= http.StatusInternalServerError && res.Header.Get("X-Instance") == "": // by the router
		return true
	case res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream":
		body, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return v.wrong("it is answered %s, %s: %s", res.Status, res.Header.Get("Content-Type"), body)
	}
	return v.read(res.Body, shown{since: began, instance: res.Header.Get("X-Instance")})
}

// read takes the events of one connection.
func (v *viewer) read(body io.Reader, e shown) bool {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 4<<20)
	var data, id string
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if data != "" && !v.take(e, data, id) {
				return false
			}
			e.name, data = "", ""
		case field == "event":
			e.name = value
		case field == "data":
			data += value
		case field == "id":
			id = value
		case field == "retry":
			ms, err := strconv.Atoi(value)
			if err != nil {
				return v.wrong("retry: %s", value)
			}
			v.pause = time.Duration(ms) * time.Millisecond
		}
	}
	if lines.Err() != nil { // without an end of its own: the instance died
		v.mu.Lock()
		v.broken++
		v.mu.Unlock()
	}
	return true
}

// take takes an event, which has to be newer than the last, in a run that goes nowhere but forward.
func (v *viewer) take(e shown, data, id string) bool {
	e.at = time.Now()
	if err := json.Unmarshal([]byte(data), &e.progress); err != nil {
		return v.wrong("%s: %v: %.200s", e.name, err, data)
	}
	if !slices.Contains([]string{"progress", "complete", "error"}, e.name) || e.JobID != v.r.ID || e.CaseID != v.r.ID {
		return v.wrong("it is shown %s %.200s", e.name, data)
	}
	before, after, _ := strings.Cut(id, ".")
	run, err := strconv.Atoi(before)
	version, err2 := strconv.ParseInt(after, 10, 64)
	if err != nil || err2 != nil || run != e.Run {
		return v.wrong("run %d is shown as %q", e.Run, id)
	}
	if run < v.lastRun || run == v.lastRun && version <= v.lastVers {
		return v.wrong("it is shown %s after %s", id, v.last)
	}
	v.last, v.lastRun, v.lastVers = id, run, version
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := len(v.shown); n > 0 && v.shown[n-1].Run == e.Run {
		was := v.shown[n-1]
		if was.end() {
			v.problem = fmt.Sprintf("run %d is shown %s after its end", e.Run, e.name)
		}
		if !e.end() && (e.Current < was.Current || e.Percent < was.Percent) {
			v.problem = fmt.Sprintf("run %d goes back from %d, %v %% to %d, %v %%", e.Run, was.Current, was.Percent, e.Current, e.Percent)
		}
	}
	v.shown = append(v.shown, e)
	return v.problem == ""
}

// of returns what was shown of a run.
func (v *viewer) of(run int) []shown {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(v.shown), func(e shown) bool { return e.Run != run })
}

// until waits until the condition holds.
func (v *viewer) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("a viewer of %s: %s: not in time", v.r.ID, what)
			return
		}
	}
}

// sawTheEnd wants the viewer to have seen the end of the run.
func (v *viewer) sawTheEnd(t *testing.T, want cases.View) {
	t.Helper()
	if wrong := v.misled(want); wrong != "" {
		t.Errorf("a viewer of %s %s", v.r.ID, wrong)
	}
}

// misled waits until the viewer has stopped, and says what it was shown otherwise than exactly one end, that of the run as it is seen otherwise; "" if nothing.
func (v *viewer) misled(want cases.View) string {
	<-v.stopped // which is bounded
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.problem != "" || !v.gone {
		return fmt.Sprintf("says: %s; told to stop: %t; shown %+v", v.problem, v.gone, v.shown)
	}
	ends := slices.DeleteFunc(slices.Clone(v.shown), func(e shown) bool { return !e.end() })
	if len(ends) != 1 || ends[0].Run != want.Run {
		return fmt.Sprintf("was shown the ends %+v, want that of run %d", ends, want.Run)
	}
	if want.EndedAt != nil && ends[0].since.Before(*want.EndedAt) {
		v.took = ends[0].at.Sub(*want.EndedAt)
	}
	switch e := ends[0]; {
	case want.EndedAt == nil,
		want.State == cases.Succeeded && e.name != "complete",
		want.State != cases.Succeeded && (e.name != "error" || e.State != want.State || e.Code != want.End.Reason):
		return fmt.Sprintf("was shown %+v, and it is %s, %+v", e, want.State, want.End)
	}
	return ""
}

// viewersCome waits until so many viewers were shown something.
func (s *system) viewersCome(want int) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		n := 0
		s.mu.Lock()
		for _, v := range s.viewers {
			v.mu.Lock()
			n += min(1, len(v.shown))
			v.mu.Unlock()
		}
		s.mu.Unlock()
		if n >= want {
			return
		}
	}
	s.giveUp("fewer than %d viewers were shown anything", want)
}

// crowd has viewers at two instances of status when an end is made. Of the other cases the last viewers may all be at one, after the deaths.
func (s *system) crowd(t *testing.T) {
	s.pipe.Script("crowd", pipelinetest.Async(4))
	r := s.begin(`{"case_id":"crowd"}`, "")
	var viewers []*viewer
	at := map[string]bool{}
	for len(at) < 2 && len(viewers) < 20 {
		v := s.watch(r)
		v.until(t, "it is shown the case", func() bool { return len(v.of(1)) > 0 })
		for _, e := range v.of(1) {
			at[e.instance] = true
		}
		viewers = append(viewers, v)
	}
	if code, body := s.persist(http.MethodPost, r.CancelURL, ""); code != http.StatusOK {
		t.Errorf("cancel: %d %s", code, body)
	}
	end := s.until(r, "it is cancelled", func(v cases.View) bool { return v.State.Ended() })
	for _, v := range viewers {
		v.sawTheEnd(t, end)
	}
}

// watched wants ends to have reached viewers who were there when they were made, at more than one instance of status, and none of those makes
// one; and instances to have died while they watched. It says what the viewers went through.
func (s *system) watched(t *testing.T) string {
	var events, visits, broken int
	var took []time.Duration
	at := map[string]bool{}
	for _, v := range s.viewers {
		v.mu.Lock()
		events, visits, broken = events+len(v.shown), visits+v.visits, broken+v.broken
		if v.took > 0 {
			took = append(took, v.took)
			at[v.shown[len(v.shown)-1].instance] = true
		}
		v.mu.Unlock()
	}
	slices.Sort(took)
	if len(at) < 2 || broken == 0 {
		t.Errorf("viewers were shown an end when it was made at %d instances, want 2 or more; %d connections broke, want some", len(at), broken)
		return ""
	}
	return fmt.Sprintf("%d viewers were shown %d events over %d connections, %d of which broke; %d of them at %d instances were there when the end came, and saw it within %v, the median %v",
		len(s.viewers), events, visits, broken, len(took), len(at), took[len(took)-1].Round(time.Millisecond), took[len(took)/2].Round(time.Millisecond))
}
