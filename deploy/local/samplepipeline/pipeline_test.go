package samplepipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a pipeline behind a real HTTP server, with the events that it published.
type rig struct {
	*Pipeline
	url    string
	client *http.Client
	dir    string
	mu     sync.Mutex
	events []map[string]any
}

func newRig(t *testing.T, dir string) *rig {
	t.Helper()
	r := &rig{dir: dir, client: &http.Client{Transport: &http.Transport{}}}
	r.Pipeline = New(Options{
		Publish:      r.publish,
		BaseURL:      func() string { return r.url },
		Dir:          dir,
		DocumentTime: time.Millisecond,
		Logger:       slog.New(slog.DiscardHandler),
	})
	server := httptest.NewServer(r.Handler())
	r.url = server.URL
	t.Cleanup(func() {
		r.Close()
		r.client.CloseIdleConnections()
		server.Close()
	})
	return r
}

func (r *rig) publish(_ context.Context, data []byte) error {
	var e map[string]any
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

func (r *rig) published() []map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]map[string]any(nil), r.events...)
}

// post sends a form and returns the status, the headers and the decoded body of the answer. The
// status is 0 if the connection was reset, and the body is nil if it is not JSON.
func (r *rig) post(t *testing.T, form, key string) (int, http.Header, map[string]any) {
	t.Helper()
	url := r.url + "/api/normalize"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
		request.GetBody = nil // prevents net/http from repeating the request
	}
	return r.do(t, request)
}

func (r *rig) progressOf(t *testing.T, id string) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/progress/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	code, _, body := r.do(t, request)
	return code, body
}

func (r *rig) do(t *testing.T, request *http.Request) (int, http.Header, map[string]any) {
	t.Helper()
	request.Close = true
	response, err := r.client.Do(request)
	if err != nil {
		return 0, nil, nil
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, nil
	}
	var body map[string]any
	_ = json.Unmarshal(data, &body) // nil if it is not JSON
	return response.StatusCode, response.Header, body
}

func eventually(t *testing.T, condition string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", condition)
		}
	}
}

const people = `"PlaintiffDetails": [
		{"Id": 1, "FirstName": "Ana", "LastName": "Ruiz", "HeadOfHousehold": "true"},
		{"FirstName": "Bo", "LastName": "Li"},
		{"LastName": "Cole"}
	],
	"DefendantDetails2": [
		{"LastName": "Harbor Homes", "EntityType": "LLC"},
		{"FirstName": "Dan", "LastName": "Dole", "EntityType": "individual"}
	]`

// eighteen returns a form of 18 documents.
func eighteen(id, sample string) string {
	return fmt.Sprintf(`{
		"case_id": %q, "run": 2, %s,
		"document_types": ["srogs", "pods", "admissions"], "sample": %s
	}`, id, people, sample)
}

func TestModeSyncAnswersWithTheResult(t *testing.T) {
	r := newRig(t, t.TempDir())
	code, _, body := r.post(t, eighteen("case-1", `{}`), "case-1:2")
	if code != 200 || body["success"] != true || body["case_id"] != "case-1" {
		t.Fatalf("the answer is %d %v, want 200 with a success", code, body)
	}
	url := r.url + "/documents/case-1/2/"
	s := body["webhook_summary"].(map[string]any)
	results := s["results"].([]any)
	delete(s, "results")
	wantSummary := map[string]any{"total_sets": 18.0, "succeeded": 18.0, "failed": 0.0, "output_url": url}
	if diff := cmp.Diff(wantSummary, s); diff != "" {
		t.Errorf("the summary (-want +got):\n%s", diff)
	}
	if body["output_url"] != url || len(results) != 18 {
		t.Errorf("output_url is %v with %d results, want %s with 18", body["output_url"], len(results), url)
	}
	for _, name := range []string{"execution_time_ms", "phase_results"} {
		if body[name] == nil {
			t.Errorf("the result has no %s", name)
		}
	}
	_, progress := r.progressOf(t, "case-1")
	wantProgress := map[string]any{
		"case_id": "case-1", "completed": 18.0, "total": 18.0, "current_doc": "", "progress_percent": 100.0,
	}
	if diff := cmp.Diff(wantProgress, progress); diff != "" {
		t.Errorf("the progress (-want +got):\n%s", diff)
	}
	if code, _ := r.progressOf(t, "other"); code != 404 {
		t.Errorf("the progress of an unknown case is %d, want 404", code)
	}
}

