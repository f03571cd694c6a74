package status_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/casetoken"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

const asStream = "Accept: text/event-stream"

// block is a part of a stream before an empty line or before its end.
type block struct {
	comment, retry, event, id, data string
	cut                             bool // the stream ended before an empty line
}

// closing is the last block of a stream that tells its viewer to reconnect later.
var closing = block{retry: "5000", cut: true}

// viewer reads a stream while it arrives.
type viewer struct {
	t      testing.TB
	header http.Header
	status int
	blocks chan block // closed at the end
	leave  func()
	retry  string // the value that the next block with data must have
}

// view opens a stream. The viewer leaves at the end of the test at the latest.
func view(t testing.TB, url string, header ...string) *viewer {
	t.Helper()
	return viewWith(t, http.DefaultClient, url, header...)
}

func viewWith(t testing.TB, client *http.Client, url string, header ...string) *viewer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	for _, line := range append(header, key, asStream) {
		name, value, _ := strings.Cut(line, ": ")
		if req.Header.Get(name) == "" {
			req.Header.Set(name, value)
		}
	}
	res, err := client.Do(req)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	v := &viewer{t: t, header: res.Header, status: res.StatusCode, blocks: make(chan block, 100)}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(v.blocks)
		defer res.Body.Close()
		lines := bufio.NewReaderSize(res.Body, 2<<20)
		var b block
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				if b.cut = true; b != (block{cut: true}) {
					v.blocks <- b
				}
				return
			}
			field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			value = strings.TrimPrefix(value, " ")
			switch {
			case line == "\n":
				if b.data == "" { // libraries deliver such a block as an empty message
					v.t.Errorf("a block without data: %+v", b)
				}
				v.blocks <- b
				b = block{}
			case field == "":
				b.comment = ":" + value
			case field == "retry":
				b.retry = value
			case field == "event":
				b.event = value
			case field == "id":
				b.id = value
			case field == "data":
				b.data += value + "\n"
			default:
				v.t.Errorf("not a valid line of a stream: %q", line)
			}
		}
	})
	v.leave = func() { cancel(); reading.Wait() }
	t.Cleanup(v.leave)
	return v
}

// next returns the next block. The test fails if none arrives.
func (v *viewer) next() block {
	v.t.Helper()
	select {
	case b, ok := <-v.blocks:
		if !ok {
			v.t.Fatal("the stream has ended")
		}
		b.data = strings.TrimSuffix(b.data, "\n")
		if b.data != "" {
			if b.retry != v.retry {
				v.t.Errorf("retry is %q in %+v, want %q", b.retry, b, v.retry)
			}
			b.retry, v.retry = "", ""
		}
		return b
	case <-time.After(enough):
		v.t.Fatalf("nothing arrived within %v", enough)
	}
	return block{}
}

// begins checks the header of a stream.
func (v *viewer) begins() {
	v.t.Helper()
	h := v.header
	if v.status != 200 || h.Get("Content-Type") != "text/event-stream" ||
		h.Get("Cache-Control") != "no-cache, no-transform" ||
		h.Get("X-Accel-Buffering") != "no" ||
		h.Get("Content-Encoding") != "" ||
		!slices.Contains(h.Values("Vary"), "Accept") {
		v.t.Fatalf("%d %v", v.status, h)
	}
	v.retry = "2000"
}

// shows checks the next event. fields are the JSON fields besides those that every event has.
func (v *viewer) shows(event, id, fields string) {
	v.t.Helper()
	b := v.next()
	run, _, _ := strings.Cut(id, ".")
	want := decode(v.t, fmt.Sprintf(`{"jobId":"c","case_id":"c","run":%s,%s}`, run, fields))
	got := decode(v.t, b.data)
	if eta, ok := got["eta_seconds"].(float64); ok && eta >= 0 {
		got["eta_seconds"] = "some" // the estimate depends on the time
	}
	if b.event != event || b.id != id || b.cut ||
		!maps.EqualFunc(got, want, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		v.t.Errorf("got %+v\nwant %s %s %v", b, event, id, want)
	}
}

