package app_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/functions/registry"
	"github.com/casewatch/casewatch/functions/start"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/drivers"
)

const (
	key  = "X-API-Key: example-key-of-20-characters"
	task = `{"case_id":"c","run":1,"seq":1}`

	isJSON = "Content-Type: application/json"
)

// Every function works with the settings that its documentation gives as examples, each opened on
// its own as when deployed. Together they take one case from its start to its end.
func TestFunctions(t *testing.T) {
	p := newPlace(t)
	message := fmt.Sprintf(
		`{"message":{"messageId":"1","data":%q}}`,
		base64.StdEncoding.EncodeToString([]byte(`{"case_id":"c","run":1,"status":"succeeded","result":{}}`)),
	)
	var served []string
	for _, test := range []struct {
		function           string
		method, path, body string
		header             []string
		want               int
	}{
		{"start", "POST", "/", `{"case_id":"c"}`, []string{key, "Content-Type: application/json"}, 202},
		{"dispatch", "POST", "/", task, []string{isJSON, p.invoker}, 200},
		{"check", "POST", "/", task, []string{isJSON, p.invoker}, 200},
		{"status", "GET", "/c", "", []string{key}, 200},
		{"complete", "POST", "/", message,
			[]string{"Content-Type: application/json", "Ce-Id: 1", "Ce-Specversion: 1.0", "Ce-Source: //pubsub",
				"Ce-Type: google.cloud.pubsub.topic.v1.messagePublished", p.invoker}, 204},
		{"cancel", "POST", "/c", "", []string{key}, 409},
		{"callback", "POST", "/c?run=1&token=" + casetoken.New(casetoken.ToRead, []config.Secret{
			config.NewSecret(strings.Repeat("x", 32)),
		}).Sign("c", time.Now().Add(time.Hour)), "", nil, 401},
		{"sweep", "POST", "/", "", []string{p.invoker}, 200},
		{"console", "GET", "/c", "", nil, 401}, // nobody can show here that Google knows him
	} {
		served = append(served, test.function)
		t.Run(test.function, func(t *testing.T) {
			function, ok := registry.Named(test.function)
			if !ok {
				t.Fatalf("there is no function %s", test.function)
			}
			process, log := p.process(t, test.function)
			h := process.Handler(function.New)
			a := call(t, h, test.method, test.path, test.body, test.header...)
			if a.Code != test.want {
				t.Errorf("%d %s, want %d\n%s", a.Code, a.Body, test.want, log)
			}
			if strings.Contains(log.String(), `"severity":"ERROR"`) ||
				strings.Contains(log.String(), "example-key-of-20-characters") {
				t.Errorf("%s", log)
			}
		})
	}
	all := config.Functions()
	slices.Sort(all)
	slices.Sort(served)
	if !slices.Equal(all, served) {
		t.Errorf("served %v, there are %v", served, all)
	}
	// What they did outside of their store.
	queues := map[string]int{}
	for _, task := range p.tasks.all() {
		queue, _, _ := strings.Cut(task.GetName(), "/tasks/")
		queues[queue[strings.LastIndex(queue, "/")+1:]]++
	}
	if queues["casewatch-dispatch"] != 1 || len(queues) != 2 {
		t.Errorf("tasks by queue: %v", queues)
	}
	var asked []string
	for _, r := range p.reached() {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-API-Key"))
	}
	if strings.Join(
		asked,
		", ",
	) != "POST /api/normalize example-pipeline-key, GET /api/progress/c example-pipeline-key" {
		t.Errorf("the pipeline was asked %v", asked)
	}
	if ended := p.topics.Messages(); len(ended) != 1 || ended[0].Attributes["ce-id"] != "c:1:ended" ||
		ended[0].Attributes["ce-source"] != "/projects/example-project/casewatch" {
		t.Errorf("%+v", ended)
	}
	if opened, closed := p.counts(); opened != len(all) || closed != opened {
		t.Errorf("%d stores were opened, %d closed", opened, closed)
	}
}

