package gcplog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/gcplog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// decode returns the one line in out as JSON says it.
func decode(t testing.TB, out []byte) map[string]any {
	t.Helper()
	if !bytes.HasSuffix(out, []byte("\n")) || bytes.Count(out, []byte("\n")) != 1 {
		t.Fatalf("not one line: %q", out)
	}
	var m map[string]any
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return m
}

func TestHandlerKeepsTheContractOfSlog(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return gcplog.New(&out, gcplog.Options{})
	}, func(t *testing.T) map[string]any {
		m := decode(t, out.Bytes())
		m[slog.LevelKey], m[slog.MessageKey] = m["severity"], m["message"]
		return m
	})
}

type panics struct{}

func (*panics) Error() string                { panic("a method of nil") }
func (panics) MarshalJSON() ([]byte, error)  { panic("no") }
func (panics) LogValue() slog.Value          { panic("no value") }
func (badJSON) MarshalJSON() ([]byte, error) { return []byte("{"), nil }

type badJSON struct{}

type quietPanic struct{}

func (quietPanic) MarshalJSON() ([]byte, error) { panic("no") }

func TestFields(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	at := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.FixedZone("", 3600))
	nested := slog.Group("g", "a", 1, slog.Group("none"), slog.Group("", "inline", true),
		slog.Group("h", "severity", "inner"))
	for _, test := range []struct {
		name  string
		level slog.Level
		with  func(*slog.Logger) *slog.Logger
		args  []any
		want  map[string]any
	}{
		{"names that are taken", slog.LevelInfo, nil,
			[]any{"severity", "x", "time", "z", "level", 1,
				"logging.googleapis.com/trace", "forged", "httpRequest", 1, "timestamp", "t",
				"source", "s", "\x00source", "n", slog.Group("msg", "time", 1), slog.Group("", "message", "inline")},
			map[string]any{"severity": "INFO", "attr.severity": "x", "attr.time": "z",
				"level": 1.0, "msg": map[string]any{"time": 1.0},
				"attr.logging.googleapis.com/trace": "forged", "attr.httpRequest": 1.0, "attr.timestamp": "t",
				"source": "s", "\ufffdsource": "n", "attr.message": "inline"}},
		{"kinds", slog.LevelWarn, nil,
			[]any{"d", 1500 * time.Millisecond, "t", at, "e", errors.New("broken"), "n", nil,
				"u", uint64(math.MaxUint64), "f", 0.25, "b", []byte("raw"),
				"list", []int{1, 2}, "nan", math.NaN(), "inf", math.Inf(-1), "map", map[string]int{"k": 1}},
			map[string]any{"severity": "WARNING", "d": 1.5, "t": "2026-01-02T02:04:05.000006789Z", "e": "broken",
				"n": nil, "u": 18446744073709551615.0, "f": 0.25, "b": "raw",
				"list": []any{1.0, 2.0}, "nan": "NaN", "inf": "-Inf", "map": map[string]any{"k": 1.0}}},
		{"what does not print", slog.LevelError, nil,
			[]any{
				"nil", (*panics)(nil), "value", panics{}, "bad", badJSON{}, "chan", make(chan int),
				"panic", quietPanic{}, "odd",
			},
			map[string]any{"severity": "ERROR", "nil": "!PANIC", "value": "!PANIC",
				"bad": "!ERROR: a gcplog_test.badJSON is no JSON", "chan": "!ERROR: a chan int is no JSON",
				"panic": "!PANIC: a gcplog_test.quietPanic does not print", "!BADKEY": "odd"}},
		{"groups", gcplog.LevelNotice, func(l *slog.Logger) *slog.Logger {
			return l.With("top", 1).WithGroup("empty").WithGroup("outer").With("a", 1).With().
				WithGroup("").WithGroup("inner")
		}, []any{nested, gcplog.InsertID("id-1")},
			map[string]any{"severity": "NOTICE", "top": 1.0, "logging.googleapis.com/insertId": "id-1",
				"empty": map[string]any{"outer": map[string]any{"a": 1.0, "inner": map[string]any{
					"g": map[string]any{"a": 1.0, "inline": true, "h": map[string]any{"severity": "inner"}}}}}}},
		{"groups without an end", slog.LevelDebug,
			func(l *slog.Logger) *slog.Logger { return l.WithGroup("a").WithGroup("b") },
			[]any{slog.Group("c", slog.Group("d"))},
			map[string]any{"severity": "DEBUG"}},
		{"the worst", gcplog.LevelCritical, nil, nil, map[string]any{"severity": "CRITICAL"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			l := slog.New(gcplog.New(&out, gcplog.Options{
				Level: slog.LevelDebug, Project: "p-1", Labels: map[string]string{"function": "start"},
			}))
			if test.with != nil {
				l = test.with(l)
			}
			l.Log(gcplog.WithTrace(t.Context(), parent), test.level, "hello", test.args...)
			got := decode(t, out.Bytes())
			if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got["time"])); err != nil {
				t.Errorf("time: %v", err)
			}
			delete(got, "time")
			for k, v := range got { // the text of a panic in LogValue is slog's own
				s, ok := v.(string)
				if ok && test.want[k] == "!PANIC" && (strings.Contains(s, "panic") || strings.Contains(s, "PANIC")) {
					got[k] = "!PANIC"
				}
			}
			test.want["message"] = "hello"
			test.want["logging.googleapis.com/trace"] = "projects/p-1/traces/4bf92f3577b34da6a3ce929d0e0e4736"
			test.want["logging.googleapis.com/spanId"] = "00f067aa0ba902b7"
			test.want["logging.googleapis.com/trace_sampled"] = true
			test.want["logging.googleapis.com/labels"] = map[string]any{"function": "start"}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("line (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLevelProjectAndSource(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(gcplog.New(&out, gcplog.Options{Source: true}))
	ctx := gcplog.WithTrace(t.Context(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
	l.DebugContext(ctx, "not written")
	l.InfoContext(ctx, "written")
	got := decode(t, out.Bytes())
	if got["logging.googleapis.com/trace"] != nil {
		t.Errorf("a trace without a project: %v", got)
	}
	source, _ := got["logging.googleapis.com/sourceLocation"].(map[string]any)
	file, _ := source["file"].(string)
	if !strings.HasSuffix(file, "handler_test.go") || source["line"] == nil || source["function"] == nil {
		t.Errorf("source is %v", source)
	}
}

// TestNothingBreaksALine: whatever is logged, a line is one JSON object with the fields it should have, without NUL.
func TestNothingBreaksALine(t *testing.T) {
	for _, text := range hostile {
		checkLine(t, text, text)
	}
}

var hostile = []string{
	"", "\n{\"severity\":\"EMERGENCY\"}\n", "a\x00b", "\xff\xfe", "é\xc3", "\u2028\u2029", `"},"severity":"x"`,
	`\u0000`, "\x7f\x1b[31m", "\\", "\x00insertId",
	"a\u0085b\u009b31m", "\u202egpj.exe\u2066\u200f", `\u009b`, `\u202e`,
	strings.Repeat("x", 20<<10), strings.Repeat("é", 10<<10), strings.Repeat("\xff", 20<<10),
}

func FuzzLine(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, key, text string) { checkLine(t, key, text) })
}

func checkLine(t *testing.T, key, text string) {
	t.Helper()
	var out bytes.Buffer
	l := slog.New(gcplog.New(&out, gcplog.Options{Labels: map[string]string{"k": text}}))
	l.With(key, text).WithGroup(key).Error(text, key, text, "any", map[string]string{text: text},
		"raw", json.RawMessage(text), "e", errors.New(text), slog.Group(key, key, text))
	m := decode(t, out.Bytes())
	if m["severity"] != "ERROR" {
		t.Errorf("severity is %v for %q", m["severity"], text)
	}
	if s := out.String(); strings.Contains(s, "\x00") || strings.Contains(strings.ReplaceAll(s, `\\`, ""), `\u0000`) {
		t.Errorf("NUL in %q", s)
	}
	if i := strings.IndexFunc(strings.TrimSuffix(out.String(), "\n"), func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	}); i >= 0 {
		t.Errorf("%.20q in a line", out.String()[i:])
	}
	if len(text) <= 1<<10 {
		want := strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
		if got := fmt.Sprint(m["message"]); strings.ToValidUTF8(text, "") == text && got != want {
			t.Errorf("message %q came out as %q", text, got)
		}
	} else if out.Len() > 256<<10 {
		t.Errorf("a line of %d bytes", out.Len())
	}
}

