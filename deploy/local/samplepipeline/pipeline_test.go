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

// rig is a pipeline behind a real server.
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
		Publish: r.publish, BaseURL: func() string { return r.url }, Dir: dir,
		DocumentTime: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
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

// post sends a form, and returns the status (0: the connection was cut) and the body, decoded if it is JSON.
func (r *rig) post(t *testing.T, form, key string) (int, http.Header, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/api/normalize", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
		request.GetBody = nil // or net/http repeats it by itself
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

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

const people = `"PlaintiffDetails":[{"Id":1,"FirstName":"Ana","LastName":"Ruiz","HeadOfHousehold":"true"},{"FirstName":"Bo","LastName":"Li"},{"LastName":"Cole"}],
	"DefendantDetails2":[{"LastName":"Harbor Homes","EntityType":"LLC"},{"FirstName":"Dan","LastName":"Dole","EntityType":"individual"}]`

// eighteen is a form of 18 documents.
func eighteen(id, sample string) string {
	return fmt.Sprintf(`{"case_id":%q,"run":2,%s,"document_types":["srogs","pods","admissions"],"sample":%s}`, id, people, sample)
}

func TestSyncAnswersWithTheResult(t *testing.T) {
	r := newRig(t, t.TempDir())
	code, _, body := r.post(t, eighteen("case-1", `{}`), "case-1:2")
	if code != 200 || body["success"] != true || body["case_id"] != "case-1" {
		t.Fatalf("%d %v", code, body)
	}
	url := r.url + "/documents/case-1/2/"
	s := body["webhook_summary"].(map[string]any)
	results := s["results"].([]any)
	delete(s, "results")
	if diff := cmp.Diff(map[string]any{"total_sets": 18.0, "succeeded": 18.0, "failed": 0.0, "output_url": url}, s); diff != "" {
		t.Error(diff)
	}
	if body["output_url"] != url || len(results) != 18 {
		t.Errorf("output_url %v, %d results", body["output_url"], len(results))
	}
	for _, name := range []string{"execution_time_ms", "phase_results"} {
		if body[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	_, progress := r.progressOf(t, "case-1")
	want := map[string]any{"case_id": "case-1", "completed": 18.0, "total": 18.0, "current_doc": "", "progress_percent": 100.0}
	if diff := cmp.Diff(want, progress); diff != "" {
		t.Error(diff)
	}
	if code, _ := r.progressOf(t, "other"); code != 404 {
		t.Errorf("an unknown case's progress: %d", code)
	}
}

func TestAsyncPublishesItsEnd(t *testing.T) {
	r := newRig(t, t.TempDir())
	if code, _, body := r.post(t, eighteen("a", `{"mode":"async"}`), ""); code != 202 {
		t.Fatalf("%d %v", code, body)
	}
	eventually(t, "four events", func() bool { return len(r.published()) == 4 })
	events := r.published()
	for i, completed := range []float64{5, 9, 14} {
		e := events[i]
		if e["status"] != "running" || e["run"] != 2.0 || e["progress"].(map[string]any)["completed"] != completed {
			t.Errorf("event %d: %v", i, e)
		}
	}
	last := events[3]
	if last["status"] != "succeeded" || last["case_id"] != "a" || last["result"].(map[string]any)["success"] != true {
		t.Errorf("last event: %v", last)
	}
}

func TestFaults(t *testing.T) {
	result := func(succeeded, failed float64) func(*testing.T, *rig, string, int, map[string]any) {
		return func(t *testing.T, r *rig, id string, code int, body map[string]any) {
			s, _ := body["webhook_summary"].(map[string]any)
			if code != 200 || body["success"] != true || s["succeeded"] != succeeded || s["failed"] != failed {
				t.Errorf("%d %v", code, body)
			}
		}
	}
	cutOff := func(t *testing.T, _ *rig, _ string, code int, _ map[string]any) {
		if code != 0 {
			t.Errorf("answered %d", code)
		}
	}
	completed := func(want float64) func(*testing.T, *rig, string, int, map[string]any) {
		return func(t *testing.T, r *rig, id string, _ int, _ map[string]any) {
			eventually(t, "the job is over", func() bool { return r.Stats().Running == 0 })
			if _, body := r.progressOf(t, id); body["completed"] != want {
				t.Errorf("progress %v", body)
			}
		}
	}
	type check = func(*testing.T, *rig, string, int, map[string]any)
	for _, tc := range []struct {
		name, sample string
		checks       []check
	}{
		{"fail", `{"fault":"fail","at":2}`, []check{func(t *testing.T, r *rig, _ string, code int, body map[string]any) {
			d, _ := body["detail"].(map[string]any)
			if code != 500 || d["success"] != false || d["error"] != "document generation failed after 2 of 18 documents" {
				t.Errorf("%d %v", code, body)
			}
			if n := len(r.published()); n > 0 {
				t.Errorf("%d events in mode sync", n)
			}
		}}},
		{"fail silently", `{"mode":"silent","fault":"fail"}`, []check{func(t *testing.T, r *rig, id string, code int, _ map[string]any) {
			eventually(t, "status failed", func() bool {
				_, p := r.progressOf(t, id)
				return code == 202 && p["status"] == "failed" && p["completed"] == 9.0 && p["error"] != ""
			})
		}}},
		{"fail_event", `{"fault":"fail_event","at":18}`, []check{func(t *testing.T, r *rig, id string, code int, _ map[string]any) {
			eventually(t, "a failed event", func() bool {
				e := r.published()
				if code != 202 || len(e) == 0 || e[len(e)-1]["status"] != "failed" {
					return false
				}
				detail, _ := e[len(e)-1]["error"].(map[string]any)
				return detail["code"] == "generation_failed" && detail["message"] != ""
			})
		}}},
		{"forget", `{"fault":"forget"}`, []check{cutOff, func(t *testing.T, r *rig, id string, _ int, _ map[string]any) {
			if code, _ := r.progressOf(t, id); code != 404 {
				t.Errorf("progress of a forgotten job: %d", code)
			}
		}}},
		{"stop short", `{"mode":"silent","fault":"stop_short"}`, []check{completed(17)}},
		{"stop short, held", `{"fault":"stop_short"}`, []check{result(17, 1), completed(17)}},
		{"some fail", `{"fault":"some_fail"}`, []check{result(12, 6), completed(18)}},
		{"none succeed", `{"fault":"none_succeed"}`, []check{result(0, 18), completed(18)}},
		{"reset", `{"fault":"reset","at":1}`, []check{cutOff, completed(18)}},
		{"reset at once", `{"mode":"async","fault":"reset"}`, []check{cutOff, completed(18)}},
		{"refuse", `{"fault":"refuse"}`, []check{func(t *testing.T, r *rig, id string, code int, body map[string]any) {
			first, _ := body["detail"].([]any)
			if code != 422 || len(first) != 1 || first[0].(map[string]any)["msg"] != "Field required" || r.Stats().Started != 0 {
				t.Errorf("%d %v, %+v", code, body, r.Stats())
			}
		}}},
		{"error500", `{"fault":"error500"}`, []check{func(t *testing.T, r *rig, _ string, code int, body map[string]any) {
			if code != 500 || body["detail"] != "Internal Server Error" || r.Stats().Started != 0 {
				t.Errorf("%d %v", code, body)
			}
		}}},
		{"not JSON", `{"fault":"not_json"}`, []check{func(t *testing.T, _ *rig, _ string, code int, body map[string]any) {
			if code != 200 || body != nil {
				t.Errorf("%d %v", code, body)
			}
		}, completed(18)}},
		{"down", `{"fault":"down"}`, []check{result(18, 0), func(t *testing.T, r *rig, id string, _ int, _ map[string]any) {
			if code, _ := r.progressOf(t, id); code != 0 {
				t.Errorf("progress answered %d", code)
			}
		}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, t.TempDir())
			code, _, body := r.post(t, eighteen("c", tc.sample), "")
			for _, check := range tc.checks {
				check(t, r, "c", code, body)
			}
		})
	}
}

func TestBusyTwiceThenItWorks(t *testing.T) {
	r := newRig(t, t.TempDir())
	for _, want := range []int{503, 503, 200, 200} {
		code, header, body := r.post(t, eighteen("b", `{"fault":"busy"}`), "b:1")
		if code != want || (code == 503) != (header.Get("Retry-After") == "2") {
			t.Fatalf("%d %v, want %d", code, body, want)
		}
	}
	if got := r.Stats(); got.Started != 1 || got.Joined != 1 {
		t.Errorf("%+v", got)
	}
}

func TestSameKeyStartsOnce(t *testing.T) {
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
			t.Errorf("answers differ: %v, %v", got, later["execution_time_ms"])
		}
	}
	if got := r.Stats(); got.Started != 1 || got.Joined != 5 || got.Running != 0 {
		t.Errorf("%+v", got)
	}
	r.post(t, eighteen("k", `{}`), "k:2")
	r.post(t, eighteen("k", `{}`), "")
	if got := r.Stats().Started; got != 3 {
		t.Errorf("%d jobs for three keys", got)
	}
}

