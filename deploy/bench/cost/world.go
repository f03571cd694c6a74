package cost

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/gcplog"
	"github.com/casewatch/casewatch/shared/pipeline/report"
	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// How the pipeline tells the end.
const (
	ByAnswer  = "answer at the end"
	ByEvent   = "event"
	ByPolling = "polling alone"
)

// Setting is one case: how long the pipeline works on it and how it tells the end, and who watches.
type Setting struct {
	End    string
	Length time.Duration
	// Viewers each watch from the beginning, for Watch or until the end.
	Viewers int
	Watch   time.Duration
	Streams bool // by held streams; else they ask for the status when Retry-After says
}

const (
	documents = 60
	apiKey    = "example-api-key-of-20"
	caseID    = "case"
	trace     = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

// world is what surrounds the functions.
type world struct {
	t     *testing.T
	n     *Count
	s     Setting
	cfg   *config.Config
	kept  *memory
	began time.Time
	live  sync.WaitGroup

	mu    sync.Mutex
	tasks map[string]bool // by name; false once it is deleted
}

// Play runs one case to the end of its retention. It returns what it took, and its record as it was when it had ended.
func Play(t *testing.T, s Setting) (n *Count, ended cases.Case) {
	t.Helper()
	cfg, err := settings()
	if err != nil {
		t.Fatal(err)
	}
	n = &Count{Invocations: map[string]int{}, Held: map[string]time.Duration{}}
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, n: n, s: s, cfg: cfg, kept: newMemory(), began: time.Now(), tasks: map[string]bool{}}
		w.play()
		ended, _ = w.kept.Get(t.Context(), caseID, 1)
		n.Stored = w.kept.stored()
		time.Sleep(cfg.Rules.Retention + time.Hour)
		// it sweeps for all cases at once: only what it does for this one is counted
		if _, err := w.reconciler(io.Discard).Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return n, ended
}

// settings are the defaults, and the documentation's examples of what has none.
func settings() (*config.Config, error) {
	instead := map[string]string{"API_KEYS": apiKey, "PIPELINE_AUTH": "none"}
	return config.Load(config.Local, func(name string) (string, bool) {
		for _, s := range config.Settings() {
			if s.Name == name {
				value, given := instead[name]
				if !given && s.Default == "" {
					value = s.Example
				}
				return value, value != ""
			}
		}
		return "", false
	})
}

func (w *world) play() {
	w.n.invoke("start", func() {
		req := reconcile.StartRequest{CaseID: caseID, Form: form(), TraceParent: trace}
		if _, err := w.reconciler(w.n).Start(w.t.Context(), req); err != nil {
			w.t.Error(err)
		}
	})
	viewed := w.reconciler(w.n) // the viewers of a case share a wait where they share an instance
	for i := range w.s.Viewers {
		w.live.Go(func() {
			// at no moment at which anything else happens
			time.Sleep(time.Duration(i)*time.Second + 431*time.Millisecond)
			w.view(status.New(w.cfg, viewed))
		})
	}
	if w.s.End == ByEvent {
		w.live.Go(w.event)
	}
	w.live.Wait()
}