// lines counts writes, each of which must be one line.
type lines struct {
	mu sync.Mutex
	n  int
	t  *testing.T
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	decode(l.t, p)
	l.n++
	return len(p), nil
}

func TestConcurrentUse(t *testing.T) {
	w := &lines{t: t}
	base := slog.New(gcplog.New(w, gcplog.Options{Project: "p"})).With("a", 1).WithGroup("g")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			l := base.With("worker", i)
			for n := range 100 {
				l.Info("x", "n", n, "text", strings.Repeat("y", n))
			}
		})
	}
	wg.Wait()
	if w.n != 800 {
		t.Errorf("%d lines, want 800", w.n)
	}
}

func TestAWriterThatFails(t *testing.T) {
	r, w := io.Pipe()
	_ = r.Close()
	err := gcplog.New(w, gcplog.Options{}).Handle(context.Background(), slog.Record{Message: "x"})
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error is %v", err)
	}
}

func BenchmarkHandle(b *testing.B) {
	l := slog.New(gcplog.New(io.Discard, gcplog.Options{
		Project: "p-1", Labels: map[string]string{"function": "check"},
	})).With("case_id", "c-1", "run", 1)
	ctx := gcplog.WithTrace(b.Context(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	b.ReportAllocs()
	for b.Loop() {
		l.InfoContext(ctx, "progress checked",
			"completed", 12, "total", 52, "took", 120*time.Millisecond, "state", "running")
	}
}
