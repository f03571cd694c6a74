//go:build !race

package machine_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// maxPerCase is how many bytes of heap a case in flight may cost the functions: far less than any record, timer, goroutine or connection.
const maxPerCase = 100

// TestMemoryDoesNotGrowWithCases measures the heap that the functions and shared packages hold with 500 and with 5,000 cases in flight,
// told apart from that of the local servers, which keep their tasks in memory, by who allocated it.
func TestMemoryDoesNotGrowWithCases(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 5,000 cases take half a minute")
	}
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 512
	s := newSystemLogging(t, map[string]string{"CHECK_MIN_INTERVAL": "10m", "CHECK_MAX_INTERVAL": "10m", "UNREACHABLE_AFTER": "1h", "DISPATCH_RATE": "500"}, io.Discard)
	s.pipe.Default(pipelinetest.Answer(202, `{}`))
	inFlight := 0
	raise := func(to int) (ours, others int64) {
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := inFlight + worker; i < to; i += 8 {
					s.start(fmt.Sprintf(`{"case_id":"case%d","text":%q}`, i, strings.Repeat("x", 1000)), "")
				}
			})
		}
		wg.Wait()
		inFlight = to
		deadline := time.Now().Add(2 * time.Minute)
		for posted := 0; posted < to; posted = len(s.pipe.Posts("")) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d are dispatched", posted, to)
			}
			time.Sleep(100 * time.Millisecond) // the pipeline is another server
		}
		s.http.CloseIdleConnections()
		return heap()
	}
	ours500, others500 := raise(500)
	ours5000, others5000 := raise(5000)
	perCase := float64(ours5000-ours500) / 4500
	t.Logf("heap of functions and shared: %d KiB with 500 cases in flight, %d KiB with 5,000: %.1f bytes a case; of everything else: %d and %d KiB",
		ours500>>10, ours5000>>10, perCase, others500>>10, others5000>>10)
	if perCase > maxPerCase {
		t.Errorf("%.1f bytes a case", perCase)
	}
	if open := s.sweep(); !strings.Contains(open, `"open":5000,`) {
		t.Errorf("not all are in flight: %s", open)
	}
}

// heap returns the bytes in use that were allocated, however deep down, for the functions and shared packages, and all others.
func heap() (ours, others int64) {
	runtime.GC()
	runtime.GC() // what the first one's finalizers let go; and profiles are of the last but one
	records := make([]runtime.MemProfileRecord, 10_000)
	n, ok := runtime.MemProfile(records, false)
	for !ok {
		records = make([]runtime.MemProfileRecord, n+10_000)
		n, ok = runtime.MemProfile(records, false)
	}
	for _, r := range records[:n] {
		if isOurs(r.Stack()) {
			ours += r.InUseBytes()
		} else {
			others += r.InUseBytes()
		}
	}
	return ours, others
}

func isOurs(stack []uintptr) bool {
	frames := runtime.CallersFrames(stack)
	for {
		frame, more := frames.Next()
		name, in := strings.CutPrefix(frame.Function, "github.com/casewatch/casewatch/")
		if in && !strings.HasPrefix(name, "shared/pipeline/pipelinetest") && (strings.HasPrefix(name, "shared/") || strings.HasPrefix(name, "functions/")) {
			return true
		}
		if !more {
			return false
		}
	}
}
