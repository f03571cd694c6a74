package console_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/console"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/schedule"
	"github.com/casewatch/casewatch/shared/store"
)

// detail is the JSON of a run.
type detail struct {
	Case          cases.View
	CurrentRun    int        `json:"current_run"`
	FormKept      bool       `json:"form_kept"`
	FormKeptUntil *time.Time `json:"form_kept_until"`
	Published     bool
	Handover      struct{ Phase string }
	Checks        struct {
		Count  int
		NextAt *time.Time `json:"next_at"`
		Why    *cases.Why
	}
	Timeline []cases.Note
	Runs     []struct{ Run int }
	Actions  struct {
		Cancel, Rerun bool
		Why           string `json:"why_no_rerun"`
	}
}

func get(t *testing.T, b *functiontest.Bench, address string) (d detail) {
	t.Helper()
	a := b.Do("GET", address, "", asJSON)
	if err := json.Unmarshal([]byte(a.Body), &d); err != nil || a.Status != 200 {
		t.Fatalf("%d %s: %v", a.Status, a.Body, err)
	}
	return d
}

// This follows one case from its start to its end, as an operator sees it.
func TestRun(t *testing.T) {
	b, u := newBench(t)
	b.Begin("c")
	d := get(t, b, u+"/c")
	if d.Case.State != cases.Pending || d.CurrentRun != 1 || !d.FormKept || d.FormKeptUntil != nil ||
		d.Handover.Phase != "queued" || d.Checks.NextAt == nil ||
		d.Checks.Why == nil || d.Checks.Why.Awaits != "dispatch" ||
		!d.Actions.Cancel || d.Actions.Rerun || d.Actions.Why != "the run has not ended" ||
		len(d.Timeline) != 1 || d.Timeline[0].What != cases.NoteBegan {
		t.Errorf("%+v", d)
	}
	if err := b.Reconciler.Dispatch(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: 1}, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Reconciler.Check(t.Context(), queue.Body{CaseID: "c", Run: 1, Seq: 1}); err != nil {
		t.Fatal(err)
	}
	if d = get(t, b, u+"/c"); d.Case.State != cases.Running || d.Checks.Count != 1 || d.Checks.Why == nil ||
		d.Checks.Why.EndAt == nil {
		t.Errorf("%+v", d)
	}
	page := b.Do("GET", u+"/c", "").Body
	for _, want := range []string{
		`data-refresh="5"`,
		`<h1 class="id">c</h1>`,
		`<progress max="100" value="25" aria-label="Progress of c, run 1">`,
		"1 of 4",
		`<form method="post" action="./c?run=1">`,
		`<button name="action" value="cancel"`,
		"By its progress the run ends at",
		"give or take",
		"There is no earlier run to estimate from.",
		"2 s to 30 s after the last",
		"Sent to the pipeline",
		"the request to the pipeline",
		"<dt>Form</dt><dd>kept</dd>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is missing in\n%s", want, page)
		}
	}
	b.Event("1", `{"case_id":"c","run":1,"status":"succeeded","result":{"output_url":"https://out.example/x",`+
		`"webhook_summary":{"total_sets":3,"succeeded":2,"failed":1}}}`)
	b.Event("2", `{"case_id":"c","run":1,"status":"failed","error":{"message":"too late"},"result":{"late":true}}`)
	if d = get(t, b, u+"/c"); d.Case.State != cases.Succeeded || !d.Published || d.Checks.Why != nil || d.FormKept ||
		d.Actions.Cancel ||
		d.Actions.Rerun ||
		d.Actions.Why != "the run succeeded" ||
		d.Case.Late == nil {
		t.Errorf("%+v", d)
	}
	page = b.Do("GET", u+"/c", "").Body
	for _, want := range []string{
		"The pipeline finished it.",
		"Reported by an event of the pipeline.",
		"2 of 3 made",
		"1 failed",
		`<a href="https://out.example/x"`,
		"<pre tabindex=\"0\" role=\"region\" aria-label=\"Result\">{\n  &#34;output_url&#34;",
		"Too late",
		"The first said Failed",
		"too late",
		"Lost the race",
		"no longer kept",
		"The end was published",
		"It cannot be run again from here: the run succeeded.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is missing in\n%s", want, page)
		}
	}
	if strings.Contains(page, "data-refresh") || strings.Contains(page, "<button") {
		t.Error("the page of a run that has ended reloads itself or has buttons")
	}
}

