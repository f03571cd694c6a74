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

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
	"github.com/casewatch/casewatch/shared/store"
)

const asStream = "Accept: text/event-stream"

// block is what a stream says before an empty line, or before its end.
type block struct {
	comment, retry, event, id, data string
	cut                             bool // the stream ended before the empty line
}

// closing is how a stream ends that tells its viewer to reconnect later.
var closing = block{retry: "5000", cut: true}

// viewer reads a stream as it comes.
type viewer struct {
	t      testing.TB
	header http.Header
	status int
	blocks chan block // closed at the end
	leave  func()
	retry  string // what the next block with data has to say of it
}

// view opens a stream. The viewer leaves when the test ends, at the latest.
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
				if b.data == "" { // libraries deliver it as an empty message
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
				v.t.Errorf("no line of a stream: %q", line)
			}
		}
	})
	v.leave = func() { cancel(); reading.Wait() }
	t.Cleanup(v.leave)
	return v
}

// next returns what comes next. It is an error if nothing does.
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
		v.t.Fatal("nothing comes")
	}
	return block{}
}

// begins checks how a stream begins.
func (v *viewer) begins() {
	v.t.Helper()
	h := v.header
	if v.status != 200 || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-cache, no-transform" || h.Get("X-Accel-Buffering") != "no" ||
		h.Get("Content-Encoding") != "" || !slices.Contains(h.Values("Vary"), "Accept") {
		v.t.Fatalf("%d %v", v.status, h)
	}
	v.retry = "2000"
}

// shows checks the next event, whole: the fields are JSON, without those that every event has.
func (v *viewer) shows(event, id, fields string) {
	v.t.Helper()
	b := v.next()
	run, _, _ := strings.Cut(id, ".")
	want := decode(v.t, fmt.Sprintf(`{"jobId":"c","case_id":"c","run":%s,%s}`, run, fields))
	got := decode(v.t, b.data)
	if eta, ok := got["eta_seconds"].(float64); ok && eta >= 0 {
		got["eta_seconds"] = "some" // it is estimated from the time
	}
	if b.event != event || b.id != id || b.cut || !maps.EqualFunc(got, want, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		v.t.Errorf("got %+v\nwant %s %s %v", b, event, id, want)
	}
}