// closes checks that the stream tells its viewer to reconnect later. One that waited may have been
// kept alive before.
func (v *viewer) closes() {
	v.t.Helper()
	b := v.next()
	b.comment = ""
	if b != closing {
		v.t.Errorf("got %+v, want %+v", b, closing)
	}
}

// ends checks that the stream ends without another block.
func (v *viewer) ends() {
	v.t.Helper()
	select {
	case b, ok := <-v.blocks:
		if ok {
			v.t.Errorf("got %+v, want the end of the stream", b)
		}
	case <-time.After(enough):
		v.t.Errorf("the stream did not end within %v", enough)
	}
}

func decode(t testing.TB, data string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return v
}

const pending = `"current":0,"total":0,"message":"waiting for the pipeline to begin",` +
	`"percent":0,"progress":0,"state":"pending","eta_seconds":null,"stalled":false`

// released waits until every call of Wait has returned.
func released(t testing.TB, b *functiontest.Bench) {
	t.Helper()
	until(t, "all waits have ended", func() bool { now, _ := b.Store.Waits(); return now == 0 })
}

func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(enough); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen within %v: %s", enough, what)
		}
	}
}

// leased waits until the record shows that the run has a viewer. The viewers renew that after 15 s
// at the earliest.
func leased(t testing.TB, b *functiontest.Bench, run int) {
	t.Helper()
	until(t, "the run has a lease of viewers", func() bool { return !b.Case("c", run).Viewers.Lease.Until.IsZero() })
}

// A viewer sees a run from its beginning to its end. Afterwards a client that reconnects gets 204
// each time.
func TestStream(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	v := view(t, u+"/c")
	v.begins()
	v.shows("progress", "1.1", pending)
	b.Event("m1", `{"case_id":"c","run":1,"status":"running"}`)
	v.shows("progress", "1.2", `"current":0,"total":0,"message":"the pipeline is working",`+
		`"percent":0,"progress":0,"state":"running","eta_seconds":null,"stalled":false`)
	leased(t, b, 1) // makes version 1.3, which has no event
	b.Event("m2", `{"case_id":"c","run":1,"status":"running",`+
		`"progress":{"completed":1,"total":4,"current_doc":"Ann vs. Bob & Co\n <srogs>"}}`)
	v.shows("progress", "1.4", `"current":1,"total":4,"message":"Ann vs. Bob & Co <srogs>",`+
		`"percent":25,"progress":25,"state":"running","eta_seconds":"some","stalled":false`)
	b.Event("m3", `{"case_id":"c","run":1,"status":"running","progress":{"completed":2,"total":4}}`)
	v.shows("progress", "1.5", `"current":2,"total":4,"message":"2 of 4 documents are done",`+
		`"percent":50,"progress":50,"state":"running","eta_seconds":"some","stalled":false`)
	result := `{"webhook_summary":{"total_sets":4,"succeeded":3,"failed":1},` +
		`"output_url":"https://docs.example/?a=1&b=2","n":12345678901234567890}`
	b.Event("m4", `{"case_id":"c","run":1,"status":"succeeded","result":`+result+`}`)
	id := fmt.Sprintf("1.%d", b.Case("c", 1).Outcome.EndVersion)
	v.shows("complete", id, `"total":4,"outputUrl":"https://docs.example/?a=1&b=2",`+
		`"documents":{"total":4,"succeeded":3,"failed":1},"result":`+result)
	v.ends()
	// Later versions of the record do not change the id of the end.
	if c := b.Case("c", 1); c.Version <= c.Outcome.EndVersion {
		t.Errorf("version %d, ended at %d", c.Version, c.Outcome.EndVersion)
	}
	for range 3 {
		a := b.Do("GET", u+"/c", "", key, asStream, "Last-Event-ID: "+id)
		if a.Status != http.StatusNoContent || a.Body != "" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	late := view(t, u+"/c")
	late.begins()
	if e := late.next(); e.event != "complete" || e.id != id || !strings.Contains(e.data, result) {
		t.Errorf("%+v", e)
	}
	late.ends()
	if len(b.Pipe.Jobs()) != 0 {
		t.Error("status sent a request to the pipeline")
	}
	released(t, b)
}

// The fields of a progress event have a fixed order, which readers of raw events see.
func TestProgressFields(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	b.Event("m", `{"case_id":"c","run":1,"status":"running","progress":{"completed":1,"total":3}}`)
	v := view(t, u+"/c")
	v.begins()
	got := v.next().data
	want := `{"jobId":"c","case_id":"c","run":1,"current":1,"total":3,"message":"1 of 3 documents are done",` +
		`"percent":33.3,"progress":33.3,"state":"running","eta_seconds":`
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, `,"stalled":false}`) {
		t.Errorf("got %s\nwant %s… stalled", got, want)
	}
}

