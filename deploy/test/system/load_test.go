package system_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"

	"github.com/casewatch/casewatch/shared/cases"
)

const (
	loadConnections = 4000 // at once; each is two descriptors of this process
	loadConcurrency = 80   // requests at once of an instance, as Cloud Run has it unless told otherwise
	loadWithin      = 4 * time.Minute
)

// loadTimes leave the ends to the events, as a deployment with events is told to.
var loadTimes = map[string]string{"CHECK_MIN_INTERVAL": "30s", "CHECK_MAX_INTERVAL": "5m", "CHECK_TIMEOUT": "10s",
	"START_GRACE": "2m", "UNREACHABLE_AFTER": "10m"}

// TestLoad starts CASES cases at once, through the address of start, and wants all of them to end,
// no error to go unseen, and the memory of the functions to be what a tenth as many took. In a
// normal run they are 200; `make load` has 10,000.
func TestLoad(t *testing.T) {
	skipShort(t)
	n := 200
	pipe := &loadPipeline{posts: map[string]int{}, atMost: 2 * time.Second}
	if text := os.Getenv("LOAD"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 10 {
			t.Fatalf("LOAD is %q, not a number of at least 10", text)
		}
		pipe.atMost = 5 * time.Second
	}
	url := serve(t, pipe.ServeHTTP)
	s := newSystem(t, build(t, "embedded"), startPubSub(t), map[string]string{
		"STORE": "sqlite:" + filepath.Join(t.TempDir(), "cases.db"),
	}, func(s *system) {
		maps.Copy(s.env, loadTimes)
		s.env["PIPELINE_API_URL"] = url
		for _, r := range s.routers {
			r.limit(loadConcurrency * instances)
		}
		pipe.open(t, s.topics)
		s.deliverAgain()
	})
	memory := s.sampleMemory(t)

	few := s.storm(t, n/10)
	s.allEnd(t, n/10)
	before := memory.take()
	t.Logf("%d cases at once: %s", n/10, few)
	began := time.Now()
	all := s.storm(t, n)
	took := s.allEnd(t, n/10+n)
	after := memory.take()
	t.Logf("%d cases at once: %s; all ended after %v", n, all, took.Sub(began).Round(100*time.Millisecond))

	pipe.mu.Lock()
	defer pipe.mu.Unlock()
	for id, times := range pipe.posts {
		if times != 1 {
			t.Errorf("%s was sent %d times", id, times)
		}
	}
	if len(pipe.posts) != n/10+n {
		t.Errorf("the pipeline was sent %d cases, not %d", len(pipe.posts), n/10+n)
	}
	most := before[slices.MaxFunc(slices.Collect(maps.Keys(before)), func(a, b string) int {
		return cmp.Compare(before[a], before[b])
	})]
	for _, name := range slices.Sorted(maps.Keys(after)) {
		t.Logf("memory of an instance of %-8s at most %3d MiB with %d cases at once, %3d MiB with %d",
			name, before[name]>>20, n/10, after[name]>>20, n)
		// of any: with a tenth of the cases, checks have not begun when all have ended
		if n >= 10_000 && after[name] > most*3/2 {
			t.Errorf("%s takes half as much again as any did with a tenth of the cases", name)
		}
	}
	if found := s.unwell(); found != "" {
		t.Errorf("the console says %s", found)
	}
	s.sweepsClean(t)
	for line := range strings.Lines(s.log()) {
		if strings.Contains(line, `"severity":"ERROR"`) || strings.Contains(line, "panic") {
			t.Errorf("an instance says: %s", line)
		}
	}
}

// loadPipeline takes every case with 202, and publishes its end one second or more later.
type loadPipeline struct {
	events *pubsub.Publisher
	atMost time.Duration

	mu    sync.Mutex
	posts map[string]int
}

func (p *loadPipeline) open(t *testing.T, topics *topics) {
	p.events = topics.client.Publisher("pipeline-events")
	t.Cleanup(p.events.Stop)
}

func (p *loadPipeline) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		fmt.Fprintf(w, `{"completed":1,"total":4,"progress_percent":25}`)
		return
	}
	var form struct {
		CaseID string `json:"case_id"`
		Run    int    `json:"run"`
	}
	if err := json.NewDecoder(r.Body).Decode(&form); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.posts[fmt.Sprintf("%s:%d", form.CaseID, form.Run)]++
	p.mu.Unlock()
	event := fmt.Appendf(nil, `{"case_id":%q,"run":%d,"status":"succeeded","result":{"success":true,`+
		`"webhook_summary":{"total_sets":4,"succeeded":4,"failed":0}}}`, form.CaseID, form.Run)
	time.AfterFunc(time.Second+mathrand.N(p.atMost-time.Second), func() {
		p.events.Publish(context.Background(), &pubsub.Message{Data: event})
	})
	w.WriteHeader(http.StatusAccepted)
}

