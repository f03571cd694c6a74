package status_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/store"
)

const (
	benchCases   = 200
	benchViewers = 5 // of each case
	benchStreams = benchCases * benchViewers
	benchChanges = 400
	benchPause   = 10 * time.Millisecond // between two changes: each case changes every 2 s
	viewersEnv   = "STATUS_BENCH_VIEWERS"
)

// BenchmarkStreams opens 1,000 streams of 200 cases, over HTTP and a SQLite store. The viewers are
// in another process, so that memory and goroutines are only the server's. It reports the cost of a
// stream, and the time from the commit of a change to its event at each viewer.
//
// In the same run it measures two references: streams whose viewers do not share a wait, and a
// net/http server that only holds connections.
func BenchmarkStreams(b *testing.B) {
	bench := functiontest.New(b, nil)
	for i := range benchCases {
		bench.Begin(fmt.Sprint("case-", i))
	}
	for b.Loop() {
		bare := measure(b, bench, http.HandlerFunc(hold), 0)
		own := measure(b, bench, ownWaits(bench), benchChanges)
		ours := measure(b, bench, status.New(bench.Config, bench.Reconciler), benchChanges)
		for _, m := range []struct {
			value float64
			unit  string
		}{
			{ours.bytes, "B/stream"},
			{ours.goroutines, "goroutines/stream"},
			{ours.p50, "ms-p50"},
			{ours.p99, "ms-p99"},
			{float64(ours.waits), "waits"},
			{ours.bytes / bare.bytes, "x-bare-B"},
			{ours.p50 / own.p50, "x-unshared-p50"},
			{ours.p99 / own.p99, "x-unshared-p99"},
		} {
			b.ReportMetric(m.value, m.unit)
		}
		b.Logf("bare: %+v; unshared: %+v; status: %+v", bare, own, ours)
	}
	b.ReportMetric(0, "ns/op") // it has no meaning here
}

// figures are the measurements of 1,000 streams: bytes and goroutines of each stream, milliseconds
// from commit to event, and concurrent calls of Wait.
type figures struct {
	bytes, goroutines, p50, p99 float64
	waits                       int
}

func measure(b *testing.B, bench *functiontest.Bench, h http.Handler, changes int) (f figures) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	defer serving.Wait()
	defer server.Close()

	viewers := startViewers(b, listener.Addr().String())
	memory, goroutines := inUse(), runtime.NumGoroutine()
	viewers.send("open")
	viewers.expect("opened")
	if changes > 0 {
		// Without sharing, every viewer waits. With sharing, one does for each case.
		until(b, "the viewers wait", func() bool { now, _ := bench.Store.Waits(); return now >= benchCases })
	}
	f.bytes = float64(inUse()-memory) / benchStreams
	f.goroutines = float64(runtime.NumGoroutine()-goroutines) / benchStreams
	f.waits, _ = bench.Store.Waits()

	commits := map[string]map[int64]int64{} // case, version: nanoseconds
	for range changes {
		caseID := fmt.Sprint("case-", rand.IntN(benchCases))
		c := bench.Case(caseID, 1)
		c.Version++
		c.Job.Progress.Completed++
		c.Viewers.Shown.Version = c.Version // makes the change an event
		if err := bench.Store.Update(b.Context(), store.Write{Case: c}); err != nil {
			b.Fatal(err)
		}
		if commits[caseID] == nil {
			commits[caseID] = map[int64]int64{}
		}
		commits[caseID][c.Version] = time.Now().UnixNano()
		time.Sleep(benchPause)
	}
	for caseID, versions := range commits { // every viewer must have got the last change
		viewers.send(fmt.Sprintf("until %s %d", caseID, slices.Max(slices.Collect(maps.Keys(versions)))))
		viewers.expect("seen")
	}
	viewers.send("close")
	if changes > 0 {
		took := viewers.took(commits)
		if want := changes * benchViewers; len(took) != want {
			b.Fatalf("the viewers got %d changes, want %d", len(took), want)
		}
		slices.Sort(took)
		f.p50, f.p99 = took[len(took)/2], took[len(took)*99/100]
	} else {
		viewers.took(nil)
	}
	until(b, "all waits and goroutines end", func() bool {
		now, _ := bench.Store.Waits()
		return now == 0 && runtime.NumGoroutine() <= goroutines
	})
	return f
}

// inUse returns the bytes of heap and stacks in use.
func inUse() int64 {
	var m runtime.MemStats
	for range 5 { // each collection halves the stacks that are mostly unused
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// hold only holds the connection after one event.
func hold(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "id: 1.1\ndata: {}\n\n")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// ownWaits streams a case with a wait for each viewer and a read for each change.
func ownWaits(bench *functiontest.Bench) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		caseID := strings.TrimPrefix(r.URL.Path, "/")
		for {
			s, err := bench.Reconciler.Read(r.Context(), caseID, 0)
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(w, "event: progress\nid: %d.%d\ndata: {\"current\":%d}\n\n",
				s.View.Run, s.View.Version, s.View.Progress.Completed)
			if http.NewResponseController(w).Flush() != nil ||
				bench.Store.Wait(r.Context(), caseID, s.View.Run, s.View.Version) != nil {
				return
			}
		}
	})
}

// viewerProcess is the process of the viewers. The benchmark exchanges lines with it.
type viewerProcess struct {
	b   *testing.B
	in  io.Writer
	out *bufio.Reader
}

func startViewers(b *testing.B, addr string) viewerProcess {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), viewersEnv+"="+addr)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	p := viewerProcess{b, in, bufio.NewReader(out)}
	p.expect("ready")
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		cancel()
	})
	return p
}

func (p viewerProcess) send(line string) {
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.b.Fatal(err)
	}
}

func (p viewerProcess) expect(want string) {
	p.b.Helper()
	if line, err := p.out.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
		p.b.Fatalf("got %q, %v from the viewers, want %q", line, err, want)
	}
}

// took returns the milliseconds from each commit until each viewer of the case had read it or a
// newer one.
func (p viewerProcess) took(commits map[string]map[int64]int64) (took []float64) {
	p.b.Helper()
	seen := map[string][]receipt{} // by viewer
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			p.b.Fatal(err)
		}
		if line == "closed\n" {
			break
		}
		var viewer string
		var r receipt
		if _, err := fmt.Sscan(line, &viewer, &r.version, &r.at); err != nil {
			p.b.Fatalf("%q: %v", line, err)
		}
		seen[viewer] = append(seen[viewer], r)
	}
	for viewer, receipts := range seen {
		caseID, _, _ := strings.Cut(viewer, "/")
		for version, at := range commits[caseID] {
			i, _ := slices.BinarySearchFunc(receipts, version, func(r receipt, v int64) int {
				return cmp.Compare(r.version, v)
			})
			if i < len(receipts) {
				took = append(took, float64(max(0, receipts[i].at-at))/1e6)
			}
		}
	}
	return took
}

// receipt is the version of an event that a viewer read, and the time in nanoseconds.
type receipt struct{ version, at int64 }