func TestModeAsyncPublishesProgressAndEnd(t *testing.T) {
	r := newRig(t, t.TempDir())
	if code, _, body := r.post(t, eighteen("a", `{"mode":"async"}`), ""); code != 202 {
		t.Fatalf("the answer is %d %v, want 202", code, body)
	}
	eventually(t, "four events", func() bool { return len(r.published()) == 4 })
	events := r.published()
	for i, completed := range []float64{5, 9, 14} {
		e := events[i]
		if e["status"] != "running" || e["run"] != 2.0 || e["progress"].(map[string]any)["completed"] != completed {
			t.Errorf("event %d is %v, want run 2 with %v completed documents", i, e, completed)
		}
	}
	last := events[3]
	if last["status"] != "succeeded" || last["case_id"] != "a" ||
		last["result"].(map[string]any)["success"] != true {
		t.Errorf("the last event is %v, want the success of case a", last)
	}
}

// faultCase is what the checks of a fault get: the pipeline, and its answer to a form of 18
// documents.
type faultCase struct {
	*rig
	code int // 0 if the connection was reset
	body map[string]any
}

// wantResult expects the result of a job, with its counts of documents.
func wantResult(succeeded, failed float64) func(*testing.T, faultCase) {
	return func(t *testing.T, c faultCase) {
		s, _ := c.body["webhook_summary"].(map[string]any)
		if c.code != 200 || c.body["success"] != true || s["succeeded"] != succeeded || s["failed"] != failed {
			t.Errorf("the answer is %d %v, want 200 with %v succeeded and %v failed", c.code, c.body, succeeded, failed)
		}
	}
}

func wantReset(t *testing.T, c faultCase) {
	if c.code != 0 {
		t.Errorf("the answer is %d, want a reset", c.code)
	}
}

// wantCompleted waits for the end of the job, and expects its progress.
func wantCompleted(want float64) func(*testing.T, faultCase) {
	return func(t *testing.T, c faultCase) {
		eventually(t, "the job has ended", func() bool { return c.Stats().Running == 0 })
		if _, progress := c.progressOf(t, "c"); progress["completed"] != want {
			t.Errorf("the progress is %v, want %v completed", progress, want)
		}
	}
}

// wantProgressCode expects the status of the progress endpoint.
func wantProgressCode(want int) func(*testing.T, faultCase) {
	return func(t *testing.T, c faultCase) {
		if code, _ := c.progressOf(t, "c"); code != want {
			t.Errorf("the progress is answered %d, want %d", code, want)
		}
	}
}

func wantFailedAnswer(t *testing.T, c faultCase) {
	d, _ := c.body["detail"].(map[string]any)
	want := "document generation failed after 2 of 18 documents"
	if c.code != 500 || d["success"] != false || d["error"] != want {
		t.Errorf("the answer is %d %v, want 500 with %q", c.code, c.body, want)
	}
	if n := len(c.published()); n > 0 {
		t.Errorf("%d events were published, want none in mode sync", n)
	}
}

func wantFailedProgress(t *testing.T, c faultCase) {
	eventually(t, "the progress has the status failed", func() bool {
		_, p := c.progressOf(t, "c")
		return c.code == 202 && p["status"] == "failed" && p["completed"] == 9.0 && p["error"] != ""
	})
}

func wantFailedEvent(t *testing.T, c faultCase) {
	eventually(t, "a failed event is published", func() bool {
		e := c.published()
		if c.code != 202 || len(e) == 0 || e[len(e)-1]["status"] != "failed" {
			return false
		}
		detail, _ := e[len(e)-1]["error"].(map[string]any)
		return detail["code"] == "generation_failed" && detail["message"] != ""
	})
}

func wantRefusal(t *testing.T, c faultCase) {
	detail, _ := c.body["detail"].([]any)
	if c.code != 422 || len(detail) != 1 || detail[0].(map[string]any)["msg"] != "Field required" {
		t.Errorf("the answer is %d %v, want 422 with a missing field", c.code, c.body)
	}
	if n := c.Stats().Started; n != 0 {
		t.Errorf("%d jobs were started, want none", n)
	}
}

func wantError500(t *testing.T, c faultCase) {
	if c.code != 500 || c.body["detail"] != "Internal Server Error" {
		t.Errorf("the answer is %d %v, want 500 without a report", c.code, c.body)
	}
	if n := c.Stats().Started; n != 0 {
		t.Errorf("%d jobs were started, want none", n)
	}
}

