package app_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/drivers"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// tasks is a Cloud Tasks server that keeps what is created, and delivers nothing.
type tasks struct {
	cloudtaskspb.UnimplementedCloudTasksServer
	mu      sync.Mutex
	created []*cloudtaskspb.Task
}

func (s *tasks) CreateTask(_ context.Context, r *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.created = append(s.created, r.GetTask())
	return r.GetTask(), nil
}

func (s *tasks) GetTask(_ context.Context, r *cloudtaskspb.GetTaskRequest) (*cloudtaskspb.Task, error) {
	return &cloudtaskspb.Task{Name: r.GetName()}, nil
}

func (s *tasks) DeleteTask(context.Context, *cloudtaskspb.DeleteTaskRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (s *tasks) all() []*cloudtaskspb.Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*cloudtaskspb.Task(nil), s.created...)
}

// invoker is the account that may call the private functions.
const invoker = "tasks@example-project.iam.gserviceaccount.com"

// place is what the functions of a test share: servers, and the file of a store.
type place struct {
	tasks     *tasks
	topics    *pstest.Server
	db        string
	invoker   string            // the header of a caller of the private functions
	overrides map[string]string // of settings

	mu         sync.Mutex
	pipeline   []*http.Request // what reached it
	opened     int             // how often a store was
	closed     int
	failOpen   error
	tasksAddr  string
	pipelineAt string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{tasks: &tasks{}, topics: pstest.NewServer(), db: filepath.Join(t.TempDir(), "cases.db")}
	for _, topic := range []string{"casewatch-ended", "casewatch-dead-letter"} {
		_, err := p.topics.GServer.CreateTopic(t.Context(),
			&pubsubpb.Topic{Name: "projects/example-project/topics/" + topic})
		if err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	cloudtaskspb.RegisterCloudTasksServer(server, p.tasks)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	pipeline := httptest.NewServer(http.HandlerFunc(p.servePipeline))
	p.tasksAddr, p.pipelineAt = listener.Addr().String(), pipeline.URL
	t.Cleanup(func() {
		pipeline.Close()
		server.Stop()
		serving.Wait()
		if err := p.topics.Close(); err != nil {
			t.Error(err)
		}
	})
	issuer := identitytest.NewIssuer(t)
	p.invoker = "Authorization: Bearer " + issuer.Sign(invoker, "https://functions.example")
	p.overrides = map[string]string{
		"PIPELINE_API_URL": p.pipelineAt, "PIPELINE_AUTH": "none", "TASKS_SERVICE_ACCOUNT": "",
		"INVOKER_SERVICE_ACCOUNTS": invoker, "INVOKER_AUDIENCES": "https://functions.example",
		"INVOKER_ISSUER":            issuer.URL,
		"CLOUD_TASKS_EMULATOR_HOST": p.tasksAddr, "PUBSUB_EMULATOR_HOST": p.topics.Addr,
	}
	return p
}

func (p *place) servePipeline(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.pipeline = append(p.pipeline, r)
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	_, _ = w.Write([]byte(`{"case_id":"c","completed":1,"total":4,"current_doc":"x","progress_percent":25}`))
}

func (p *place) reached() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*http.Request(nil), p.pipeline...)
}

// lookup is the environment of a function: the examples of all settings that it uses, and no
// others.
func (p *place) lookup(function string) func(string) (string, bool) {
	env := map[string]string{}
	for _, s := range config.Settings() {
		if value, ok := p.overrides[s.Name]; ok && s.UsedBy(function) {
			env[s.Name] = value
		} else if s.Example != "" && s.UsedBy(function) {
			env[s.Name] = s.Example
		}
	}
	delete(env, "TASKS_SERVICE_ACCOUNT") // tokens are Google's to make
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

// open opens the store that the example names, in a file.
func (p *place) open(ctx context.Context, _ store.Options) (store.Store, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened++
	if p.failOpen != nil {
		return nil, p.failOpen
	}
	s, err := sqlite.Open(ctx, store.Options{Location: p.db})
	if err != nil {
		return nil, err
	}
	return &closing{s, p}, nil
}

func (p *place) counts() (opened, closed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened, p.closed
}

// closing is a store that tells when it is closed.
type closing struct {
	store.Store
	place *place
}

func (c *closing) Close() error {
	c.place.mu.Lock()
	c.place.closed++
	c.place.mu.Unlock()
	return c.Store.Close()
}

// process returns a function's process, which is closed when the test ends, and its log.
func (p *place) process(t *testing.T, function string) (*app.Process, *buffer) {
	t.Helper()
	log := &buffer{}
	process := app.New(
		function,
		app.Options{Lookup: p.lookup(function), Log: log, Stores: map[string]store.Opener{drivers.Firestore: p.open}},
	)
	t.Cleanup(func() {
		if err := process.Close(); err != nil {
			t.Error(err)
		}
	})
	return process, log
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// call serves one request; header is "Name: value" lines.
func call(t *testing.T, h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
