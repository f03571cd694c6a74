//go:build !race

package pipeline

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// shapes are answers of about size bytes: members of a result, and of an error, in the shapes that
// cost most to keep.
func shapes(size int) map[string]string {
	many := func(format, end string) string {
		var b bytes.Buffer
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String() + end
	}
	return map[string]string{
		"keys":           `{` + many(`"%x":1,`, `"success":false,"status":"failed"}`),
		"keys of detail": `{"detail":{` + many(`"%x":1,`, `"success":false}}`),
		"keys of counts": `{"success":false,"webhook_summary":{` + many(`"%x":1,`, `"total_sets":1}}`),
		"errors":         `{"success":false,"errors":{` + many(`"%x":{},`, `"a":{}}}`),
		"list of errors": `{"success":false,"errors":[` + many(`{"a":[%d]},`, `1]}`),
		"lists": `{"success":false,"error":` + strings.Repeat(
			"[",
			5000,
		) + strings.Repeat(
			"]",
			5000,
		) + `,"x":[` + many(
			`[%d],`,
			`1]}`,
		),
	}
}

// What reading an answer takes is a matter of its size, not of its shape.
func TestMemoryFollowsSize(t *testing.T) {
	const size = 1 << 20
	plain := `{"success":false,"error":"no ink","x":"` + strings.Repeat("x", size) + `"}`
	for what, read := range map[string]func(string){
		"dispatch": func(body string) {
			if got := dispatched(t, pipelinetest.Answer(200, body)); got.Kind != cases.DispatchFailed {
				t.Errorf("%.40q: %+v", body, got)
			}
		},
		"poll": func(body string) {
			got := polled(t, pipelinetest.Answer(200, `{"status":"failed","result":`+body+`}`))
			if got.Kind != cases.CheckReading || got.Result == nil {
				t.Errorf("%.40q: %+v", body, got)
			}
		},
		"failed poll": func(body string) {
			if got := polled(t, pipelinetest.Answer(500, body)); got.Kind != cases.CheckFailed {
				t.Errorf("%.40q: %+v", body, got)
			}
		},
	} {
		limit := allocated(read, plain) * 3 / 2
		for name, body := range shapes(size) {
			if got := allocated(read, body); got > limit {
				t.Errorf("%s of %s: %d bytes for an answer of %d, want at most %d", what, name, got, len(body), limit)
			}
		}
	}
}

func allocated(read func(string), body string) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read(body)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func BenchmarkAnswer(b *testing.B) {
	const size = 15 << 20
	bodies := shapes(size)
	bodies["plain"] = `{"success":false,"error":"no ink","x":"` + strings.Repeat("x", size) + `"}`
	for name, body := range bodies {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				a := answer{status: 200, body: []byte(body)}
				if got := a.outcome("c-1", 2); got.Kind != cases.DispatchFailed {
					b.Fatal(got)
				}
			}
		})
	}
}
