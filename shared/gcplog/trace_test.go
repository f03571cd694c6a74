package gcplog_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/gcplog"
)

const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTraceParent(t *testing.T) {
	for _, test := range []struct {
		header string
		want   bool
	}{
		{valid, true},
		{strings.Replace(valid, "-01", "-00", 1), true},
		{strings.Replace(valid, "-01", "-ff", 1), true},
		{"", false},
		{valid[:54], false},
		{valid + "0", false},
		{valid + "-x", false},
		{"01" + valid[2:], false},
		{"ff" + valid[2:], false},
		{strings.ToUpper(valid), false},
		{strings.Replace(valid, "4bf9", "4bg9", 1), false},
		{strings.Replace(valid, "-00f0", "_00f0", 1), false},
		{"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", false},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
		{strings.Replace(valid, "-01", "-0x", 1), false},
		{strings.Replace(valid, "-01", "-0\n", 1), false},
	} {
		if got := gcplog.ValidTraceParent(test.header); got != test.want {
			t.Errorf("ValidTraceParent(%q) = %v", test.header, got)
		}
		want := ""
		if test.want {
			want = test.header
		}
		if got := gcplog.TraceParent(gcplog.WithTrace(t.Context(), test.header)); got != want {
			t.Errorf("TraceParent of %q = %q", test.header, got)
		}
	}
	kept := gcplog.WithTrace(gcplog.WithTrace(t.Context(), valid), "junk")
	if gcplog.TraceParent(kept) != valid {
		t.Error("an invalid traceparent replaced a valid one")
	}
}

func TestTraceParentOf(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, test := range []struct{ parent, cloud, want string }{
		{valid, "", valid},
		{valid, "105445aa7843bc8bf206b12000100000/1;o=1", valid},
		{"", "", ""},
		{"junk", "junk", ""},
		{"junk", id + "/255;o=1", "00-" + id + "-00000000000000ff-01"},
		{"", id + "/18446744073709551615;o=0", "00-" + id + "-ffffffffffffffff-00"},
		{"", id + "/1", "00-" + id + "-0000000000000001-00"},
		{"", strings.ToUpper(id), "00-" + id + "-" + id[16:] + "-00"},
		{"", id + "/0;o=1", "00-" + id + "-" + id[16:] + "-01"},
		{"", id + "/-1", ""},
		{"", id + "/18446744073709551616", ""},
		{"", id + "/x", ""},
		{"", id[1:] + "/1", ""},
		{"", strings.Repeat("0", 32) + "/1", ""},
		{"", strings.Repeat("g", 32) + "/1", ""},
	} {
		if got := gcplog.TraceParentOf(test.parent, test.cloud); got != test.want {
			t.Errorf("TraceParentOf(%q, %q) = %q, want %q", test.parent, test.cloud, got, test.want)
		}
	}
}

func TestNewTraceParent(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		p := gcplog.NewTraceParent(rand.Reader)
		if !gcplog.ValidTraceParent(p) || seen[p] {
			t.Fatalf("%q is not valid, or not new", p)
		}
		seen[p] = true
	}
	// Ids of zero are not ids: they are read again.
	zeros := io.MultiReader(bytes.NewReader(make([]byte, 24)), strings.NewReader("abcdefghijklmnopqrstuvwx"))
	const want = "00-6162636465666768696a6b6c6d6e6f70-7172737475767778-01"
	if got := gcplog.NewTraceParent(zeros); got != want {
		t.Errorf("after zeros: %q, want %q", got, want)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic without random bytes")
		}
	}()
	gcplog.NewTraceParent(strings.NewReader("short"))
}

func FuzzTraceParentOf(f *testing.F) {
	f.Add(valid, "")
	f.Add("", "4bf92f3577b34da6a3ce929d0e0e4736/255;o=1")
	f.Fuzz(func(t *testing.T, parent, cloud string) {
		if got := gcplog.TraceParentOf(parent, cloud); got != "" && !gcplog.ValidTraceParent(got) {
			t.Errorf("TraceParentOf(%q, %q) = %q, which is not valid", parent, cloud, got)
		}
	})
}