// A function opens the clients that it uses and no others: each one costs time at a cold start, and
// needs permissions.
func TestFunctionsOpenOnlyTheirClients(t *testing.T) {
	p := newPlace(t)
	for function, want := range map[string][]string{
		"start":    {"events", "queue", "store"},
		"status":   {"queue", "store"},
		"cancel":   {"events", "queue", "store"},
		"callback": {"events", "pipeline", "queue", "store"},
		"dispatch": {"events", "pipeline", "queue", "store"},
		"check":    {"events", "pipeline", "queue", "store"},
		"complete": {"events", "queue", "store"},
		"sweep":    {"events", "queue", "store"},
		"console":  {"events", "queue", "store"},
	} {
		t.Run(function, func(t *testing.T) {
			process, _ := p.process(t, function)
			cfg, err := process.Config()
			if err != nil {
				t.Fatal(err)
			}
			deps, closers, err := process.OpenClients(t.Context(), cfg)
			for _, closeClient := range closers {
				t.Cleanup(func() { _ = closeClient() })
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for name, opened := range map[string]bool{
				"store": deps.Store != nil, "queue": deps.Queue != nil,
				"events": deps.Events != nil, "pipeline": deps.Pipeline != nil,
			} {
				if opened {
					got = append(got, name)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("clients (-want +got):\n%s", diff)
			}
		})
	}
}

func problem(t *testing.T, code int, contentType, body string) {
	t.Helper()
	var p fault.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || code != 503 || p.Status != 503 ||
		p.Title != "Service Unavailable" ||
		p.Type == "" ||
		p.Detail == "" ||
		contentType != fault.ContentType {
		t.Errorf("%d %s %s: no problem of 503", code, contentType, body)
	}
}

// What cannot be opened is tried again with the next request, and what was opened is kept.
func TestOpenedWhenItCanBe(t *testing.T) {
	p := newPlace(t)
	p.failOpen = errors.New("dial tcp 10.0.0.7: refused")
	process, log := p.process(t, "status")
	h := process.Handler(status.New)
	for range 2 {
		a := call(t, h, "GET", "/c", "", key)
		problem(t, a.Code, a.Header().Get("Content-Type"), a.Body.String())
		if a.Header().Get("Retry-After") != "5" || strings.Contains(a.Body.String(), "10.0.0.7") {
			t.Errorf("%v %s", a.Header(), a.Body)
		}
	}
	if n := strings.Count(log.String(), "10.0.0.7"); n != 2 ||
		!strings.Contains(log.String(), "the function cannot work yet") {
		t.Errorf("%s", log)
	}
	// A browser that wants events would not come back from a 503.
	stream := call(t, h, "GET", "/c", "", key, "Accept: text/event-stream")
	if stream.Code != 200 || stream.Body.String() != "retry: 5000\n" ||
		stream.Header().Get("Content-Type") != "text/event-stream" ||
		stream.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v %s", stream.Code, stream.Header(), stream.Body)
	}
	if a := call(t, h, "POST", "/c", "", key, "Accept: text/event-stream"); a.Code != 503 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	p.mu.Lock()
	p.failOpen = nil
	p.mu.Unlock()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if a := call(t, h, "GET", "/c", "", key); a.Code != 404 {
				t.Errorf("%d %s", a.Code, a.Body)
			}
		})
	}
	wg.Wait()
	if opened, closed := p.counts(); opened != 5 || closed != 0 {
		t.Errorf("%d opened, %d closed", opened, closed)
	}
}

// Handlers of one process share its clients.
func TestHandlersShare(t *testing.T) {
	p := newPlace(t)
	p.overrides["STORE"] = "sqlite:" + p.db
	process := app.New(
		config.Local,
		app.Options{
			Lookup: p.lookup(config.Local),
			Log:    &buffer{},
			Stores: map[string]store.Opener{drivers.SQLite: p.open},
		},
	)
	if a := call(t, process.Handler(start.New), "POST", "/", `{"case_id":"c"}`, key,
		"Content-Type: application/json"); a.Code != 202 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := call(t, process.Handler(status.New), "GET", "/c", "", key); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	for range 2 { // closing twice is closing once
		if err := process.Close(); err != nil {
			t.Error(err)
		}
	}
	if opened, closed := p.counts(); opened != 1 || closed != 1 {
		t.Errorf("%d opened, %d closed", opened, closed)
	}
}