// update changes the record of a run without the rules, as a change that has an event.
func update(b *functiontest.Bench, caseID string, run int, change func(c *cases.Case)) cases.Case {
	b.T.Helper()
	c := b.Case(caseID, run)
	change(&c)
	c.Version++
	c.Viewers.Shown.Version = c.Version
	if err := b.Store.Update(context.Background(), store.Write{Case: c}); err != nil {
		b.T.Fatal(err)
	}
	return c
}

// Every end but a success is an error event with its code and a message.
func TestErrorEvents(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	for _, test := range []struct {
		state         cases.State
		reason        cases.Reason
		message, want string
	}{
		{cases.Failed, cases.ReasonPipelineFailed, "template \"x\" is missing", "template \"x\" is missing"},
		{cases.Failed, cases.ReasonPipelineFailed, "", "the pipeline could not make the documents"},
		{cases.Failed, cases.ReasonPipelineRefused, "", "the pipeline did not accept the form"},
		{cases.Failed, cases.ReasonPipelineUnreachable, "", "the pipeline could not be reached"},
		{cases.Failed, cases.ReasonPipelineLost, "", "the pipeline no longer knows of the case"},
		{cases.Failed, cases.ReasonNoDocuments, "", "no document could be made"},
		{cases.Failed, cases.ReasonStartUnknown, "", "it is not known whether the pipeline began"},
		{cases.TimedOut, cases.ReasonDeadline, "", "it took too long"},
		{cases.Cancelled, cases.ReasonCancelled, "", "it was cancelled"},
		{cases.Cancelled, cases.ReasonSuperseded, "", "a newer run took its place"},
		{cases.Failed, "of_a_newer_revision", "", "it ended without documents"},
	} {
		c := b.Begin("c")
		v := view(t, u+"/c")
		v.begins()
		v.shows("progress", fmt.Sprintf("%d.1", c.Run), pending)
		c = update(b, "c", c.Run, func(c *cases.Case) {
			c.State = test.state
			c.Outcome.EndedAt = time.Now().UTC()
			c.Outcome.EndVersion = c.Version + 1
			c.Outcome.End = &cases.End{Reason: test.reason, Message: test.message, Source: cases.SourceCheck}
		})
		message, _ := json.Marshal(test.want)
		v.shows(
			"error",
			fmt.Sprintf("%d.%d", c.Run, c.Outcome.EndVersion),
			fmt.Sprintf(`"code":%q,"message":%s,"state":%q`, test.reason, message, test.state),
		)
		v.ends()
	}
}