// ends checks that the stream ends now.
func (v *viewer) ends() {
	v.t.Helper()
	select {
	case b, ok := <-v.blocks:
		if ok {
			v.t.Errorf("it goes on with %+v", b)
		}
	case <-time.After(enough):
		v.t.Error("it does not end")
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

const pending = `"current":0,"total":0,"message":"waiting for the pipeline to begin","percent":0,"progress":0,"state":"pending","eta_seconds":null,"stalled":false`

// released waits until nobody waits any more.
func released(t testing.TB, b *functiontest.Bench) {
	t.Helper()
	until(t, "all waits are over", func() bool { now, _ := b.Store.Waits(); return now == 0 })
}

func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(enough); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// leased waits until the record says that the run is watched. For 15 s from then nobody has to say so again.
func leased(t testing.TB, b *functiontest.Bench, run int) {
	t.Helper()
	until(t, "it counts as watched", func() bool { return !b.Case("c", run).Viewers.Lease.Until.IsZero() })
}

// A run from its beginning to its end, as it is watched; and then it is over, however often a client comes back.
func TestStream(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	v := view(t, u+"/c")
	v.begins()
	v.shows("progress", "1.1", pending)
	b.Event("m1", `{"case_id":"c","run":1,"status":"running"}`)
	v.shows("progress", "1.2", `"current":0,"total":0,"message":"the pipeline is working","percent":0,"progress":0,"state":"running","eta_seconds":null,"stalled":false`)
	leased(t, b, 1) // which makes 1.3, and is no news
	b.Event("m2", `{"case_id":"c","run":1,"status":"running","progress":{"completed":1,"total":4,"current_doc":"Ann vs. Bob & Co\n <srogs>"}}`)
	v.shows("progress", "1.4", `"current":1,"total":4,"message":"Ann vs. Bob & Co <srogs>","percent":25,"progress":25,"state":"running","eta_seconds":"some","stalled":false`)
	b.Event("m3", `{"case_id":"c","run":1,"status":"running","progress":{"completed":2,"total":4}}`)
	v.shows("progress", "1.5", `"current":2,"total":4,"message":"2 of 4 documents are done","percent":50,"progress":50,"state":"running","eta_seconds":"some","stalled":false`)
	result := `{"webhook_summary":{"total_sets":4,"succeeded":3,"failed":1},"output_url":"https://docs.example/?a=1&b=2","n":12345678901234567890}`
	b.Event("m4", `{"case_id":"c","run":1,"status":"succeeded","result":`+result+`}`)
	id := fmt.Sprintf("1.%d", b.Case("c", 1).Outcome.EndVersion)
	v.shows("complete", id, `"total":4,"outputUrl":"https://docs.example/?a=1&b=2","documents":{"total":4,"succeeded":3,"failed":1},"result":`+result)
	v.ends()
	// The record goes on, the id of the end stays.
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
		t.Error("status asked the pipeline")
	}
	released(t, b)
}

// The fields of a progress event, in the order in which other programs' authors see them.
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

// update changes the record of a run past all rules, as if that made an event.
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

// Every end but success is an error with its code, and says in words what happened.
func TestErrorEvents(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	for _, test := range []struct {
		state         cases.State
		reason        cases.Reason
		message, says string
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
			c.State, c.Outcome.EndedAt, c.Outcome.EndVersion, c.Outcome.End = test.state, time.Now().UTC(), c.Version+1, &cases.End{Reason: test.reason, Message: test.message, Source: cases.SourceCheck}
		})
		message, _ := json.Marshal(test.says)
		v.shows("error", fmt.Sprintf("%d.%d", c.Run, c.Outcome.EndVersion), fmt.Sprintf(`"code":%q,"message":%s,"state":%q`, test.reason, message, test.state))
		v.ends()
	}
}