func TestJobOutlivesItsCaller(t *testing.T) {
	r := newRig(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	request, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/api/normalize", strings.NewReader(eighteen("gone", `{}`)))
	gone := make(chan error, 1)
	go func() {
		response, err := r.client.Do(request)
		if err == nil {
			response.Body.Close()
		}
		gone <- err
	}()
	eventually(t, "the job runs", func() bool { return r.Stats().Started == 1 })
	cancel()
	if err := <-gone; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "all documents", func() bool { _, p := r.progressOf(t, "gone"); return p["completed"] == 18.0 })
}

func TestTimeOfDocumentsAndFaultsOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{BaseURL: func() string { return "" }, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
		defer p.Close()
		handler := p.Handler()
		call := func(method, path, body string) (int, map[string]any) {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
			var answer map[string]any
			if err := json.NewDecoder(bytes.NewReader(w.Body.Bytes())).Decode(&answer); err != nil {
				t.Fatalf("%d %s: %v", w.Code, w.Body, err)
			}
			return w.Code, answer
		}
		began := time.Now()
		if code, _ := call("POST", "/api/normalize", eighteen("slow", `{"fault":"slow_progress"}`)); code != 200 {
			t.Fatal(code)
		}
		if took := time.Since(began); took < 13*time.Second || took > 23*time.Second {
			t.Errorf("18 documents took %v", took)
		}
		began = time.Now()
		if code, _ := call("GET", "/api/progress/slow", ""); code != 200 || time.Since(began) != 3*time.Second {
			t.Errorf("%d after %v", code, time.Since(began))
		}
		if code, _ := call("POST", "/api/normalize", eighteen("hung", `{"mode":"async","fault":"hang","at":4}`)); code != 202 {
			t.Fatal(code)
		}
		time.Sleep(24 * time.Hour)
		if _, body := call("GET", "/api/progress/hung", ""); body["completed"] != 4.0 {
			t.Errorf("progress after a day: %v", body)
		}
		if got := p.Stats().Running; got != 1 {
			t.Errorf("%d jobs run", got)
		}
	})
}

func TestEndIsPublishedAgainUntilItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		p := New(Options{
			Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
			Publish: func(_ context.Context, data []byte) error {
				if bytes.Contains(data, []byte(`"status":"running"`)) {
					return nil
				}
				if tries = append(tries, time.Now()); len(tries) < 4 {
					return errors.New("down")
				}
				return nil
			},
		})
		defer p.Close()
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/normalize", strings.NewReader(`{"document_types":["pods"],"sample":{"mode":"async"}}`)))
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(tries) != 4 || tries[3].Sub(tries[0]) != 7*time.Second {
			t.Errorf("tries: %v", tries)
		}
	})
}

func TestCloseCutsHeldRequests(t *testing.T) {
	r := newRig(t, t.TempDir())
	codes := make(chan int, 1)
	go func() {
		code, _, _ := r.post(t, eighteen("h", `{"fault":"hang"}`), "")
		codes <- code
	}()
	eventually(t, "the job runs", func() bool { return r.Stats().Running == 1 })
	r.Close()
	if code := <-codes; code != 0 {
		t.Errorf("answered %d", code)
	}
	if code, _, _ := r.post(t, eighteen("h2", `{}`), ""); code != 0 {
		t.Errorf("a closed pipeline answered %d", code)
	}
}

func TestOldJobsAreForgotten(t *testing.T) {
	p := New(Options{Dir: t.TempDir()})
	defer p.Close()
	for i := range maxJobs + 3 {
		f := &form{CaseID: text(fmt.Sprint("c", i))}
		j := newJob(f, fmt.Sprint("k", i), "", time.Now())
		p.byKey[j.key], p.byCase[string(f.CaseID)] = j, j
		p.end(j)
	}
	if len(p.ended) != maxJobs || len(p.byKey) != maxJobs || len(p.byCase) != maxJobs || p.byKey["k2"] != nil || p.byKey["k3"] == nil {
		t.Errorf("%d ended, %d keys, %d cases", len(p.ended), len(p.byKey), len(p.byCase))
	}
}