// These are the first events of a viewer that reconnects. Run 1 ended at version 3 and was
// finalized. Run 2 is open at version 2. The case "ended" ended at version 2.
func TestLastEventID(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	b.Event("m1", `{"case_id":"c","run":1,"status":"running"}`)
	b.Event("m2", `{"case_id":"c","run":1,"status":"failed","error":"no"}`)
	b.Begin("c")
	b.Event("m3", `{"case_id":"c","run":2,"status":"running"}`)
	b.Begin("ended")
	b.Event("m4", `{"case_id":"ended","run":1,"status":"succeeded","result":{}}`)
	before := view(t, u+"/c")
	leased(t, b, 2) // makes version 2.3, which has no event
	before.leave()
	for _, test := range []struct{ path, id, want string }{
		{"/c", "", "progress 2.2"},
		{"/c", "2.2", "nothing"},
		{"/c", "2.1", "progress 2.2"},
		{"/c", "1.3", "progress 2.2"},
		{"/c", "1.99", "progress 2.2"},
		{"/c", "2.3", "progress 2.2"},
		{"/c", "3.1", "progress 2.2"},
		{"/c", "garbage", "progress 2.2"},
		{"/c", "02.2", "progress 2.2"},
		{"/c", "2.2.2", "progress 2.2"},
		{"/c", "2", "progress 2.2"},
		{"/c", "2.+2", "progress 2.2"},
		{"/c", "2.99999999999999999999", "progress 2.2"},
		{"/c", "-2.2", "progress 2.2"},
		{"/c?run=2", "2.2", "nothing"},
		{"/c?run=2", "1.3", "progress 2.2"},
		{"/c?run=1", "", "error 1.3"},
		{"/c?run=1", "1.2", "error 1.3"},
		{"/c?run=1", "2.2", "error 1.3"},
		{"/c?run=1", "1.3", "204"},
		{"/c?run=1", "1.4", "error 1.3"}, // no event had this id
		{"/ended", "", "complete 1.2"},
		{"/ended", "1.1", "complete 1.2"},
		{"/ended", "1.2", "204"},
		{"/ended", "1.3", "complete 1.2"},
		{"/ended", "2.1", "complete 1.2"}, // the case was run again since
	} {
		t.Run(test.path+" "+test.id, func(t *testing.T) {
			released(t, b)
			waits := b.Store.NextWait()
			v := view(t, u+test.path, "Last-Event-ID: "+test.id)
			got := fmt.Sprint(v.status)
			if v.status == 200 {
				v.begins()
				if test.want == "nothing" {
					<-waits // the stream waits without an event
					v.leave()
					if b := v.next(); b != (block{comment: ":", cut: true}) {
						t.Errorf("%+v", b)
					}
					v.ends()
					return
				}
				e := v.next()
				got = e.event + " " + e.id
			}
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if !strings.HasPrefix(test.want, "progress") {
				v.ends()
			}
		})
	}
	released(t, b)
}

