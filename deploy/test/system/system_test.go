package system_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
	"github.com/casewatch/casewatch/shared/store/firestore/firestoretest"
)

// The accounts that call the private functions.
const (
	tasksAccount     = "tasks@system.iam.gserviceaccount.com"
	pushAccount      = "push@system.iam.gserviceaccount.com"
	schedulerAccount = "scheduler@system.iam.gserviceaccount.com"
)

const (
	apiKey   = "system-key-of-20-characters"
	operator = "operator@example.com" // of the console
)

// times are such that a test can watch; the grace and the back-offs stay longer than a look.
var times = map[string]string{
	"CHECK_MIN_INTERVAL": "200ms", "CHECK_MAX_INTERVAL": "500ms", "CHECK_TIMEOUT": "2s", "COMPLETION_GRACE": "1s",
	"START_GRACE": "2s", "UNREACHABLE_AFTER": "4s",
	"STREAM_HOLD": "3s", // so that every viewer comes back, to the other instance
}

// system is the whole: the functions, and all that they talk to.
type system struct {
	*fleet
	pipe   *pipelinetest.Server
	topics *topics
	issuer *identitytest.Issuer
	tokens *tokens
	tasks  *taskQueue
	// patience is how long a client sends again before it gives up.
	patience time.Duration

	mu       sync.Mutex
	reports  []string    // of the sweeps
	reported []time.Time // when they came
	over     []end

	readers   sync.WaitGroup // of the witnesses
	witnesses []*witness.Witness
}

// tokens are ID tokens of an issuer, each used for every call while the test lasts: they are good
// for an hour, and Google's servers use theirs again too.
type tokens struct {
	issuer *identitytest.Issuer
	mu     sync.Mutex
	known  map[[2]string]string
}

// bearer is what an account puts into Authorization to call an audience.
func (k *tokens) bearer(account, audience string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	to := [2]string{account, audience}
	if k.known[to] == "" {
		k.known[to] = k.issuer.Sign(account, audience)
	}
	return "Bearer " + k.known[to]
}

// end is a run that ended, as its watcher saw it.
type end struct {
	run  run
	view cases.View
}

// newSystem boots everything over a store, in a project of its own: tests share emulators.
//
// Before it boots, each of adjust may change what the functions are told.
func newSystem(t *testing.T, binary, pubsub string, store map[string]string, adjust ...func(*system)) *system {
	t.Helper()
	project := firestoretest.Project()
	s := &system{
		patience: 30 * time.Second, fleet: newFleet(t, binary), pipe: pipelinetest.New(t),
		issuer: identitytest.NewIssuer(t),
	}
	t.Cleanup(s.readers.Wait)
	s.tokens = &tokens{issuer: s.issuer, known: map[[2]string]string{}}
	s.topics = newTopics(t, pubsub, project, "pipeline-events", "ended", "dead-letter")
	s.topics.subscribe(t, "ended-test", "ended", "")
	s.topics.subscribe(t, "dead-letter-test", "dead-letter", "")
	s.topics.subscribe(t, "complete", "pipeline-events", s.pusher(t))
	s.pipe.OnEnd = func(event []byte) { s.topics.publish(t, "pipeline-events", event) }

	var queues []string
	for _, id := range []string{"check-0", "check-1", "dispatch"} {
		queues = append(queues, "projects/"+project+"/locations/us-central1/queues/"+id)
	}
	s.tasks = startQueue(t, s.issuer, queues...)
	t.Cleanup(func() {
		s.pipe.Close() // what it holds ends first
		s.tasks.kill()
	})

	for _, env := range []map[string]string{times, store, {
		"PIPELINE_API_URL": s.pipe.URL, "GOOGLE_CLOUD_PROJECT": project, "TASKS_LOCATION": "us-central1",
		"CHECK_QUEUE": "check", "DISPATCH_QUEUE": "dispatch", "QUEUE_SHARDS": "2",
		"PIPELINE_EVENTS_TOPIC": "pipeline-events", "ENDED_TOPIC": "ended", "DEAD_LETTER_TOPIC": "dead-letter",
		"TASKS_SERVICE_ACCOUNT": tasksAccount, "INVOKER_ISSUER": s.issuer.URL,
		"API_KEYS": apiKey, "TOKEN_SECRET": strings.Repeat("s", 32),
		"CLOUD_TASKS_EMULATOR_HOST": s.tasks.addr, "PUBSUB_EMULATOR_HOST": pubsub,
	}} {
		for name, value := range env {
			s.env[name] = value
		}
	}
	callers := map[string]string{
		"check": tasksAccount, "dispatch": tasksAccount, "complete": pushAccount, "sweep": schedulerAccount,
	}
	for _, name := range config.Functions() {
		s.env[strings.ToUpper(name)+"_URL"] = s.routers[name].url
		if callers[name] != "" {
			s.own[name] = map[string]string{
				"INVOKER_SERVICE_ACCOUNTS": callers[name], "INVOKER_AUDIENCES": s.routers[name].url,
			}
		}
	}
	s.own["console"] = map[string]string{"CONSOLE_USERS": operator, "CONSOLE_AUDIENCES": s.routers["console"].url}
	for _, change := range adjust {
		change(s)
	}
	s.start()
	s.sweepOften()
	return s
}

