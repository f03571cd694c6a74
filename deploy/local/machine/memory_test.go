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

// maxPerCase is the limit for the heap that the functions hold for each open case, in bytes. Any
// record, timer, goroutine or connection needs more.
const maxPerCase = 100

// TestMemoryDoesNotGrowWithCases measures the heap of the functions and the shared packages with
// 500 and with 5,000 open cases. The heap is separated by the code that allocated it, because the
// local servers in the same process keep their tasks in memory.
func TestMemoryDoesNotGrowWithCases(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: 5,000 cases take half a minute")
	}
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 512
	s := newSystemLogging(t, map[string]string{
		"CHECK_MIN_INTERVAL": "10m",
		"CHECK_MAX_INTERVAL": "10m",
		"UNREACHABLE_AFTER":  "1h",
		"DISPATCH_RATE":      "500",
	}, io.Discard)
	s.pipe.Default(pipelinetest.Answer(202, `{}`))
	open := 0
	// heapWith starts cases until n are open, and returns the heap.
	heapWith := func(n int) (ours, others int64) {
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := open + worker; i < n; i += 8 {
					s.start(fmt.Sprintf(`{"case_id":"case%d","text":%q}`, i, strings.Repeat("x", 1000)), "")
				}
			})
		}
		wg.Wait()
		open = n
		deadline := time.Now().Add(2 * time.Minute)
		for posted := 0; posted < n; posted = len(s.pipe.Posts("")) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d cases are dispatched after 2 minutes", posted, n)
			}
			time.Sleep(100 * time.Millisecond)
		}
		s.http.CloseIdleConnections()
		return heap()
	}
	ours500, others500 := heapWith(500)
	ours5000, others5000 := heapWith(5000)
	perCase := float64(ours5000-ours500) / 4500
	t.Logf("heap of functions and shared packages: %d KiB with 500 open cases, %d KiB with 5,000: %.1f bytes a case",
		ours500>>10, ours5000>>10, perCase)
	t.Logf("heap of all other code: %d KiB and %d KiB", others500>>10, others5000>>10)
	if perCase > maxPerCase {
		t.Errorf("each open case needs %.1f bytes, want at most %d", perCase, maxPerCase)
	}
	if report := s.sweep(); !strings.Contains(report, `"open":5000,`) {
		t.Errorf("the sweep reports %s, want 5000 open cases", report)
	}
}

// heap returns the heap in bytes that was allocated by the functions and shared packages, or by
// code that they called, and the rest.
func heap() (ours, others int64) {
	runtime.GC()
	runtime.GC() // frees what finalizers of the first cycle released, and completes the profile
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

// isOurs reports whether a function of the functions or shared packages is on the stack.
func isOurs(stack []uintptr) bool {
	frames := runtime.CallersFrames(stack)
	for {
		frame, more := frames.Next()
		name, ok := strings.CutPrefix(frame.Function, "github.com/casewatch/casewatch/")
		if ok && !strings.HasPrefix(name, "shared/pipeline/pipelinetest") &&
			(strings.HasPrefix(name, "shared/") || strings.HasPrefix(name, "functions/")) {
			return true
		}
		if !more {
			return false
		}
	}
}