// A viewer of a case continues with the run that supersedes the current one, without an error. A
// viewer of one run sees how that run ended.
func TestSupersededWhileWatched(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	current, pinned := view(t, u+"/c"), view(t, u+"/c?run=1")
	for _, v := range []*viewer{current, pinned} {
		v.begins()
		v.shows("progress", "1.1", pending)
	}
	request := reconcile.StartRequest{CaseID: "c", Form: []byte("{}"), Supersede: true}
	if _, err := b.Reconciler.Start(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	current.shows("progress", "2.1", pending)
	first := b.Case("c", 1)
	pinned.shows(
		"error",
		fmt.Sprintf("1.%d", first.Outcome.EndVersion),
		fmt.Sprintf(`"code":"superseded","message":%q,"state":"cancelled"`, first.Outcome.End.Message),
	)
	pinned.ends()
	b.Event("m", `{"case_id":"c","run":2,"status":"failed","error":"no"}`)
	current.shows("error", "2.2", `"code":"pipeline_failed","message":"no","state":"failed"`)
	current.ends()
}

// A poll that finds no change sends no event, neither to a connected viewer nor to one that
// reconnects. Each event and its id are sent once. A caller of the JSON gets every version.
func TestNoRepeatedEvent(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	check := func() cases.Case {
		task := queue.Body{CaseID: "c", Run: 1, Seq: b.Case("c", 1).Checks.Seq}
		if err := b.Reconciler.Check(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		return b.Case("c", 1)
	}
	b.Event("m1", `{"case_id":"c","run":1,"status":"running"}`) // otherwise the check does not poll
	c := check()
	v := view(t, u+"/c")
	v.begins()
	id := fmt.Sprintf("1.%d", c.Version)
	if e := v.next(); e.id != id {
		t.Errorf("%+v, want %s", e, id)
	}
	leased(t, b, 1)
	for range 3 {
		before := tag(b.Case("c", 1))
		c = check()
		if a := b.Do("GET", u+"/c", "", key, "If-None-Match: "+before); a.Status != 200 ||
			a.Header.Get("ETag") != tag(c) ||
			before == tag(c) {
			t.Errorf("got %d %v, want the tag %s", a.Status, a.Header, tag(c))
		}
	}
	waits := b.Store.NextWait()
	again := view(t, u+"/c", "Last-Event-ID: "+id)
	again.begins()
	<-waits // the stream waits without an event
	b.Event("m2", `{"case_id":"c","run":1,"status":"running","progress":{"completed":2,"total":4}}`)
	id = fmt.Sprintf("1.%d", b.Case("c", 1).Version)
	for _, v := range []*viewer{v, again} {
		v.shows("progress", id, `"current":2,"total":4,"message":"2 of 4 documents are done",`+
			`"percent":50,"progress":50,"state":"running","eta_seconds":"some","stalled":false`)
	}
}

// A viewer that loses its connection during one run reconnects in the next run.
func TestRerunWhileAway(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	if _, err := b.Reconciler.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	b.Begin("c")
	v := view(t, u+"/c", "Last-Event-ID: 1.1")
	v.begins()
	v.shows("progress", "2.1", pending)
}

// A result arrives unchanged and on one line, whatever its content and size.
func TestResultArrivesWhole(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	for i, result := range []string{
		"{\"a\":\"line\u2028sep\u2029 \\n\\r \\u0000 \\\"quoted\\\" é😀 <&>\",\"n\":1.50}",
		"{\n  \"pretty\": [\r\n 1,\n\t2 ] ,\n \"s\": \"a  b\\n\"\r\n}",
		`{"big":"` + strings.Repeat("x\u2028", (cases.MaxResult-10)/4) + `"}`,
		`{}`,
	} {
		c := b.Begin("c")
		v := view(t, u+"/c")
		v.begins()
		v.next()
		c = b.Case("c", c.Run)
		c.Version++
		succeed(&c)
		c.Outcome.EndedAt = time.Now().UTC()
		write := store.Write{Case: c, Put: map[store.Value][]byte{store.Result: []byte(result)}}
		if err := b.Store.Update(t.Context(), write); err != nil {
			t.Fatal(err)
		}
		e := v.next()
		var got struct{ Result json.RawMessage }
		if err := json.Unmarshal([]byte(e.data), &got); err != nil || e.event != "complete" {
			t.Fatalf("%d: %v, %s", i, err, e.event)
		}
		if !strings.ContainsAny(result, "\r\n") && string(got.Result) != result {
			t.Errorf("%d: got %d bytes, want the %d of the result", i, len(got.Result), len(result))
		}
		if fmt.Sprint(decode(t, string(got.Result))) != fmt.Sprint(decode(t, result)) {
			t.Errorf("%d: the decoded result differs", i)
		}
		v.ends()
	}
}

// An output URL that is not http or https is shown only in the result, which stays unchanged.
func TestOutputURLIsHTTP(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	result := `{"output_url":"javascript:alert(1)"}`
	b.Event("m", `{"case_id":"c","run":1,"status":"succeeded","result":`+result+`}`)
	v := view(t, u+"/c")
	v.begins()
	v.shows(
		"complete",
		fmt.Sprintf("1.%d", b.Case("c", 1).Outcome.EndVersion),
		`"total":0,"outputUrl":null,"documents":null,"result":`+result,
	)
	v.ends()
	if a := b.Do("GET", u+"/c", "", key); a.JSON(t)["output_url"] != nil || !strings.Contains(a.Body, result) {
		t.Errorf("%s", a.Body)
	}
	if ended := b.Topic.Ended(); len(ended) != 1 || ended[0].OutputURL != nil {
		t.Errorf("%+v", ended)
	}
}

// A success without result, documents and address has null for these.
func TestCompleteWithoutResult(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	b.Event("m", `{"case_id":"c","run":1,"status":"running","progress":{"completed":3,"total":3}}`)
	update(b, "c", 1, func(c *cases.Case) {
		c.State = cases.Succeeded
		c.Outcome.EndedAt = time.Now().UTC()
		c.Outcome.EndVersion = c.Version + 1
		c.Outcome.End = &cases.End{Reason: cases.ReasonCompleted}
	})
	v := view(t, u+"/c")
	v.begins()
	v.shows("complete", "1.3", `"total":3,"outputUrl":null,"documents":null,"result":null`)
	v.ends()
}

// reads counts the reads of a case and its concurrent waits.
type reads struct {
	store.Store
	mu       sync.Mutex
	n        int
	maxWaits int
	now      int
}

func (s *reads) Current(ctx context.Context, caseID string) (store.Head, cases.Case, error) {
	s.mu.Lock()
	s.n++
	s.mu.Unlock()
	return s.Store.Current(ctx, caseID)
}

func (s *reads) Wait(ctx context.Context, caseID string, run int, version int64) error {
	s.mu.Lock()
	s.now++
	s.maxWaits = max(s.maxWaits, s.now)
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.now--; s.mu.Unlock() }()
	return s.Store.Wait(ctx, caseID, run, version)
}

func (s *reads) count() (n, maxWaits int) { s.mu.Lock(); defer s.mu.Unlock(); return s.n, s.maxWaits }

// Thirty viewers of one case need one wait at a time and one read for each change. After they have
// left, nothing waits.
func TestViewersShareOneWait(t *testing.T) {
	b := functiontest.New(t, nil)
	counted := &reads{Store: b.Store.Store}
	b.Store.Store = counted
	u := b.Serve(status.New)
	b.Begin("c")
	var viewers []*viewer
	for range 30 {
		v := view(t, u+"/c")
		v.begins()
		v.next()
		viewers = append(viewers, v)
	}
	before, _ := counted.count()
	for i, id := range []string{"1.2", "1.4", "1.5", "1.6"} {
		b.Event(
			fmt.Sprint("m", i),
			fmt.Sprintf(`{"case_id":"c","run":1,"status":"running","progress":{"completed":%d,"total":9}}`, i),
		)
		for _, v := range viewers {
			if e := v.next(); e.id != id {
				t.Fatalf("%+v", e)
			}
		}
		leased(t, b, 1) // one of them writes the lease, once
		until(t, "one viewer waits again", func() bool { now, _ := b.Store.Waits(); return now == 1 })
	}
	// Each event reads the head once. The viewers read once for each change.
	if n, maxWaits := counted.count(); maxWaits != 1 || n-before > 4+4 {
		t.Errorf("got %d concurrent waits and %d reads for 4 changes", maxWaits, n-before)
	}
	for _, v := range viewers {
		v.leave()
	}
	released(t, b)
}

// A transient error must not make a browser give up. The viewer is told to reconnect later.
func TestTransientErrors(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	watching := view(t, u+"/c")
	watching.begins()
	watching.next()
	b.Store.SetDown(true)
	first := view(t, u+"/c", "Last-Event-ID: 1.1")
	first.begins()
	if e := first.next(); e != closing {
		t.Errorf("%+v", e)
	}
	first.ends()
	changed := func() { // the wrapped store still works
		c, err := b.Store.Store.Get(t.Context(), "c", 1)
		if err != nil {
			t.Fatal(err)
		}
		c.Version++
		c.Viewers.Shown.Version = c.Version
		if err := b.Store.Store.Update(t.Context(), store.Write{Case: c}); err != nil {
			t.Fatal(err)
		}
	}
	changed()
	if e := watching.next(); e != closing {
		t.Errorf("%+v", e)
	}
	watching.ends()
	b.Store.SetDown(false)
	again := view(t, u+"/c", "Last-Event-ID: 1.1")
	again.begins()
	again.shows("progress", "1.2", pending)
	if log := b.Log.String(); strings.Count(log, `"message":"a request could not be served"`) != 2 ||
		!strings.Contains(log, `"status":503`) {
		t.Errorf("%s", log)
	}
}

// panicking is a store that panics after a number of reads.
type panicking struct {
	store.Store
	mu    sync.Mutex
	reads int // the number of reads before one panics
}

func (s *panicking) Current(ctx context.Context, caseID string) (store.Head, cases.Case, error) {
	s.mu.Lock()
	s.reads--
	bad := s.reads < 0
	s.mu.Unlock()
	if bad {
		panic("injected")
	}
	return s.Store.Current(ctx, caseID)
}

func TestPanics(t *testing.T) {
	b := functiontest.New(t, nil)
	b.Begin("c")
	broken := &panicking{Store: b.Store.Store, reads: 1}
	b.Store.Store = broken
	u := b.Serve(status.New)
	v := view(t, u+"/c")
	v.begins()
	v.next()
	update(b, "c", 1, func(*cases.Case) {})
	if e := v.next(); e != closing {
		t.Errorf("%+v", e)
	}
	v.ends()
	at := view(t, u+"/c")
	at.begins()
	if e := at.next(); e != closing {
		t.Errorf("%+v", e)
	}
	at.ends()
	if log := b.Log.String(); strings.Count(log, "panic: injected") != 2 {
		t.Errorf("%s", log)
	}
	released(t, b)
}

// A permanent error is sent as a problem, as for any other request.
func TestPermanentErrors(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	tokens := casetoken.New(casetoken.ToRead, b.Config.Access.TokenSecrets)
	for _, test := range []struct {
		method, path string
		header       []string
		want         int
	}{
		{"GET", "/", []string{key}, 404},
		{"GET", "/-c", []string{key}, 400},
		{"GET", "/c?run=0", []string{key}, 400},
		{"GET", "/c?run=9", []string{key}, 404},
		{"GET", "/other", []string{key}, 404},
		{"GET", "/c", nil, 401},
		{"GET", "/c?token=x", nil, 403},
		{"POST", "/c", []string{key}, 405},
	} {
		a := b.Do(test.method, u+test.path, "", append(test.header, asStream)...)
		b.Problem(a, test.want)
		if !slices.Contains(a.Header.Values("Vary"), "Accept") {
			t.Errorf("%s %s: Vary is %q", test.method, test.path, a.Header.Values("Vary"))
		}
	}
	// A browser's EventSource sends the token in the address, and its origin.
	withToken := u + "/c?token=" + tokens.Sign("c", time.Now().Add(time.Hour))
	v := view(t, withToken, "X-API-Key:  ", "Origin: https://forms.example")
	v.begins()
	if v.header.Get("Access-Control-Allow-Origin") != "https://forms.example" {
		t.Errorf("%v", v.header)
	}
}

func TestStreamHead(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	a := b.Do("HEAD", u+"/c", "", key, asStream)
	if a.Status != 200 || a.Body != "" || a.Header.Get("Content-Type") != "text/event-stream" ||
		a.Header.Get("Content-Length") != "" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if _, ever := b.Store.Waits(); ever != 0 {
		t.Error("a HEAD request waited for a change")
	}
	b.Store.SetDown(true)
	if a := b.Do("HEAD", u+"/c", "", key, asStream); a.Status != 200 || a.Body != "" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// If a case is purged while it has viewers, their streams end. The next request gets 404.
func TestPurgedWhileWatched(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	v := view(t, u+"/c")
	v.begins()
	v.next()
	if err := b.Store.Purge(t.Context(), "c", 1, 1); err != nil {
		t.Fatal(err)
	}
	v.ends()
	b.Problem(b.Do("GET", u+"/c", "", key, asStream), 404)
	if log := b.Log.String(); strings.Contains(log, "could not be served") {
		t.Errorf("%s", log)
	}
}

// Viewers that leave keep no resources, whether they lead the shared wait or follow it. TestMain
// checks for goroutines.
func TestViewersLeave(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	var viewers []*viewer
	for range 5 {
		v := view(t, u+"/c")
		v.begins()
		v.next()
		viewers = append(viewers, v)
	}
	for len(viewers) > 1 {
		viewers[0].leave()
		viewers = viewers[1:]
		b.Event(fmt.Sprint(len(viewers)), fmt.Sprintf(
			`{"case_id":"c","run":1,"status":"running","progress":{"completed":%d,"total":9}}`, 9-len(viewers)))
		for _, v := range viewers {
			e := v.next()
			if decode(t, e.data)["current"] != float64(9-len(viewers)) {
				t.Errorf("%+v", e)
			}
		}
	}
	viewers[0].leave()
	released(t, b)
}

// A writer that cannot flush gets the current state, and the stream ends.
func TestNoFlush(t *testing.T) {
	b := functiontest.New(t, nil)
	b.Begin("c")
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/c", http.NoBody)
	r.Header = http.Header{"X-Api-Key": {functiontest.Key}, "Accept": {"text/event-stream"}}
	status.New(b.Config, b.Reconciler).ServeHTTP(struct{ http.ResponseWriter }{w}, r)
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), "retry: 2000\nevent: progress\nid: 1.1\ndata: {") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