// storm is what it was like to start cases at once.
type storm struct {
	mu     sync.Mutex
	took   []time.Duration
	errors map[string]int
}

func (s *storm) String() string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(s.errors)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", s.errors[kind], kind))
	}
	if kinds == nil {
		kinds = []string{"none"}
	}
	return fmt.Sprintf("accepted after p50 %v, p99 %v, at most %v; errors: %s", share(s.took, 50), share(s.took, 99),
		share(s.took, 100), strings.Join(kinds, ", "))
}

// storm starts that many cases at once, each as the browser module does: with a key, and again
// after an error that may pass.
func (s *system) storm(t *testing.T, n int) *storm {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		MaxConnsPerHost: loadConnections, MaxIdleConnsPerHost: loadConnections,
	}}
	defer client.CloseIdleConnections()
	form := `{"FilingCity":"` + strings.Repeat("x", 2000) + `"}`
	result := &storm{errors: map[string]int{}}
	var ready, starting sync.WaitGroup
	var lost atomic.Int64
	release := make(chan struct{})
	for range n {
		ready.Add(1)
		starting.Go(func() {
			key := rand.Text()
			ready.Done()
			<-release
			began := time.Now()
			for failed := range 6 { // as often as the module tries
				wait, problem := startOnce(t.Context(), client, s.routers["start"].url, form, key)
				result.mu.Lock()
				if problem == "" {
					result.took = append(result.took, time.Since(began))
					result.mu.Unlock()
					return
				}
				result.errors[problem]++
				result.mu.Unlock()
				backoff := float64(min(time.Second<<failed, 30*time.Second)) * (0.5 + mathrand.Float64()/2)
				time.Sleep(max(wait, time.Duration(backoff)))
			}
			lost.Add(1)
		})
	}
	ready.Wait()
	close(release)
	starting.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d cases were never accepted: %v", lost.Load(), result)
	}
	return result
}

// startOnce starts a case. It returns how long to wait and what is wrong, if it is to be tried again.
func startOnce(ctx context.Context, client *http.Client, to, form, key string) (wait time.Duration, problem string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form))
	if err != nil {
		return 0, err.Error()
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "X-API-Key": apiKey, "Idempotency-Key": key,
	} {
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		text := err.Error()
		return 0, text[strings.LastIndex(text, ": ")+2:]
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, "half an answer"
	}
	if res.StatusCode == http.StatusAccepted || res.StatusCode == http.StatusOK {
		return 0, ""
	}
	var said struct{ Detail string }
	_ = json.Unmarshal(body, &said) // a router's answer has no body
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	return time.Duration(seconds) * time.Second, strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", said.Detail))
}

// allEnd waits until that many runs have succeeded, and returns when they had. It wants no other end.
func (s *system) allEnd(t *testing.T, n int) time.Time {
	t.Helper()
	var list listing
	for end := time.Now().Add(loadWithin); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		if code := s.console(http.MethodGet, "/", "", &list); code != http.StatusOK {
			t.Fatalf("the console answers %d", code)
		}
		if list.Counts[cases.Succeeded] == n {
			return time.Now()
		}
	}
	t.Fatalf("not all have ended within %v: %v", loadWithin, list.Counts)
	return time.Time{}
}

// memory is the most that an instance of each function took, in bytes.
type memory struct {
	mu   sync.Mutex
	most map[string]int64
}

// take returns what was sampled since it was last taken.
func (m *memory) take() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	most := m.most
	m.most = map[string]int64{}
	return most
}

// sampleMemory looks at what every instance takes, until the test ends.
func (s *system) sampleMemory(t *testing.T) *memory {
	m := &memory{most: map[string]int64{}}
	var sampling sync.WaitGroup
	stop := make(chan struct{})
	sampling.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
			for name, r := range s.routers {
				r.mu.Lock()
				for _, i := range r.behind {
					resident := residentBytes(i.cmd.Process.Pid)
					m.mu.Lock()
					m.most[name] = max(m.most[name], resident)
					m.mu.Unlock()
				}
				r.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() { close(stop); sampling.Wait() })
	return m
}

// residentBytes is what a process has in memory (VmRSS); 0 if it is gone.
func residentBytes(pid int) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // it may be gone
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kib, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return kib << 10
}