func wantNoJSON(t *testing.T, c faultCase) {
	if c.code != 200 || c.body != nil {
		t.Errorf("the answer is %d %v, want 200 without JSON", c.code, c.body)
	}
}

func TestFaults(t *testing.T) {
	type checks []func(*testing.T, faultCase)
	for _, test := range []struct {
		name, sample string
		checks       checks
	}{
		{"fail", `{"fault":"fail","at":2}`, checks{wantFailedAnswer}},
		{"fail in mode silent", `{"mode":"silent","fault":"fail"}`, checks{wantFailedProgress}},
		{"fail_event", `{"fault":"fail_event","at":18}`, checks{wantFailedEvent}},
		{"forget", `{"fault":"forget"}`, checks{wantReset, wantProgressCode(404)}},
		{"stop_short in mode silent", `{"mode":"silent","fault":"stop_short"}`, checks{wantCompleted(17)}},
		{"stop_short", `{"fault":"stop_short"}`, checks{wantResult(17, 1), wantCompleted(17)}},
		{"some_fail", `{"fault":"some_fail"}`, checks{wantResult(12, 6), wantCompleted(18)}},
		{"none_succeed", `{"fault":"none_succeed"}`, checks{wantResult(0, 18), wantCompleted(18)}},
		{"reset", `{"fault":"reset","at":1}`, checks{wantReset, wantCompleted(18)}},
		{"reset in mode async", `{"mode":"async","fault":"reset"}`, checks{wantReset, wantCompleted(18)}},
		{"refuse", `{"fault":"refuse"}`, checks{wantRefusal}},
		{"error500", `{"fault":"error500"}`, checks{wantError500}},
		{"not_json", `{"fault":"not_json"}`, checks{wantNoJSON, wantCompleted(18)}},
		{"down", `{"fault":"down"}`, checks{wantResult(18, 0), wantProgressCode(0)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, t.TempDir())
			code, _, body := r.post(t, eighteen("c", test.sample), "")
			for _, check := range test.checks {
				check(t, faultCase{r, code, body})
			}
		})
	}
}

func TestBusyPipelineAcceptsTheThirdRequest(t *testing.T) {
	r := newRig(t, t.TempDir())
	for _, want := range []int{503, 503, 200, 200} {
		code, header, body := r.post(t, eighteen("b", `{"fault":"busy"}`), "b:1")
		if code != want || (code == 503) != (header.Get("Retry-After") == "2") {
			t.Fatalf("the answer is %d %v with Retry-After %q, want %d; 503 has Retry-After 2",
				code, body, header.Get("Retry-After"), want)
		}
	}
	if got := r.Stats(); got.Started != 1 || got.Joined != 1 {
		t.Errorf("the stats are %+v, want one job started and joined once", got)
	}
}

func TestRequestsWithTheSameKeyStartOneJob(t *testing.T) {
	r := newRig(t, t.TempDir())
	var wg sync.WaitGroup
	answers := make(chan float64, 5)
	for range cap(answers) {
		wg.Go(func() {
			_, _, body := r.post(t, eighteen("k", `{}`), "k:1")
			ms, _ := body["execution_time_ms"].(float64)
			answers <- ms
		})
	}
	wg.Wait()
	_, _, later := r.post(t, eighteen("k", `{}`), "k:1")
	for range cap(answers) {
		if got := <-answers; got != later["execution_time_ms"] {
			t.Errorf("execution_time_ms is %v, want %v as in the other answers", got, later["execution_time_ms"])
		}
	}
	if got := r.Stats(); got.Started != 1 || got.Joined != 5 || got.Running != 0 {
		t.Errorf("the stats are %+v, want one job that ended and was joined 5 times", got)
	}
	r.post(t, eighteen("k", `{}`), "k:2")
	r.post(t, eighteen("k", `{}`), "")
	if got := r.Stats().Started; got != 3 {
		t.Errorf("another key and no key lead to %d jobs in total, want 3", got)
	}
}

func TestJobContinuesWhenItsCallerDisconnects(t *testing.T) {
	r := newRig(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	form := strings.NewReader(eighteen("left", `{}`))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/api/normalize", form)
	if err != nil {
		t.Fatal(err)
	}
	disconnected := make(chan error, 1)
	go func() {
		response, err := r.client.Do(request)
		if err == nil {
			response.Body.Close()
		}
		disconnected <- err
	}()
	eventually(t, "the job runs", func() bool { return r.Stats().Started == 1 })
	cancel()
	if err := <-disconnected; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "all documents are done", func() bool {
		_, p := r.progressOf(t, "left")
		return p["completed"] == 18.0
	})
}

func TestTimesOfDocumentsAndFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{
			BaseURL: func() string { return "" },
			Dir:     t.TempDir(),
			Logger:  slog.New(slog.DiscardHandler),
		})
		defer p.Close()
		handler := p.Handler()
		call := func(method, path, body string) (int, map[string]any) {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
			var answer map[string]any
			if err := json.NewDecoder(bytes.NewReader(w.Body.Bytes())).Decode(&answer); err != nil {
				t.Fatalf("the answer %d %s is not JSON: %v", w.Code, w.Body, err)
			}
			return w.Code, answer
		}
		began := time.Now()
		code, _ := call("POST", "/api/normalize", eighteen("slow", `{"fault":"slow_progress"}`))
		if took := time.Since(began); code != 200 || took < 13*time.Second || took > 23*time.Second {
			t.Errorf("18 documents are answered %d after %v, want 200 after 13 to 23 s", code, took)
		}
		began = time.Now()
		code, _ = call("GET", "/api/progress/slow", "")
		if took := time.Since(began); code != 200 || took != 3*time.Second {
			t.Errorf("slow progress is answered %d after %v, want 200 after 3 s", code, took)
		}
		code, _ = call("POST", "/api/normalize", eighteen("hung", `{"mode":"async","fault":"hang","at":4}`))
		if code != 202 {
			t.Fatalf("the answer in mode async is %d, want 202", code)
		}
		time.Sleep(24 * time.Hour)
		if _, body := call("GET", "/api/progress/hung", ""); body["completed"] != 4.0 {
			t.Errorf("the progress of a hanging job after a day is %v, want 4 documents", body)
		}
		if got := p.Stats().Running; got != 1 {
			t.Errorf("%d jobs run, want 1", got)
		}
	})
}

func TestEndIsPublishedUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		p := New(Options{
			Dir:    t.TempDir(),
			Logger: slog.New(slog.DiscardHandler),
			Publish: func(_ context.Context, data []byte) error {
				if bytes.Contains(data, []byte(`"status":"running"`)) {
					return nil
				}
				if tries = append(tries, time.Now()); len(tries) < 4 {
					return errors.New("the topic is unavailable")
				}
				return nil
			},
		})
		defer p.Close()
		form := strings.NewReader(`{"document_types":["pods"],"sample":{"mode":"async"}}`)
		request := httptest.NewRequest(http.MethodPost, "/api/normalize", form)
		p.Handler().ServeHTTP(httptest.NewRecorder(), request)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(tries) != 4 || tries[3].Sub(tries[0]) != 7*time.Second {
			t.Errorf("the end was published at %v, want 4 times within 7 s", tries)
		}
	})
}

func TestCloseResetsWaitingRequests(t *testing.T) {
	r := newRig(t, t.TempDir())
	codes := make(chan int, 1)
	go func() {
		code, _, _ := r.post(t, eighteen("h", `{"fault":"hang"}`), "")
		codes <- code
	}()
	eventually(t, "the job runs", func() bool { return r.Stats().Running == 1 })
	r.Close()
	if code := <-codes; code != 0 {
		t.Errorf("the waiting request is answered %d, want a reset", code)
	}
	if code, _, _ := r.post(t, eighteen("h2", `{}`), ""); code != 0 {
		t.Errorf("a request after Close is answered %d, want a reset", code)
	}
}

func TestOldJobsAreForgotten(t *testing.T) {
	p := New(Options{Dir: t.TempDir()})
	defer p.Close()
	for i := range maxJobs + 3 {
		f := &form{CaseID: text(fmt.Sprint("c", i))}
		j := newJob(t.Context(), f, fmt.Sprint("k", i), "", time.Now())
		p.byKey[j.key], p.byCase[string(f.CaseID)] = j, j
		p.end(j)
	}
	if len(p.ended) != maxJobs || len(p.byKey) != maxJobs || len(p.byCase) != maxJobs {
		t.Errorf("%d ended jobs, %d keys and %d cases are kept, want %d of each",
			len(p.ended), len(p.byKey), len(p.byCase), maxJobs)
	}
	if p.byKey["k2"] != nil || p.byKey["k3"] == nil {
		t.Error("the oldest jobs were not forgotten first")
	}
}
