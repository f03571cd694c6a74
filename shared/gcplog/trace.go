package gcplog

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// trace is a valid traceparent, taken apart.
type trace struct {
	header  string
	traceID string // 32 hex digits
	spanID  string // 16 hex digits
	sampled bool
}

type traceKey struct{}

// parseTraceParent takes a traceparent of version 00 apart (https://www.w3.org/TR/trace-context/#traceparent-header).
func parseTraceParent(s string) (trace, bool) {
	// 00-<32 hex>-<16 hex>-<2 hex>
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return trace{}, false
	}
	t := trace{header: s, traceID: s[3:35], spanID: s[36:52]}
	flags := s[53:]
	for _, part := range []string{t.traceID, t.spanID, flags} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return trace{}, false
		}
	}
	if strings.Trim(t.traceID, "0") == "" || strings.Trim(t.spanID, "0") == "" {
		return trace{}, false
	}
	// The lowest bit of the flags is the lowest bit of their last digit.
	t.sampled = strings.IndexByte("13579bdf", flags[1]) >= 0
	return t, true
}

// ValidTraceParent reports whether s is a W3C traceparent of version 00 whose ids are not zero.
func ValidTraceParent(s string) bool {
	_, ok := parseTraceParent(s)
	return ok
}

// WithTrace returns a context whose log lines belong to the trace of the given traceparent. If that is not valid, as
// [ValidTraceParent] says, ctx is returned as it is.
func WithTrace(ctx context.Context, traceparent string) context.Context {
	t, ok := parseTraceParent(traceparent)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceParent returns the traceparent that [WithTrace] put into ctx; "" if there is none.
func TraceParent(ctx context.Context) string {
	t, _ := ctx.Value(traceKey{}).(trace)
	return t.header
}

// TraceParentOf returns the traceparent of a request, given its two headers: traceparent if it is
// valid, else what X-Cloud-Trace-Context says ("TRACE_ID/SPAN_ID;o=OPTIONS", the span in decimal:
// https://cloud.google.com/trace/docs/trace-context#legacy-http-header), else "". A trace without a
// span gets a span of its own id's end.
func TraceParentOf(traceparent, cloudTraceContext string) string {
	if ValidTraceParent(traceparent) {
		return traceparent
	}
	ids, options, _ := strings.Cut(cloudTraceContext, ";")
	traceID, span, _ := strings.Cut(ids, "/")
	traceID = strings.ToLower(traceID)
	spanID, err := strconv.ParseUint(span, 10, 64)
	if err != nil && span != "" || len(traceID) != 32 {
		return ""
	}
	hexSpan := fmt.Sprintf("%016x", spanID)
	if spanID == 0 {
		hexSpan = traceID[16:]
	}
	flags := "00"
	if options == "o=1" {
		flags = "01"
	}
	if header := "00-" + traceID + "-" + hexSpan + "-" + flags; ValidTraceParent(header) {
		return header
	}
	return ""
}

// NewTraceParent returns the traceparent of a new trace, sampled, with ids read from rand: [crypto/rand.Reader], or
// another in tests. It panics if rand fails, which crypto/rand.Reader never does.
func NewTraceParent(rand io.Reader) string {
	var id [24]byte
	for {
		if _, err := io.ReadFull(rand, id[:]); err != nil {
			panic(fmt.Sprintf("gcplog: no random bytes: %v", err))
		}
		header := "00-" + hex.EncodeToString(id[:16]) + "-" + hex.EncodeToString(id[16:]) + "-01"
		if ValidTraceParent(header) { // else an id was zero: once in 2^64
			return header
		}
	}
}