// What a viewer who comes back is shown first. Run 1 ended at version 3 and was settled; run 2 is open at version 2; "ended" ended at version 2.
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
	leased(t, b, 2) // which makes 2.3, and is no news
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
		{"/c?run=1", "1.4", "error 1.3"}, // no event ever had it
		{"/ended", "", "complete 1.2"},
		{"/ended", "1.1", "complete 1.2"},
		{"/ended", "1.2", "204"},
		{"/ended", "1.3", "complete 1.2"},
		{"/ended", "2.1", "complete 1.2"}, // begun again since
	} {
		t.Run(test.path+" "+test.id, func(t *testing.T) {
			released(t, b)
			waits := b.Store.NextWait()
			v := view(t, u+test.path, "Last-Event-ID: "+test.id)
			got := fmt.Sprint(v.status)
			if v.status == 200 {
				v.begins()
				if test.want == "nothing" {
					<-waits // it waits, having shown nothing
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

// Who watches a case goes on with the run that takes the place of another, without an error; who watches a run sees how that ended.
func TestSupersededWhileWatched(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	current, pinned := view(t, u+"/c"), view(t, u+"/c?run=1")
	for _, v := range []*viewer{current, pinned} {
		v.begins()
		v.shows("progress", "1.1", pending)
	}
	if _, err := b.Reconciler.Start(t.Context(), reconcile.StartRequest{CaseID: "c", Form: []byte("{}"), Supersede: true}); err != nil {
		t.Fatal(err)
	}
	current.shows("progress", "2.1", pending)
	first := b.Case("c", 1)
	pinned.shows("error", fmt.Sprintf("1.%d", first.Outcome.EndVersion), fmt.Sprintf(`"code":"superseded","message":%q,"state":"cancelled"`, first.Outcome.End.Message))
	pinned.ends()
	b.Event("m", `{"case_id":"c","run":2,"status":"failed","error":"no"}`)
	current.shows("error", "2.2", `"code":"pipeline_failed","message":"no","state":"failed"`)
	current.ends()
}

// Polls that find what was known send nothing, neither to who watches nor to who comes back: an event and its id come once. Somebody
// who asks for JSON gets each version.
func TestNoRepeatedEvent(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	check := func() cases.Case {
		if err := b.Reconciler.Check(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: b.Case("c", 1).Checks.Seq}); err != nil {
			t.Fatal(err)
		}
		return b.Case("c", 1)
	}
	b.Event("m1", `{"case_id":"c","run":1,"status":"running"}`) // else nothing is asked
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
		if a := b.Do("GET", u+"/c", "", key, "If-None-Match: "+before); a.Status != 200 || a.Header.Get("ETag") != tag(c) || before == tag(c) {
			t.Errorf("%d %v, it is at %s", a.Status, a.Header, tag(c))
		}
	}
	waits := b.Store.NextWait()
	again := view(t, u+"/c", "Last-Event-ID: "+id)
	again.begins()
	<-waits // it waits, having shown nothing
	b.Event("m2", `{"case_id":"c","run":1,"status":"running","progress":{"completed":2,"total":4}}`)
	id = fmt.Sprintf("1.%d", b.Case("c", 1).Version)
	for _, v := range []*viewer{v, again} {
		v.shows("progress", id, `"current":2,"total":4,"message":"2 of 4 documents are done","percent":50,"progress":50,"state":"running","eta_seconds":"some","stalled":false`)
	}
}

// A viewer whose connection was lost in one run, which ended, comes back in the next.
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

// What a result may hold arrives as it is, on one line, however large.
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
		c.State, c.Outcome.EndedAt, c.Outcome.EndVersion, c.Outcome.HasResult, c.Outcome.End = cases.Succeeded, time.Now().UTC(), c.Version, true, &cases.End{Reason: cases.ReasonCompleted}
		if err := b.Store.Update(t.Context(), store.Write{Case: c, Put: map[store.Value][]byte{store.Result: []byte(result)}}); err != nil {
			t.Fatal(err)
		}
		e := v.next()
		var got struct{ Result json.RawMessage }
		if err := json.Unmarshal([]byte(e.data), &got); err != nil || e.event != "complete" {
			t.Fatalf("%d: %v, %s", i, err, e.event)
		}
		if !strings.ContainsAny(result, "\r\n") && string(got.Result) != result {
			t.Errorf("%d: %d bytes arrived of %d", i, len(got.Result), len(result))
		}
		if fmt.Sprint(decode(t, string(got.Result))) != fmt.Sprint(decode(t, result)) {
			t.Errorf("%d: another result arrived", i)
		}
		v.ends()
	}
}

// An address that is none of the web is in no output but the result, which is as it came.
func TestOutputURLIsOfTheWeb(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	result := `{"output_url":"javascript:alert(1)"}`
	b.Event("m", `{"case_id":"c","run":1,"status":"succeeded","result":`+result+`}`)
	v := view(t, u+"/c")
	v.begins()
	v.shows("complete", fmt.Sprintf("1.%d", b.Case("c", 1).Outcome.EndVersion), `"total":0,"outputUrl":null,"documents":null,"result":`+result)
	v.ends()
	if a := b.Do("GET", u+"/c", "", key); a.JSON(t)["output_url"] != nil || !strings.Contains(a.Body, result) {
		t.Errorf("%s", a.Body)
	}
	if ended := b.Topic.Ended(); len(ended) != 1 || ended[0].OutputURL != nil {
		t.Errorf("%+v", ended)
	}
}

// Without a result, documents or address these are null.
func TestCompleteWithoutResult(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	b.Event("m", `{"case_id":"c","run":1,"status":"running","progress":{"completed":3,"total":3}}`)
	update(b, "c", 1, func(c *cases.Case) {
		c.State, c.Outcome.EndedAt, c.Outcome.EndVersion, c.Outcome.End = cases.Succeeded, time.Now().UTC(), c.Version+1, &cases.End{Reason: cases.ReasonCompleted}
	})
	v := view(t, u+"/c")
	v.begins()
	v.shows("complete", "1.3", `"total":3,"outputUrl":null,"documents":null,"result":null`)
	v.ends()
}

// reads counts how often a case is read.
type reads struct {
	store.Store
	mu   sync.Mutex
	n    int
	most int
	now  int
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
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.now--; s.mu.Unlock() }()
	return s.Store.Wait(ctx, caseID, run, version)
}