// reconciler is the reconciler of one function.
func (w *world) reconciler(log io.Writer) *reconcile.Reconciler {
	made, err := reconcile.New(app.ReconcileConfig(w.cfg), reconcile.Deps{
		Store: counted{w.kept, w.n}, Queue: (*tasks)(w), Pipeline: (*pipeline)(w), Events: (*topic)(w),
		Now: time.Now, Jitter: func() float64 { return 0.5 }, Nonce: func() string {
			return "0191e4b8-0000-7000-8000-000000000000"
		},
		Log: slog.New(gcplog.New(log, gcplog.Options{Project: "example-project"})),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// form is a form of the size that the real frontend sends.
func form() []byte {
	return []byte(`{"case_id":"` + caseID + `","Form":{"Id":"1"},"PlaintiffDetails":[` +
		strings.TrimSuffix(strings.Repeat(`{"Id":"1","FirstName":"Ann","LastName":"Example"},`, 20), ",") + `]}`)
}

// result is the pipeline's, with a line for each document.
func result() []byte {
	line := `{"set":1,"status":"ok","url":"https://documents.example.com/case/document.pdf"},`
	return fmt.Appendf(nil, `{"success":true,"case_id":"%s","execution_time_ms":1,"webhook_summary":{"total_sets":%d,`+
		`"succeeded":%d,"failed":0,"output_url":"https://documents.example.com/case","results":[%s]}}`,
		caseID, documents, documents, strings.TrimSuffix(strings.Repeat(line, documents), ","))
}

func parsed() *cases.Result {
	r, err := report.ParseResult(result())
	if err != nil {
		panic(err) // it is ours
	}
	return r.Kept()
}

// event publishes the pipeline's event at the end, which Pub/Sub delivers.
func (w *world) event() {
	time.Sleep(w.s.Length)
	data := fmt.Appendf(nil, `{"case_id":"%s","run":1,"status":"succeeded","result":%s}`, caseID, result())
	w.n.message(len(data)) // published
	w.n.message(len(data)) // delivered
	w.n.invoke("complete", func() {
		err := w.reconciler(w.n).Complete(w.t.Context(), reconcile.Message{ID: "1", Published: time.Now(), Data: data})
		if err != nil {
			w.t.Error(err)
		}
	})
}

// view is one viewer.
func (w *world) view(h http.Handler) {
	until := min(w.s.Watch, w.s.Length+time.Minute)
	for lastID := ""; ; {
		left := until - time.Since(w.began)
		if left <= 0 {
			return
		}
		ctx, leave := context.WithCancel(w.t.Context())
		leaving := time.AfterFunc(left, leave) // a viewer who leaves is no deadline that the stream could know
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/"+caseID, http.NoBody)
		r.Header.Set("X-API-Key", apiKey)
		if w.s.Streams {
			r.Header.Set("Accept", "text/event-stream")
			r.Header.Set("Last-Event-ID", lastID)
		}
		answer := httptest.NewRecorder()
		w.n.invoke("status", func() { h.ServeHTTP(answer, r) })
		leaving.Stop()
		leave()
		body := answer.Body.String()
		var headers strings.Builder
		_ = answer.Header().Write(&headers) // to memory
		w.n.add(func() { w.n.Sent += len(body) + headers.Len() })
		if answer.Code >= 400 {
			w.t.Errorf("a viewer is answered %d: %s", answer.Code, body)
			return
		}
		if i := strings.LastIndex(body, "id: "); i >= 0 {
			lastID, _, _ = strings.Cut(body[i+len("id: "):], "\n")
		}
		again, err := strconv.Atoi(answer.Header().Get("Retry-After"))
		switch {
		case strings.Contains(body, "event: complete") || answer.Code == http.StatusNoContent ||
			!w.s.Streams && err != nil:
			return // it has seen the end
		case w.s.Streams:
			again = 2
		}
		time.Sleep(time.Duration(again) * time.Second)
	}
}

// tasks is Cloud Tasks in health: each task is delivered once, when it is due.
type tasks world

func (q *tasks) Create(_ context.Context, t queue.Task) (bool, error) {
	w := (*world)(q)
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, taken := w.tasks[t.Name()]; taken {
		return false, nil
	}
	w.tasks[t.Name()] = true
	w.n.add(func() { w.n.Created++ })
	w.live.Go(func() { w.deliver(t) })
	return true, nil
}

func (w *world) deliver(t queue.Task) {
	time.Sleep(time.Until(t.At))
	w.mu.Lock()
	pending := w.tasks[t.Name()]
	w.mu.Unlock()
	if !pending {
		return
	}
	w.n.add(func() { w.n.Delivered++ })
	body, own := queue.Body{CaseID: t.CaseID, Run: t.Run, Seq: t.Seq}, w.reconciler(w.n)
	w.n.invoke(string(t.Kind), func() {
		var err error
		if t.Kind == queue.Dispatch {
			err = own.Dispatch(w.t.Context(), body, 0)
		} else {
			err = own.Check(w.t.Context(), body)
		}
		if err != nil {
			w.t.Errorf("%s: %v", t.Kind, err)
		}
	})
}

func (q *tasks) Delete(_ context.Context, t queue.Task) error {
	w := (*world)(q)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tasks[t.Name()] = false
	w.n.add(func() { w.n.Deleted++ })
	return nil
}

func (q *tasks) Exists(_ context.Context, t queue.Task) (bool, error) {
	w := (*world)(q)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n.add(func() { w.n.Found++ })
	return w.tasks[t.Name()], nil
}

// topic takes the ended events.
type topic world

func (p *topic) PublishEnded(_ context.Context, v cases.View, _ string) error {
	p.n.message(size(v))
	return nil
}

func (p *topic) ForwardInvalid(context.Context, []byte, map[string]string, string) error {
	return fmt.Errorf("nothing here is invalid")
}

// pipeline works steadily on its documents.
type pipeline world

func (p *pipeline) Dispatch(context.Context, reconcile.Job) cases.DispatchOutcome {
	if p.s.End != ByAnswer {
		return cases.DispatchOutcome{Kind: cases.DispatchAccepted}
	}
	time.Sleep(p.s.Length - time.Since(p.began))
	return cases.DispatchOutcome{Kind: cases.DispatchSucceeded, Result: parsed()}
}

func (p *pipeline) Cancel(context.Context, reconcile.Job) cases.CancelOutcome {
	return cases.CancelOutcome{Kind: cases.CancelConfirmed}
}

func (p *pipeline) ReadCallback(string, map[string][]string, []byte) (reconcile.Callback, error) {
	return reconcile.Callback{}, fmt.Errorf("this pipeline reports nothing by itself")
}

func (p *pipeline) Poll(context.Context, reconcile.Job) cases.CheckOutcome {
	completed := min(int(time.Since(p.began)*documents/p.s.Length), documents)
	found := cases.CheckOutcome{Kind: cases.CheckReading, Reading: cases.Reading{
		Completed: completed, Total: documents, Percent: -1, Current: "document",
	}}
	if completed == documents && p.s.End == ByPolling {
		found.Reading.Status, found.Result = "succeeded", parsed()
	}
	return found
}
