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
	connections = 256              // over which cases are started at once
	drain       = time.Minute      // how long after the last true end an end is waited for
	quiet       = 5 * time.Second  // how long is watched for polls after everything is over, and counted
	crossing    = 0.1              // seconds after the recorded end, which is saved a little later, in which a poll may still be one that was on its way
	within      = 15 * time.Minute // no run takes longer
)

// result is what came of one run, by the names of the figures.
type result map[string]float64

// The names of figures; those of CPU and memory have that of the part behind them.
const (
	lost, doubled, zombies, crossed    = "lost", "doubled", "zombies", "crossed"
	polls, interval                    = "polls", "interval"
	lagMean, lagMedian, lag99          = "lag mean", "lag p50", "lag p99"
	accepted, again, commits, bytesOut = "accepted", "again", "commits", "bytes"
	accept50, accept99, latest         = "accept p50", "accept p99", "latest"
	cpuOf, peakOf, programEnd          = "cpu ", "peak ", "program at the end"
)

// run boots a system, starts n cases at once and follows them to their ends.
func (b *bench) run(ctx context.Context, c candidate, mode stub.Mode) (_ result, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var s *system
	var untold atomic.Int64
	p := stub.New(mode, b.seed, func(caseID string) {
		if !tell(ctx, func() error { return s.publish(ctx, caseID) }) {
			untold.Add(1)
		}
	})
	server := httptest.NewServer(p)
	defer server.Close()
	if s, err = c.boot(ctx, b, dir, server.URL, mode); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()

	before, err := s.take(ctx)
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
	after, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	ends, err := s.ends(ctx, ids)
	if err != nil {
		return nil, err
	}
	if untold.Load() > 0 {
		fmt.Fprintf(os.Stderr, "%d events were taken by nobody\n", untold.Load())
	}
	r := judge(p.Records(), ids, ends)
	r[accepted], r[again] = rate, float64(repeats)
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

// tell repeats an event until it is taken, as Pub/Sub does; it gives up after some tries.
func tell(ctx context.Context, publish func() error) bool {
	for range 10 {
		if publish() == nil {
			return true
		}
		if ctxtime.Sleep(ctx, time.Second) != nil {
			return false
		}
	}
	return false
}

// reading is what a system has taken until a moment.
type reading struct {
	commits, bytes float64
	parts          map[string]usage
}

func (s *system) take(ctx context.Context) (reading, error) {
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

// startAll starts the cases at once, over a number of connections. It returns how many were accepted a second, from the first request to the last
// acceptance, how many requests were repeated, and the seconds that each took that was accepted.
func (b *bench) startAll(ctx context.Context, s *system, ids []string) (rate float64, repeats int64, waits []float64, err error) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	filler := strings.Repeat("x", 1000)
	var again, refused atomic.Int64
	var mu sync.Mutex // of waits
	next := make(chan string)
	began := time.Now()
	var starting sync.WaitGroup
	for range min(connections, len(ids)) {
		starting.Go(func() {
			for id := range next {
				body := fmt.Sprintf(`{"case_id":%q,"FilingCity":%q,"document_types":["srogs","pods","admissions"]}`, id, filler)
				for try := 0; ; try++ {
					asked := time.Now()
					err := post(ctx, client, s.start, body)
					if err == nil {
						mu.Lock()
						waits = append(waits, time.Since(asked).Seconds())
						mu.Unlock()
						break
					}
					if try == 5 || ctx.Err() != nil {
						refused.Add(1)
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
	if n := refused.Load(); n > 0 {
		return 0, 0, nil, errors.Join(fmt.Errorf("%d cases were not accepted", n), ctx.Err())
	}
	return float64(len(ids)) / took.Seconds(), again.Load(), waits, nil
}

// wait returns when the system knows every end, or has had the time to, and was watched a while longer.
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
		s.asked++
		if err != nil {
			return err
		}
		if open == 0 || time.Since(last) > drain {
			break
		}
	}
	return ctxtime.Sleep(ctx, quiet)
}

// judge compares what the pipeline saw with the ends that a system has on record.
func judge(records map[string]stub.Record, ids []string, ends map[string]time.Time) result {
	r := result{lost: 0, doubled: 0, zombies: 0, crossed: 0}
	var lags, intervals []float64
	asked := 0
	for _, id := range ids {
		record := records[id]
		r[doubled] += float64(max(record.Posts-1, 0))
		asked += len(record.Polls)
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
			case late > crossing:
				r[zombies]++
			case late > 0:
				r[crossed]++
			}
		}
	}
	r[polls], r[interval] = float64(asked)/float64(len(ids)), figures.Mean(intervals)
	r[lagMean], r[lagMedian], r[lag99] = figures.Mean(lags), figures.Percentile(lags, 50), figures.Percentile(lags, 99)
	return r
}

// all is the sum of a figure over the parts of a system.
func (r result) all(of string) float64 {
	sum := 0.0
	for _, part := range allParts {
		sum += r[of+part]
	}
	return sum
}