// The page describes every problem of a run.
func TestRunInTrouble(t *testing.T) {
	b, u := newBench(t)
	at := time.Now().UTC().Truncate(time.Microsecond)
	for id, test := range map[string]struct {
		change func(*cases.Case)
		want   []string
	}{
		"failing": {func(c *cases.Case) {
			c.Checks.FailedPolls, c.Checks.ConsecutiveFailures, c.Checks.FailingSince = 5, 3, at
		},
			[]string{"The last 3 polls failed, since", "doubles with each failure, up to 30 s", "fail for 10 min"}},
		"held back": {func(c *cases.Case) {
			c.Dispatch.Phase, c.Dispatch.Attempts = cases.PhaseAnswered, 1
			c.Checks.LastAt, c.Checks.BusyUntil = at, at.Add(time.Minute)
		}, []string{"The pipeline is busy and asked not to be polled before then"}},
		"unknown": {func(c *cases.Case) { c.Checks.UnknownSince = at }, []string{"does not know the case, since"}},
		"done": {func(c *cases.Case) { c.Job.CompleteSince = at },
			[]string{"All documents are counted. The result is awaited for at most 30 s."}},
		"counted": {func(c *cases.Case) {
			c.Dispatch.Phase, c.Dispatch.Attempts = cases.PhaseAnswered, 1
			c.Job.Reading = &cases.Reading{Completed: 4, Total: 4, Status: "running"}
		}, []string{"All documents are counted, but the pipeline reports that the run goes on."}},
		"known": {func(c *cases.Case) {
			c.Job.StartedAt, c.Dispatch.Phase, c.Dispatch.Attempts = c.CreatedAt, cases.PhaseAnswered, 1
			c.Durations.Earlier = &schedule.DurationStats{
				Version: 9,
				BySize:  map[int]schedule.Histogram{3: {From: 40, Counts: []int{7, 2}}},
			}
		}, []string{"Its progress does not show yet when it ends.", "The estimate uses 9 earlier runs; 9 took longer"}},
		"counted in part": {func(c *cases.Case) { c.Outcome.Documents = &cases.Documents{Total: new(3)} },
			[]string{"<dd>3 in all</dd>"}},
		"only failures": {func(c *cases.Case) { c.Outcome.Documents = &cases.Documents{Failed: new(3)} },
			[]string{`not counted, <strong class="warn">3 failed</strong>`}},
		"waiting": {func(*cases.Case) {}, []string{"Nothing was sent yet"}},
		"stalled": {func(c *cases.Case) { c.Job.Stalled = true },
			[]string{`<strong class="warn">stalled</strong>`}},
		"busy": {func(c *cases.Case) { c.Dispatch.Backoffs, c.Dispatch.UnreachableSince = 4, at },
			[]string{"4 consecutive attempts started nothing", "cannot be reached since", "next attempt in"}},
		"adopted": {func(c *cases.Case) { c.Adopted = true }, []string{"adopted: the pipeline worked on it already"}},
		"leaked": {func(c *cases.Case) { c.Bookkeeping.Leaked, c.Bookkeeping.PolledAfterEnd = 1, 2 },
			[]string{`Polls after the end</dt><dd><strong class="warn">3<`}},
		"not published": {func(c *cases.Case) {
			c.State, c.Outcome.EndedAt = cases.Failed, at
			c.Outcome.End = &cases.End{Reason: "a_reason_of_tomorrow", Message: "why", Source: "a_source_of_tomorrow"}
		}, []string{
			"not yet published", "a reason of tomorrow", "Reported by a source of tomorrow", "kept until", "Run again",
		}},
		"of an earlier version": {func(c *cases.Case) { c.Timeline = nil }, []string{"of an earlier version"}},
	} {
		id = strings.ReplaceAll(id, " ", "-")
		c := b.Begin(id)
		c.Version++
		test.change(&c)
		if err := b.Store.Update(t.Context(), store.Write{Case: c}); err != nil {
			t.Fatal(err)
		}
		page := b.Do("GET", u+"/"+id, "").Body
		for _, want := range test.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: %s is missing in\n%s", id, want, page)
			}
		}
	}
}

