package system_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

// viewersOfACase is how many viewers a case has at most here: an instance of status holds 32, and
// they may all come to one.
const viewersOfACase = 32

// TestFresh watches cases by nobody, one and many viewers, spread over both instances of status and
// as many cases as they need, and tells how old the progress is that they are shown, and how many
// times the pipeline is polled for it: no more often than the least interval allows, however many
// watch. In a normal run that is 200 ms and there are 20 viewers for a few polls; with FRESH=1m
// they are 500, for that long each, with the settings as they are.
func TestFresh(t *testing.T) {
	skipShort(t)
	least, length, many := 200*time.Millisecond, 3*time.Second, 20
	if text := os.Getenv("FRESH"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil || length < 10*time.Second {
			t.Fatalf("FRESH is %q, not a duration of at least 10s", text)
		}
		least, many = 2*time.Second, 500
	}
	pipe := &steadyPipeline{cases: map[string]*steadyCase{}}
	url := serve(t, pipe.ServeHTTP)
	dsn := postgrestest.Start(t) // which tells other processes of what is written, as Firestore does
	s := newSystem(t, build(t, "program"), startPubSub(t), map[string]string{"STORE": dsn}, func(s *system) {
		maps.Copy(s.env, map[string]string{"PIPELINE_API_URL": url, "CHECK_MIN_INTERVAL": least.String(),
			"CHECK_MAX_INTERVAL": "30s", "CHECK_TIMEOUT": "10s", "STREAM_HOLD": "290s"})
	})
	audiences := []int{0, 1, many}
	var runs [][]run
	for _, viewers := range audiences {
		var watched []run
		for range max(1, (viewers+viewersOfACase-1)/viewersOfACase) {
			watched = append(watched, s.begin("{}", ""))
		}
		runs = append(runs, watched)
	}
	for _, watched := range runs {
		for _, r := range watched {
			s.until(r, "it is read", func(now cases.View) bool { return now.Progress.Completed > 0 })
		}
	}
	for i, watched := range runs {
		viewers := audiences[i]
		looks, versions := map[string]int{}, int64(0)
		for _, r := range watched {
			s.until(r, "polls are rare", func(now cases.View) bool {
				return now.Checks.NextAt.Sub(now.UpdatedAt) > 5*least
			})
			looks[r.ID] = pipe.looks(r.ID)
			versions -= s.versionOf(r)
		}
		began := time.Now()
		ages, came := s.audience(pipe, watched, viewers, length)
		took := time.Since(began)
		var all, highest int
		for _, r := range watched {
			n := pipe.looks(r.ID) - looks[r.ID]
			all, highest = all+n, max(highest, n)
			versions += s.versionOf(r)
		}
		n := len(watched)
		t.Logf("%3d viewers of %d cases for %v: %d polls a case, %d writes besides theirs", viewers, n,
			took.Round(time.Second), all/n, (int(versions)-all)/n)
		if viewers > 0 {
			t.Logf("    what they knew was p50 %v, p99 %v, at most %v old",
				share(ages, 50), share(ages, 99), share(ages, 100))
		}
		if most := int(took/least) + 2; highest > most {
			t.Errorf("%d viewers: the pipeline was polled %d times for a case in %v, at most %d are to be",
				viewers, highest, took, most)
		}
		if viewers > 0 && came < viewers*5 {
			t.Errorf("%d viewers: they were shown progress %d times in all", viewers, came)
		}
		for _, r := range watched {
			s.persist(http.MethodPost, r.CancelURL, "")
		}
	}
	if n := s.routers["status"].asked(); n != instances {
		t.Errorf("viewers were at %d instances", n)
	}
	s.sweepsClean(t)
}

// versionOf is the version of a run's record.
func (s *system) versionOf(r run) int64 {
	s.t.Helper()
	return s.until(r, "it is open", func(cases.View) bool { return true }).Version
}

// audience sends viewers to cases, to each in turn, until the time is over and each was shown
// progress five times. It returns how old the progress was that they knew, at every twentieth of a
// second from the second that each was shown, and how many times any was shown some.
func (s *system) audience(pipe *steadyPipeline, watched []run, viewers int,
	length time.Duration) (ages []time.Duration, came int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), length+time.Minute)
	defer cancel()
	end := time.Now().Add(length)
	var mu sync.Mutex
	var watching sync.WaitGroup
	for i := range viewers {
		r := watched[i%len(watched)]
		began := pipe.began(r.ID)
		watching.Go(func() {
			own, n := s.ages(ctx, r, end, began)
			mu.Lock()
			defer mu.Unlock()
			ages, came = append(ages, own...), came+n
		})
	}
	watching.Wait()
	if viewers == 0 {
		time.Sleep(length)
	}
	return ages, came
}

// ages is one viewer.
func (s *system) ages(ctx context.Context, r run, end, began time.Time) (ages []time.Duration, n int) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	w := witness.New(r.ID, r.StatusURL, witness.Options{Client: streaming})
	s.readers.Go(func() { w.Stream(ctx) })
	if !w.Await(ctx, func(witness.View) bool { return time.Now().After(end) && len(w.Events()) >= 6 }) {
		s.t.Errorf("a viewer was shown progress %d times, and then no more", len(w.Events()))
	}
	var read, shown time.Time // when the pipeline said what is known, and when that came
	for _, e := range w.Events() {
		if n++; n > 2 { // until the first poll that was brought forward it is as old as it is
			for at := shown; at.Before(e.At); at = at.Add(50 * time.Millisecond) {
				ages = append(ages, at.Sub(read))
			}
			ages = append(ages, e.At.Sub(read))
		}
		read, shown = began.Add(time.Duration(e.Current)*time.Millisecond), e.At
	}
	for _, b := range w.Breaches() {
		s.t.Error(b)
	}
	return ages, n
}

// steadyPipeline works on every case for ten hours, a document each millisecond: what it shows says when it was read.
type steadyPipeline struct {
	mu    sync.Mutex
	cases map[string]*steadyCase
}

type steadyCase struct {
	began time.Time
	looks int
}

func (p *steadyPipeline) of(id string) *steadyCase {
	if p.cases[id] == nil {
		p.cases[id] = &steadyCase{began: time.Now()}
	}
	return p.cases[id]
}

func (p *steadyPipeline) looks(id string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of(id).looks
}

func (p *steadyPipeline) began(id string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of(id).began
}

func (p *steadyPipeline) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Method == http.MethodGet {
		c := p.of(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
		c.looks++
		fmt.Fprintf(w, `{"completed":%d,"total":%d}`,
			time.Since(c.began).Milliseconds(), (10 * time.Hour).Milliseconds())
		return
	}
	var form struct {
		CaseID string `json:"case_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&form); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.of(form.CaseID)
	w.WriteHeader(http.StatusAccepted)
}