// A client that cannot be opened takes those with it that were opened before.
func TestWhatWasOpenedIsClosed(t *testing.T) {
	p := newPlace(t)
	delete(p.overrides, "CLOUD_TASKS_EMULATOR_HOST")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", t.TempDir()+"/none.json")
	process, log := p.process(t, "start")
	a := call(t, process.Handler(start.New), "POST", "/", `{}`, key, "Content-Type: application/json")
	problem(t, a.Code, a.Header().Get("Content-Type"), a.Body.String())
	if opened, closed := p.counts(); opened != 1 || closed != 1 || !strings.Contains(log.String(), "open Cloud Tasks") {
		t.Errorf("%d opened, %d closed: %s", opened, closed, log)
	}
}

func TestFaultySettings(t *testing.T) {
	env := map[string]string{
		"STORE":                "mysql:password@db",
		"TOKEN_SECRET":         "too-short-secret",
		"GOOGLE_CLOUD_PROJECT": "p p",
		"TASKS_LOCATION":       "europe-west1",
		"CHECK_QUEUE":          "check",
		"CHECK_URL":            "https://check.example",
		"PIPELINE_API_URL":     "https://pipeline.example",
	}
	log := &buffer{}
	process := app.New(
		"status",
		app.Options{Log: log, Lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok }},
	)
	_, err := process.Config()
	var faults *config.Error
	if !errors.As(err, &faults) || len(faults.Faults) != 3 {
		t.Fatalf("%v", err)
	}
	a := call(t, process.Handler(status.New), "GET", "/c", "")
	problem(t, a.Code, a.Header().Get("Content-Type"), a.Body.String())
	for _, name := range []string{"STORE", "TOKEN_SECRET", "GOOGLE_CLOUD_PROJECT"} {
		if !strings.Contains(log.String(), name) || !strings.Contains(err.Error(), name) ||
			strings.Contains(a.Body.String(), name) {
			t.Errorf("%s: %v\n%s\n%s", name, err, log, a.Body)
		}
	}
	if strings.Contains(log.String(), "too-short-secret") || strings.Contains(log.String(), "password") {
		t.Errorf("the log tells a secret: %s", log)
	}
	if err := process.Close(); err != nil {
		t.Error(err)
	}
}

// What is deployed links no embedded store.
func TestNoDriver(t *testing.T) {
	p := newPlace(t)
	p.overrides["STORE"] = "sqlite:cases.db"
	log := &buffer{}
	process := app.New("status", app.Options{Lookup: p.lookup("status"), Log: log})
	var faults *config.Error
	if _, err := process.Config(); !errors.As(err, &faults) || faults.Faults[0].Name != "STORE" {
		t.Errorf("the settings are refused with %v, want a fault of STORE", err)
	}
	a := call(t, process.Handler(status.New), "GET", "/c", "", key)
	problem(t, a.Code, a.Header().Get("Content-Type"), a.Body.String())
	if !strings.Contains(
		log.String(),
		"names sqlite, and this program has no driver for it; it has: firestore, postgres",
	) {
		t.Errorf("%s", log)
	}
}

// Unless it is told otherwise, a process reads the environment, once.
func TestEnvironment(t *testing.T) {
	for _, s := range config.Settings() {
		if s.UsedBy("status") && s.Example != "" {
			t.Setenv(s.Name, s.Example)
		}
	}
	t.Setenv("K_SERVICE", "status")
	process := app.New("status", app.Options{Log: &buffer{}})
	first, err := process.Config()
	if err != nil || first.Project != "example-project" || !first.OnGoogleCloud {
		t.Fatalf("%+v %v", first, err)
	}
	t.Setenv("GOOGLE_CLOUD_PROJECT", "another-project")
	if second, err := process.Config(); err != nil || second != first {
		t.Errorf("%+v %v", second, err)
	}
}
