package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/casewatch/casewatch/deploy/bench/peers/figures"
	"github.com/casewatch/casewatch/deploy/bench/peers/stub"
	"github.com/casewatch/casewatch/shared/ctxtime"
)

const (
	// connections is the number of connections over which cases are started.
	connections = 256
	// drain is the longest wait for a recorded end after the last true end.
	drain = time.Minute
	// quiet is the time after the last end in which polls are still counted.
	quiet = 5 * time.Second
	// inFlight is a time in seconds after the recorded end. A poll in that time may have been in
	// flight when the end was saved, which is a little later than the recorded time. A later poll
	// is a zombie.
	inFlight = 0.1
	// within limits a run.
	within = 15 * time.Minute
)

// result holds the figures of one run, by name.
type result map[string]float64

// The names of the figures. Those of CPU time and memory end with the name of a part.
const (
	lost       = "lost"     // ends that the system did not record
	doubled    = "doubled"  // starts of a case after the first one
	zombies    = "zombies"  // polls after the recorded end
	crossed    = "crossed"  // polls that were in flight at the recorded end
	latest     = "latest"   // seconds from a recorded end to the last poll
	polls      = "polls"    // per case
	interval   = "interval" // mean seconds between two polls of a case
	lagMean    = "lag mean" // seconds from the true end to the recorded one
	lagMedian  = "lag p50"
	lag99      = "lag p99"
	accepted   = "accepted"   // cases per second
	accept50   = "accept p50" // seconds from a request to its acceptance
	accept99   = "accept p99"
	repeated   = "repeated"           // requests that were sent again
	commits    = "commits"            // per case
	bytesOut   = "bytes"              // written, per case
	cpuOf      = "cpu "               // seconds per 1,000 cases
	peakOf     = "peak "              // MB
	programEnd = "program at the end" // MB
)

// run boots a system, starts all cases at the same time and waits for their ends.
func (b *bench) run(ctx context.Context, c candidate, mode stub.Mode) (_ result, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var s *system
	var unpublished atomic.Int64
	p := stub.New(mode, b.seed, func(caseID string) {
		if !publish(ctx, func() error { return s.publish(ctx, caseID) }) {
			unpublished.Add(1)
		}
	})
	server := httptest.NewServer(p)
	defer server.Close()
	if s, err = c.boot(ctx, b, dir, server.URL, mode); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()

	before, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, b.n)
	for i := range ids {
		ids[i] = fmt.Sprintf("case-%06d", i)
	}
	rate, repeats, took, err := b.startAll(ctx, s, ids)
	if err != nil {
		return nil, err
	}
	if err := s.wait(ctx, p, b.n); err != nil {
		return nil, err
	}
	after, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	ends, err := s.ends(ctx, ids)
	if err != nil {
		return nil, err
	}
	if n := unpublished.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "%d events were not accepted\n", n)
	}
	r := evaluate(p.Records(), ids, ends)
	r[accepted], r[repeated] = rate, float64(repeats)
	r[accept50], r[accept99] = figures.Percentile(took, 50), figures.Percentile(took, 99)
	n := float64(b.n)
	r[commits], r[bytesOut] = (after.commits-before.commits)/n, (after.bytes-before.bytes)/n
	for name, u := range after.parts {
		r[cpuOf+name] = (u.cpu - before.parts[name].cpu) / n * 1000
		r[peakOf+name] = u.peak
		if name == programPart {
			r[programEnd] = u.now
		}
	}
	return r, nil
}

// publish repeats an event until it is accepted, as Pub/Sub does, up to 10 times. It reports
// whether the event was accepted.
func publish(ctx context.Context, once func() error) bool {
	for range 10 {
		if once() == nil {
			return true
		}
		if ctxtime.Sleep(ctx, time.Second) != nil {
			return false
		}
	}
	return false
}

// reading holds the counters of a system at a moment.
type reading struct {
	commits, bytes float64
	parts          map[string]usage
}

