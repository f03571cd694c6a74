package system_test

import (
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// story is what happens to one run, and how it has to end.
type story struct {
	name   string
	posts  []pipelinetest.Reaction // how the pipeline answers
	form   string                  // more of the form
	query  string                  // of start
	then   func(s *system, r run)  // what happens while it runs
	state  cases.State
	reason cases.Reason
	source cases.Source
	posted int // how often the pipeline was sent it; 1 if zero
	check  func(t *testing.T, v cases.View)
}

func during(do func(s *system, r run)) func(*system, run) {
	return func(s *system, r run) {
		s.until(r, "it runs", running)
		do(s, r)
	}
}

const unicodeResult = `{"success":true,"webhook_summary":{"total_sets":1,"succeeded":1,"failed":0},"note":"\u0000 ` +
	`☃ 𝄞 \ud800","n":1.50}`

var stories = []story{
	{name: "answers", posts: []pipelinetest.Reaction{pipelinetest.Work(4, 1, 100*time.Millisecond)},
		state: cases.Succeeded, reason: cases.ReasonCompleted, source: cases.SourceDispatch,
		check: func(t *testing.T, v cases.View) {
			if v.Documents == nil || !reflect.DeepEqual(v.Documents, &cases.Documents{
				Total: new(4), Succeeded: new(3), Failed: new(1),
			}) {
				t.Errorf("%+v", v.Documents)
			}
		}},
	{name: "publishes", posts: []pipelinetest.Reaction{pipelinetest.Async(4)},
		then: during(func(s *system, r run) {
			s.pipe.SetProgress(r.ID, 2, 4, "two.docx")
			s.until(r, "progress is shown", func(v cases.View) bool { return v.Progress.Completed == 2 })
			s.pipe.Finish(r.ID, pipelinetest.Result(r.ID, 4, 0))
		}),
		state: cases.Succeeded, reason: cases.ReasonCompleted, source: cases.SourceEvent},
	{name: "says-nothing", posts: []pipelinetest.Reaction{pipelinetest.Async(4)},
		then:  during(func(s *system, r run) { s.pipe.SetProgress(r.ID, 4, 4, "last.docx") }),
		state: cases.Succeeded, reason: cases.ReasonCompleted, source: cases.SourceCheck},
	{name: "status-failed", posts: []pipelinetest.Reaction{pipelinetest.Async(4)},
		then:  during(func(s *system, r run) { s.pipe.SetStatus(r.ID, "failed", "out of paper", nil) }),
		state: cases.Failed, reason: cases.ReasonPipelineFailed, source: cases.SourceCheck},
	{name: "publishes-failure", posts: []pipelinetest.Reaction{pipelinetest.Async(4)},
		then:  during(func(s *system, r run) { s.pipe.Fail(r.ID, "out of ink") }),
		state: cases.Failed, reason: cases.ReasonPipelineFailed, source: cases.SourceEvent,
		check: func(t *testing.T, v cases.View) {
			if !strings.Contains(v.End.Message, "out of ink") {
				t.Errorf("%+v", v.End)
			}
		}},
	{name: "refuses", posts: []pipelinetest.Reaction{pipelinetest.RefuseDetail(422, "no such form")},
		state: cases.Failed, reason: cases.ReasonPipelineRefused, source: cases.SourceDispatch},
	{name: "own-word", posts: []pipelinetest.Reaction{pipelinetest.Failed(500, "jammed")},
		state: cases.Failed, reason: cases.ReasonPipelineFailed, source: cases.SourceDispatch},
	{name: "no-documents", posts: []pipelinetest.Reaction{
		pipelinetest.Answer(200, `{"success":true,"webhook_summary":{"total_sets":3,"succeeded":0,"failed":3}}`),
	},
		state: cases.Failed, reason: cases.ReasonNoDocuments, source: cases.SourceDispatch},
	{name: "busy-first", posts: []pipelinetest.Reaction{pipelinetest.Busy(503, "1"), pipelinetest.Busy(429, ""),
		pipelinetest.Work(2, 0, 50*time.Millisecond)},
		state: cases.Succeeded, reason: cases.ReasonCompleted, source: cases.SourceDispatch, posted: 3},
	{name: "resets", posts: []pipelinetest.Reaction{pipelinetest.Reset(false, 0)},
		state: cases.Failed, reason: cases.ReasonStartUnknown, source: cases.SourceCheck},
	{name: "takes-and-resets", query: "?deadline=8s", posts: []pipelinetest.Reaction{pipelinetest.Reset(true, 4)},
		state: cases.TimedOut, reason: cases.ReasonDeadline},
	{name: "hangs", query: "?deadline=8s", posts: []pipelinetest.Reaction{pipelinetest.Hang(true, 4)},
		state: cases.TimedOut, reason: cases.ReasonDeadline},
	{name: "forgets", posts: []pipelinetest.Reaction{pipelinetest.Async(4)},
		then: during(func(s *system, r run) {
			s.until(r, "it was looked at", func(v cases.View) bool { return v.Checks.Count > 0 })
			s.pipe.Forget(r.ID)
		}),
		state: cases.Failed, reason: cases.ReasonPipelineLost, source: cases.SourceCheck},
	{name: "cancelled", posts: []pipelinetest.Reaction{pipelinetest.Async(4)},
		then: during(func(s *system, r run) {
			if code, body := s.persist(http.MethodPost, r.CancelURL, ""); code != http.StatusOK {
				s.t.Errorf("cancel: %d %s", code, body)
			}
		}),
		state: cases.Cancelled, reason: cases.ReasonCancelled, source: cases.SourceCancel},
	{name: "unicode", posts: []pipelinetest.Reaction{pipelinetest.Answer(200, unicodeResult)},
		state: cases.Succeeded, reason: cases.ReasonCompleted, source: cases.SourceDispatch,
		check: func(t *testing.T, v cases.View) {
			if string(v.Result) != unicodeResult {
				t.Errorf("the result is %s", v.Result)
			}
		}},
	{name: "large", form: `,"padding":"` + strings.Repeat("x", 800<<10) + `"`,
		posts: []pipelinetest.Reaction{
			pipelinetest.Answer(200, `{"success":true,"output_url":"https://files.example/1",`+
				`"webhook_summary":{"total_sets":2,"succeeded":2,"failed":0},`+
				`"log":"`+strings.Repeat("y", 600<<10)+`"}`),
		},
		state: cases.Succeeded, reason: cases.ReasonCompleted, source: cases.SourceDispatch,
		check: func(t *testing.T, v cases.View) {
			if string(v.Result) != "null" || v.Documents == nil || *v.Documents.Total != 2 || v.OutputURL == nil {
				t.Errorf("%.100s %+v", v.Result, v.Documents)
			}
		}},
}

// tell takes one story through.
func (s *system) tell(t *testing.T, st story) {
	s.pipe.Script(st.name, st.posts...)
	r := s.begin(`{"case_id":"`+st.name+`"`+st.form+`}`, st.query)
	s.watch(r)
	if st.then != nil {
		st.then(s, r)
	}
	v := s.until(r, "it ends", ended)
	if v.State != st.state || v.End.Reason != st.reason || st.source != "" && v.End.Source != st.source {
		t.Errorf("%s is %s, %+v; want %s, %s by %s", st.name, v.State, *v.End, st.state, st.reason, st.source)
	}
	if st.check != nil {
		st.check(t, v)
	}
	if got, want := len(s.pipe.Posts(st.name)), max(1, st.posted); got != want {
		t.Errorf("%s was sent %d times, want %d", st.name, got, want)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = append(s.over, end{r, v})
}

// again takes a case through a rerun and a supersede: run 1 fails, 2 is superseded by 3. Who
// watches run 2 goes on with 3.
func (s *system) again(t *testing.T) {
	s.pipe.Script("again", pipelinetest.Failed(500, "jammed"))
	first := s.begin(`{"case_id":"again"}`, "")
	w := s.watch(first)
	s.until(first, "it fails", ended)
	s.pipe.Script("again", pipelinetest.Async(4))
	second := s.begin(`{"case_id":"again"}`, "")
	s.until(second, "it runs", running)
	s.comes(w, 2)
	s.pipe.Script("again", pipelinetest.Work(3, 0, 50*time.Millisecond))
	third := s.begin(`{"case_id":"again"}`, "?supersede=true")
	if v := s.until(third, "it ends", ended); third.Run != 3 || v.State != cases.Succeeded {
		t.Errorf("run %d is %s", third.Run, v.State)
	}
	if v := s.until(second, "it is superseded", ended); v.State != cases.Cancelled ||
		v.End.Reason != cases.ReasonSuperseded {
		t.Errorf("run 2 is %s, %+v", v.State, v.End)
	}
	s.topics.publish(t, "pipeline-events", []byte(`{"case_id":"again","run":2,"status":"succeeded"}`))
	s.until(second, "the late word is kept", func(v cases.View) bool {
		return v.Late != nil && v.State == cases.Cancelled
	})
	for n := 1; n <= 3; n++ {
		if got := len(s.pipe.PostsOfRun("again", n)); got != 1 {
			t.Errorf("run %d was sent %d times", n, got)
		}
	}
}

// everyKind takes cases of every kind through, while instances die, and then looks at what is left.
func (s *system) everyKind(t *testing.T) {
	began := time.Now()
	var telling sync.WaitGroup
	for _, st := range stories {
		telling.Go(func() { s.tell(t, st) })
	}
	telling.Go(func() { s.again(t) })
	telling.Go(func() { s.operate(t) })
	telling.Go(func() {
		for _, function := range []string{"check", "complete", "start", "cancel", "sweep", "console"} {
			s.lose(function)
		}
		s.viewersCome(6)
		for range instances { // and so every stream that is open
			s.lose("status")
		}
	})
	invalid := []string{`{`, `{"case_id":"nobody","status":"done"}`}
	for _, bad := range invalid {
		s.topics.publish(t, "pipeline-events", []byte(bad))
	}
	telling.Wait()
	s.crowd(t)
	t.Logf("%d cases ended in %v", len(stories)+4, time.Since(began).Round(time.Millisecond))

	for _, e := range s.over { // now that no instance dies any more
		s.bothInstances(e.run, e.view)
	}
	s.strangers(t)
	s.keepPromises(t)
	t.Log(s.watched(t))
	s.toldOfEveryEnd(t)
	forwarded := map[string]int{} // an instance that dies may have forwarded one without having said so
	for _, m := range s.topics.pull(t, "dead-letter-test") {
		forwarded[string(m.GetData())]++
	}
	for _, bad := range invalid {
		if forwarded[bad] == 0 {
			t.Errorf("%s was not forwarded as invalid", bad)
		}
	}
	if len(forwarded) != len(invalid) {
		t.Errorf("forwarded as invalid: %v", forwarded)
	}
	s.sweepsClean(t)
	s.healthy(t)
	for name, r := range s.routers {
		if name == "cancel" || name == "callback" { // called once, and never by a pipeline of documents
			continue
		}
		if n := r.asked(); n < instances {
			t.Errorf("%d instances of %s were asked, not %d", n, name, instances)
		}
	}
	for line := range strings.Lines(s.log()) {
		if strings.Contains(line, `"severity":"ERROR"`) || strings.Contains(line, "panic") {
			t.Errorf("an instance says: %s", line)
		}
		if strings.Contains(line, "xxxxxxxxxxxxxxxx") {
			t.Error("a form is in the log")
		}
	}
}

// toldOfEveryEnd wants an event for each run, and all events of a run to be one.
func (s *system) toldOfEveryEnd(t *testing.T) {
	want := map[string]bool{"again:1:ended": true, "again:2:ended": true, "again:3:ended": true, "crowd:1:ended": true,
		"operated:1:ended": true, "rerun:1:ended": true, "rerun:2:ended": true}
	for _, st := range stories {
		want[st.name+":1:ended"] = true
	}
	seen := map[string]int{}
	for _, m := range s.topics.pull(t, "ended-test") {
		id := m.GetAttributes()["ce-id"]
		seen[id]++
		if !want[id] {
			t.Errorf("an end was published as %q", id)
		}
	}
	for id := range want {
		if seen[id] == 0 {
			t.Errorf("%s was not published", id)
		}
	}
}