func TestCancel(t *testing.T) {
	b, u := newBench(t)
	b.Begin("c")
	post := func(query, accept string) functiontest.Answer {
		return b.Do("POST", u+"/c"+query, "action=cancel", asForm, accept)
	}
	for range 2 { // as by a double click
		if a := post("?run=1", asPage); a.Status != 303 || a.Header.Get("Location") != "./c?done=cancel&run=1" {
			t.Fatalf("%d %s", a.Status, a.Header.Get("Location"))
		}
	}
	if c := b.Case("c", 1); c.State != cases.Cancelled || len(b.Topic.Ended()) != 1 {
		t.Errorf("%+v", c)
	}
	page := b.Do("GET", u+"/c?done=cancel&run=1", "").Body
	if !strings.Contains(page, `role="status">The run is cancelled.`) ||
		!strings.Contains(page, "It was cancelled.") {
		t.Errorf("%s", page)
	}
	b.Begin("open")
	for _, done := range []string{"cancel", "rerun"} {
		if page := b.Do("GET", u+"/open?run=1&done="+done, "").Body; strings.Contains(page, `role="status">The run`) ||
			strings.Contains(page, `role="status">This run`) {
			t.Errorf("the page reports an action that did not happen: %s", page)
		}
	}
	if a := post("?run=1", asJSON); a.Status != 200 || a.JSON(t)["case"].(map[string]any)["state"] != "cancelled" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	b.Begin("c")
	b.Event("m", `{"case_id":"c","run":2,"status":"failed"}`)
	a := post("?run=2", asPage)
	if a.Status != 409 || !strings.Contains(a.Body, "the run has ended: failed") ||
		!strings.Contains(a.Body, `<a href="./c">To the case c</a>`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	b.Problem(post("?run=2", asJSON), 409)
	b.Problem(post("?run=9", asJSON), 409)
	if n := strings.Count(b.Log.String(), `"message":"operator acted on a run"`); n != 3 ||
		!strings.Contains(b.Log.String(), `"user":"this machine"`) {
		t.Errorf("%d actions are logged: %s", n, b.Log)
	}
}

func TestRerun(t *testing.T) {
	b, u := newBench(t)
	b.Begin("c")
	if _, err := b.Reconciler.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	if d := get(t, b, u+"/c"); !d.Actions.Rerun || d.Actions.Why != "" || d.FormKeptUntil == nil ||
		!d.FormKeptUntil.Equal(d.Case.EndedAt.Add(24*time.Hour)) {
		t.Errorf("%+v", d)
	}
	post := func(run int, accept string) functiontest.Answer {
		return b.Do("POST", fmt.Sprint(u, "/c?run=", run), "action=rerun", asForm, accept)
	}
	var wg sync.WaitGroup
	for range 5 { // as by several clicks
		wg.Go(func() {
			if a := post(1, asPage); a.Status != 303 || a.Header.Get("Location") != "./c?done=rerun&run=2" {
				t.Errorf("%d %s %s", a.Status, a.Header.Get("Location"), a.Body)
			}
		})
	}
	wg.Wait()
	d := get(t, b, u+"/c")
	if d.CurrentRun != 2 || len(d.Runs) != 1 || d.Runs[0].Run != 1 || d.Case.State != cases.Pending {
		t.Errorf("%+v", d)
	}
	if form, err := b.Store.Value(t.Context(), "c", 2, store.Form); err != nil || string(form) != `{"a":1}` {
		t.Errorf("%s %v", form, err)
	}
	page := b.Do("GET", u+"/c?run=1", "").Body
	if !strings.Contains(page, "This is not the current run") || !strings.Contains(page, "there is a newer run") ||
		!strings.Contains(page, "Other runs of this case") ||
		strings.Contains(page, "<button") {
		t.Errorf("%s", page)
	}
	b.Problem(post(2, asJSON), 409)
	if _, err := b.Reconciler.Cancel(t.Context(), "c", 2); err != nil {
		t.Fatal(err)
	}
	if a := post(2, asJSON); a.Status != 202 || a.JSON(t)["current_run"] != 3.0 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := post(2, asJSON); a.Status != 200 || a.JSON(t)["current_run"] != 3.0 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := post(1, asPage); a.Status != 409 || !strings.Contains(a.Body, "run 1 is not the current run, which is 3") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	b.Event("m", `{"case_id":"c","run":3,"status":"failed"}`)
	b.Queue.SetDown(true)
	if a := post(3, asPage); a.Status != 503 || a.Header.Get("Retry-After") == "" ||
		!strings.Contains(a.Body, "recorded but not yet queued") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if !strings.Contains(b.Log.String(), `"action":"rerun","case_id":"c","run":3,"user":"this machine","sure":false`) {
		t.Errorf("the log lacks the operator: %s", b.Log)
	}
	b.Queue.SetDown(false)
	if a := post(3, asJSON); a.Status != 200 || a.JSON(t)["current_run"] != 4.0 {
		t.Errorf("a repeated rerun: got %d %s", a.Status, a.Body)
	}
}

func TestHealth(t *testing.T) {
	b, u := newBench(t)
	b.Begin("c")
	want := map[string]any{
		"healthy":        true,
		"open":           1.0,
		"overdue":        0.0,
		"leaked":         0.0,
		"unpublished":    0.0,
		"oldest_overdue": nil,
		"partial":        false,
	}
	check := func() {
		t.Helper()
		got := b.Do("GET", u+"/-/health", "", asJSON).JSON(t)
		if want["oldest_overdue"] != nil && got["oldest_overdue"] != nil {
			got["oldest_overdue"] = want["oldest_overdue"]
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	check()
	waiting := b.Begin("waiting")
	waiting.Version++
	waiting.Bookkeeping.OverdueAt = time.Now().Add(-10 * time.Minute)
	waiting.Dispatch.At, waiting.Checks.NextAt = waiting.Bookkeeping.OverdueAt, time.Now().Add(time.Minute)
	if err := b.Store.Update(t.Context(), store.Write{Case: waiting}); err != nil {
		t.Fatal(err)
	}
	b.Queue.SetDown(true) // so it is unknown whether its task exists
	want["healthy"], want["open"], want["partial"] = nil, 2.0, true
	check()
	if page := b.Do("GET", u+"/-/health", "").Body; !strings.Contains(page, "Nothing was found") ||
		strings.Contains(page, "All is well") ||
		strings.Contains(page, "Something is to be repaired") {
		t.Errorf("%s", page)
	}
	b.Queue.SetDown(false)
	if _, err := b.Reconciler.Cancel(t.Context(), "waiting", 1); err != nil {
		t.Fatal(err)
	}
	want["healthy"], want["open"], want["partial"] = true, 1.0, false
	check()
	if page := b.Do("GET", u+"/-/health", "").Body; !strings.Contains(page, "All is well") ||
		strings.Count(page, "as it should be") != 3 ||
		strings.Contains(page, "should be 0") {
		t.Errorf("%s", page)
	}
	plant := func(id string, change func(*cases.Case)) {
		c := b.Begin(id)
		c.Version++
		c.Bookkeeping.OverdueAt = time.Now().Add(-10 * time.Minute)
		change(&c)
		if err := b.Store.Update(t.Context(), store.Write{Case: c}); err != nil {
			t.Fatal(err)
		}
	}
	plant("overdue", func(c *cases.Case) { c.Checks.NextAt = c.Bookkeeping.OverdueAt })
	plant("unscheduled", func(c *cases.Case) { c.Checks.NextAt = time.Time{} })
	plant("unpublished", func(c *cases.Case) {
		c.State = cases.Failed
		c.Outcome.EndedAt = c.Bookkeeping.OverdueAt
		c.Outcome.End = &cases.End{Reason: cases.ReasonPipelineFailed, Source: cases.SourceEvent}
	})
	want = map[string]any{
		"healthy":        false,
		"open":           3.0,
		"overdue":        2.0,
		"leaked":         2.0,
		"unpublished":    1.0,
		"oldest_overdue": "then",
		"partial":        false,
	}
	check()
	page := b.Do("GET", u+"/-/health", "").Body
	if !strings.Contains(page, "Something is to be repaired") || strings.Count(page, "should be 0") != 3 ||
		!strings.Contains(page, "The oldest overdue task was due at") ||
		strings.Contains(page, "Not everything") {
		t.Errorf("%s", page)
	}
	b.Queue.SetDown(true)
	if page := b.Do("GET", u+"/-/health", "").Body; !strings.Contains(page, "Not everything was checked") {
		t.Errorf("%s", page)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "0 ms",
		4 * time.Millisecond:    "4 ms",
		1500 * time.Millisecond: "1.5 s",
		2 * time.Second:         "2 s",
		34 * time.Second:        "34 s",
		time.Minute:             "1 min",
		303 * time.Second:       "5 min 3 s",
		time.Hour:               "1 h",
		2*time.Hour + 5*time.Minute + time.Second: "2 h 5 min",
		76 * time.Hour:                          "3 d 4 h",
		72*time.Hour + time.Minute:              "3 d",
		59*time.Minute + 59999*time.Millisecond: "1 h",
	} {
		if got := console.DurationWord(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	long := json.RawMessage(`"` + strings.Repeat("é", 10000) + `"`)
	if e := console.Shown(long); !e.Cut || len(e.Text) > 16<<10 || !strings.HasSuffix(e.Text, "é") ||
		e.Bytes != len(long) {
		t.Errorf("%d bytes of %d, cut %v", len(e.Text), e.Bytes, e.Cut)
	}
	if e := console.Shown(json.RawMessage(`not JSON`)); e.Text != "not JSON" || e.Cut || console.Shown(nil) != nil {
		t.Errorf("%+v", e)
	}
}

// FuzzShown checks that the shown text is the beginning of the JSON as json.Indent writes it, and
// not longer than the limit.
func FuzzShown(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,{"b":"\\\"]"},[],{} ],"é":null}`, ` [ [ ] , { } ] `, `"x"`, "1", "{",
		strings.Repeat("[", 200) + strings.Repeat("]", 200),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e := console.Shown(raw)
		if len(raw) == 0 {
			return
		}
		want := string(raw)
		var b bytes.Buffer
		if json.Indent(&b, bytes.TrimSpace(raw), "", "  ") == nil {
			want = b.String()
		}
		if len(e.Text) > 16<<10 || e.Bytes != len(raw) || e.Cut != (len(want) > 16<<10) ||
			!strings.HasPrefix(want, e.Text) ||
			!e.Cut && e.Text != want {
			t.Errorf("%q is shown as %q, cut %v", raw, e.Text, e.Cut)
		}
	})
}

// Half a megabyte of deeply nested JSON becomes gigabytes when it is indented.
func TestDeeplyNestedResultNeedsLittleMemory(t *testing.T) {
	const depth = 9000
	bomb := json.RawMessage(
		strings.Repeat("[", depth) + strings.Repeat("0,", 240<<10) + "0" + strings.Repeat("]", depth),
	)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if e := console.Shown(bomb); !e.Cut || e.Bytes != len(bomb) {
		t.Errorf("%d bytes, cut %v", e.Bytes, e.Cut)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("%d bytes were allocated, want at most 4 MiB", allocated)
	}
}