// pusher is the address to which the emulator pushes. The emulator signs nothing, unlike Pub/Sub,
// so the token is added here.
func (s *system) pusher(t *testing.T) string {
	complete := s.routers["complete"]
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", s.tokens.bearer(pushAccount, complete.url))
		complete.ServeHTTP(w, r)
	})
}

// sweepOften calls sweep as Cloud Scheduler does, until the test ends.
func (s *system) sweepOften() {
	ctx, stop := context.WithCancel(context.Background())
	var calling sync.WaitGroup
	calling.Go(func() {
		every := time.NewTicker(2 * time.Second)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
			sweep := s.routers["sweep"].url
			code, body, err := send(ctx, http.MethodPost, sweep, "",
				"Authorization", s.tokens.bearer(schedulerAccount, sweep))
			if err == nil && code == http.StatusOK {
				s.mu.Lock()
				s.reports, s.reported = append(s.reports, string(body)), append(s.reported, time.Now())
				s.mu.Unlock()
			}
		}
	})
	s.t.Cleanup(func() { stop(); calling.Wait() })
}

// report is what the sweeps that begin from now on find: the second next one, so that it saw everything.
func (s *system) report() string {
	s.t.Helper()
	s.mu.Lock()
	want := len(s.reports) + 2
	s.mu.Unlock()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		s.mu.Lock()
		n := len(s.reports)
		s.mu.Unlock()
		if n >= want {
			return s.reports[want-1]
		}
	}
	s.t.Fatal("nobody swept for a minute")
	return ""
}

// sweepReport is what a sweep answers, as far as it is read here.
type sweepReport struct{ Open, Overdue, Rearmed, Republished, Leaked int }

// sweepsClean wants a sweep to find nothing. Sweeps overlap, so that one that began before the end was
// reached may be the last to answer: it gets three tries.
func (s *system) sweepsClean(t *testing.T) (found sweepReport) {
	t.Helper()
	var text string
	var err error
	for range 3 {
		text, found = s.report(), sweepReport{}
		err = json.Unmarshal([]byte(text), &found)
		if err == nil && found.Open+found.Overdue+found.Republished+found.Leaked == 0 {
			return found
		}
	}
	t.Errorf("the sweep reports %s (%v)", text, err)
	return found
}

// send sends over a connection of its own.
func send(ctx context.Context, method, to, body string, header ...string) (int, []byte, error) {
	return sendBy(ctx, plain, method, to, body, header...)
}

func sendBy(ctx context.Context, client *http.Client, method, to, body string, header ...string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	return res.StatusCode, data, err
}

// run is a run that was started.
type run struct {
	ID        string `json:"case_id"`
	Run       int    `json:"run"`
	StatusURL string `json:"status_url"`
	CancelURL string `json:"cancel_url"`
}

// persist sends again while an instance that died is replaced, as a client does that may: what it
// asks for is the same however often it asks.
func (s *system) persist(method, to, body string, header ...string) (code int, answer []byte) {
	s.t.Helper()
	var err error
	for end := time.Now().Add(s.patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if code, answer, err = send(s.t.Context(), method, to, body, header...); err == nil && code < 500 {
			return code, answer
		}
	}
	s.giveUp("%s %s: %d %s (%v)", method, to, code, answer, err)
	return 0, nil
}

// begin starts a case as a form frontend does. The key makes a start that is sent again the same
// one, also one that supersedes.
func (s *system) begin(form, query string) run {
	s.t.Helper()
	code, body := s.persist(http.MethodPost, s.routers["start"].url+"/"+query, form, "X-API-Key", apiKey,
		"Idempotency-Key", rand.Text())
	var r run
	if err := json.Unmarshal(body, &r); err != nil || code != http.StatusAccepted && code != http.StatusOK {
		s.giveUp("start: %d %s", code, body)
	}
	return r
}

// view reads a run as a holder of an API key does. Witnesses read by the token of the status_url.
func (s *system) view(r run) (cases.View, bool) {
	to := fmt.Sprintf("%s/%s?run=%d", s.routers["status"].url, r.ID, r.Run)
	code, body, err := send(s.t.Context(), http.MethodGet, to, "", "X-API-Key", apiKey)
	var v cases.View
	return v, err == nil && code == http.StatusOK && json.Unmarshal(body, &v) == nil
}

// until looks at a run until the condition holds.
func (s *system) until(r run, what string, holds func(cases.View) bool) cases.View {
	s.t.Helper()
	var v cases.View
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var ok bool
		if v, ok = s.view(r); ok && holds(v) {
			return v
		}
	}
	s.giveUp("%s run %d: %s: not in time: %+v", r.ID, r.Run, what, v)
	return v
}

func ended(v cases.View) bool   { return v.EndedAt != nil }
func running(v cases.View) bool { return v.State == cases.Running }

// bothInstances wants every instance of status to say the same of a run.
func (s *system) bothInstances(r run, want cases.View) {
	s.t.Helper()
	u, err := url.Parse(r.StatusURL)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, i := range s.routers["status"].behind {
		res, err := i.get(s.t.Context(), u.RequestURI()+fmt.Sprint("&run=", r.Run))
		if err != nil {
			s.t.Error(err)
			continue
		}
		var v cases.View
		err = json.NewDecoder(res.Body).Decode(&v)
		_ = res.Body.Close()
		if err != nil || v.State != want.State || v.End == nil || *v.End != *want.End || v.Progress != want.Progress {
			s.t.Errorf("%s run %d: an instance says %+v (%v), another %+v", r.ID, r.Run, v, err, want)
		}
	}
}