// read reads the counters of the system.
func (s *system) read(ctx context.Context) (reading, error) {
	r := reading{parts: map[string]usage{}}
	var errs []error
	for name, part := range s.parts {
		u, err := part.usage()
		r.parts[name] = u
		errs = append(errs, err)
	}
	var err error
	r.commits, r.bytes, err = s.counters(ctx)
	return r, errors.Join(append(errs, err)...)
}

// startAll starts all cases at the same time. It returns the cases that were accepted per second,
// from the first request to the last acceptance; the number of repeated requests; and the seconds
// that each accepted request took.
func (b *bench) startAll(
	ctx context.Context, s *system, ids []string,
) (rate float64, repeats int64, waits []float64, err error) {
	transport := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}
	client := &http.Client{Timeout: time.Minute, Transport: transport}
	defer client.CloseIdleConnections()
	filler := strings.Repeat("x", 1000)
	var again, rejected atomic.Int64
	var mu sync.Mutex // guards waits
	next := make(chan string)
	began := time.Now()
	var starting sync.WaitGroup
	for range min(connections, len(ids)) {
		starting.Go(func() {
			for id := range next {
				body := fmt.Sprintf(`{"case_id":%q,"FilingCity":%q,"document_types":["srogs","pods","admissions"]}`,
					id, filler)
				for try := 0; ; try++ {
					sent := time.Now()
					err := post(ctx, client, s.start, body)
					if err == nil {
						mu.Lock()
						waits = append(waits, time.Since(sent).Seconds())
						mu.Unlock()
						break
					}
					if try == 5 || ctx.Err() != nil {
						rejected.Add(1)
						break
					}
					again.Add(1)
					time.Sleep(time.Second << try)
				}
			}
		})
	}
	for _, id := range ids {
		next <- id
	}
	close(next)
	starting.Wait()
	took := time.Since(began)
	if n := rejected.Load(); n > 0 {
		return 0, 0, nil, errors.Join(fmt.Errorf("%d cases were not accepted", n), ctx.Err())
	}
	return float64(len(ids)) / took.Seconds(), again.Load(), waits, nil
}

// wait waits until the system has recorded every end, but at most drain after the last true end,
// and then for quiet.
func (s *system) wait(ctx context.Context, p *stub.Pipeline, n int) error {
	for {
		if err := ctxtime.Sleep(ctx, time.Second); err != nil {
			return err
		}
		started, last := p.Started()
		if started < n || time.Now().Before(last) {
			continue
		}
		open, err := s.open(ctx)
		s.queries++
		if err != nil {
			return err
		}
		if open == 0 || time.Since(last) > drain {
			break
		}
	}
	return ctxtime.Sleep(ctx, quiet)
}

// evaluate compares the requests that the pipeline got with the ends that a system recorded.
func evaluate(records map[string]stub.Record, ids []string, ends map[string]time.Time) result {
	r := result{lost: 0, doubled: 0, zombies: 0, crossed: 0}
	var lags, intervals []float64
	polled := 0
	for _, id := range ids {
		record := records[id]
		r[doubled] += float64(max(record.Posts-1, 0))
		polled += len(record.Polls)
		for i := 1; i < len(record.Polls); i++ {
			intervals = append(intervals, record.Polls[i].Sub(record.Polls[i-1]).Seconds())
		}
		end, known := ends[id]
		if !known {
			r[lost]++
			continue
		}
		lags = append(lags, end.Sub(record.Ends).Seconds())
		for _, at := range record.Polls {
			late := at.Sub(end).Seconds()
			r[latest] = max(r[latest], late)
			switch {
			case late > inFlight:
				r[zombies]++
			case late > 0:
				r[crossed]++
			}
		}
	}
	r[polls], r[interval] = float64(polled)/float64(len(ids)), figures.Mean(intervals)
	r[lagMean] = figures.Mean(lags)
	r[lagMedian], r[lag99] = figures.Percentile(lags, 50), figures.Percentile(lags, 99)
	return r
}

// all returns the sum of a figure over the parts of a system.
func (r result) all(of string) float64 {
	sum := 0.0
	for _, part := range allParts {
		sum += r[of+part]
	}
	return sum
}