func (s *reads) count() (n, most int) { s.mu.Lock(); defer s.mu.Unlock(); return s.n, s.most }

// Thirty viewers of one case cost one wait at a time, and one read a change; and nothing once they left.
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
		b.Event(fmt.Sprint("m", i), fmt.Sprintf(`{"case_id":"c","run":1,"status":"running","progress":{"completed":%d,"total":9}}`, i))
		for _, v := range viewers {
			if e := v.next(); e.id != id {
				t.Fatalf("%+v", e)
			}
		}
		leased(t, b, 1) // once, by one of them
		until(t, "somebody waits again", func() bool { now, _ := b.Store.Waits(); return now == 1 })
	}
	// The events read the head each; the viewers as many times as there were changes.
	if n, most := counted.count(); most != 1 || n-before > 4+4 {
		t.Errorf("%d waits at once, %d reads for 4 changes", most, n-before)
	}
	for _, v := range viewers {
		v.leave()
	}
	released(t, b)
}

// What passes is no answer that makes a browser give up: it is told to come back later.
func TestPassingFaults(t *testing.T) {
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
	changed := func() { // the store is down for functions only
		c, err := b.Store.Store.Get(t.Context(), "c", 1)
		if err != nil {
			t.Fatal(err)
		}
		c.Version++
		c.Viewers.Shown.Version = c.Version
		if err := b.Store.Update(t.Context(), store.Write{Case: c}); err != nil {
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
	if log := b.Log.String(); strings.Count(log, `"message":"a request could not be served"`) != 2 || !strings.Contains(log, `"status":503`) {
		t.Errorf("%s", log)
	}
}

// panicking is a store that panics when it is told to.
type panicking struct {
	store.Store
	mu    sync.Mutex
	reads int // how many reads are well before one panics
}

func (s *panicking) Current(ctx context.Context, caseID string) (store.Head, cases.Case, error) {
	s.mu.Lock()
	s.reads--
	bad := s.reads < 0
	s.mu.Unlock()
	if bad {
		panic("as told")
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
	if log := b.Log.String(); strings.Count(log, "panic: as told") != 2 {
		t.Errorf("%s", log)
	}
	released(t, b)
}

// What does not pass is said, as to everybody.
func TestStreamRefused(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	tokens := access.NewTokens(access.ToRead, b.Config.Access.TokenSecrets)
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
	// A browser's EventSource shows the token of the address, and its origin.
	v := view(t, u+"/c?token="+tokens.Sign("c", time.Now().Add(time.Hour)), "X-API-Key:  ", "Origin: https://forms.example")
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
	if a.Status != 200 || a.Body != "" || a.Header.Get("Content-Type") != "text/event-stream" || a.Header.Get("Content-Length") != "" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if _, ever := b.Store.Waits(); ever != 0 {
		t.Error("it waited")
	}
	b.Store.SetDown(true)
	if a := b.Do("HEAD", u+"/c", "", key, asStream); a.Status != 200 || a.Body != "" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// A case that is purged while it is watched: the stream ends, and the next request is told.
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

// Viewers who leave leave nothing, whether they lead or follow. TestMain looks for goroutines.
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
		b.Event(fmt.Sprint(len(viewers)), fmt.Sprintf(`{"case_id":"c","run":1,"status":"running","progress":{"completed":%d,"total":9}}`, 9-len(viewers)))
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

// A writer that cannot send anything before the answer's end gets the state, and the stream ends.
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
