package termlog_test

import (
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/deploy/local/termlog"
	"github.com/casewatch/casewatch/shared/gcplog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const traceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// colour matches an escape sequence that sets a colour.
var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

// padded returns a message with the padding that precedes its attributes.
func padded(message string) string { return message + strings.Repeat(" ", 33-len([]rune(message))) }

func TestLines(t *testing.T) {
	at := time.Date(2026, 11, 30, 17, 4, 5, 6789, time.Local)
	for _, test := range []struct {
		name    string
		level   slog.Level
		message string
		args    []any
		want    string // what follows the time; "" if no line is written
	}{
		{
			"start", slog.LevelInfo, "case accepted",
			[]any{"case_id", "c-1", "run", 1, "deadline_at", at, "adopted", false, "inner", slog.GroupValue()},
			"INF " + padded("case accepted") + "case=c-1 run=1 deadline=17:04:05",
		},
		{
			"check that read progress", slog.LevelInfo, "progress checked",
			[]any{
				"case_id", "c-1", "run", 2, "seq", int64(4), "found", "reading", "verdict", "applied",
				"completed", 0, "total", 3, "moved", true, "next_seconds", 1.9994,
			},
			"INF " + padded("progress checked") + "case=c-1 run=2 found=reading completed=0 total=3 next=2s",
		},
		{
			"check that changed nothing", slog.LevelInfo, "progress checked",
			[]any{"case_id", "c-1", "run", 2, "verdict", "stale", "next_seconds", 0.25},
			"INF " + padded("progress checked") + "case=c-1 run=2 verdict=stale next=300ms",
		},
		{
			"end of a run", slog.LevelInfo, "progress checks ended",
			[]any{
				"case_id", "c-1", "run", 1, "state", "failed", "reason", "pipeline_failed",
				"duration_seconds", 63.052634, gcplog.InsertID("c-1:1:ended"),
			},
			"INF " + padded("progress checks ended") +
				"case=c-1 run=1 state=failed reason=pipeline_failed duration=1m3.1s",
		},
		{
			"failed delivery", slog.LevelWarn, "delivery failed",
			[]any{
				"task", "projects/p/locations/l/queues/casewatch-check/tasks/0f3a", "attempt", 2,
				"code", "Unavailable", "error", "status 503", "again_at", at, "message_id", "m1",
			},
			"WRN " + padded("delivery failed") +
				`task=casewatch-check/0f3a attempt=2 code=Unavailable error="status 503" again=17:04:05`,
		},
		{
			"sweep that repaired nothing", slog.LevelInfo, "sweep",
			[]any{"open", 3, "overdue", 0, "rearmed", 0, "purged", 0, "leaked", 0},
			"",
		},
		{
			"sweep that repaired", slog.LevelInfo, "sweep",
			[]any{"open", 3, "overdue", 1, "rearmed", 1, "purged", 0, "leaked", 0},
			"INF " + padded("sweep") + "open=3 overdue=1 rearmed=1",
		},
		{
			"sweep that found a leak", slog.LevelError, "sweep",
			[]any{"open", 0, "overdue", 0, "leaked", 1},
			"ERR " + padded("sweep") + "leaked=1",
		},
		{
			"error", slog.LevelError, "request failed",
			[]any{"method", "GET", "status", 500, "error", errors.New("disk full")},
			"ERR " + padded("request failed") + `method=GET status=500 error="disk full"`,
		},
		{"level below Info", slog.LevelDebug, "duration not recorded", nil, ""},
		{
			"message longer than the padding", slog.LevelInfo, strings.Repeat("m", 40),
			[]any{"case_id", "c"},
			"INF " + strings.Repeat("m", 40) + " case=c",
		},
		{"message without attributes", slog.LevelInfo, "ready", nil, "INF ready"},
		{
			"escape sequences", slog.LevelWarn, "m\x1b[2J\x9b2J",
			[]any{"error", "a\x1b]0;title\x07b\x7f\nforged \u009b31m \u202e", "k\x1b[1m", "\xffv"},
			"WRN " + padded("m [2J 2J") + `error="a ]0;title b forged 31m" "k [1m"=v`,
		},
		{
			"attributes with the names of slog's own", slog.LevelInfo, "m",
			[]any{"msg", "a\x1b[1m", "level", "b\x1b", "time", "c\x1b"},
			"INF " + padded("m") + `msg="a [1m" level=b time=c`,
		},
		{
			"value that is too long", slog.LevelWarn, "m",
			[]any{"error", strings.Repeat("é", 2000)},
			"WRN " + padded("m") + "error=" + strings.Repeat("é", 299) + "…",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, colours := range []bool{true, false} {
				var out strings.Builder
				ctx := gcplog.WithTrace(t.Context(), traceParent)
				slog.New(termlog.New(&out, colours)).Log(ctx, test.level, test.message, test.args...)
				got := out.String()
				if test.want == "" {
					if got != "" {
						t.Errorf("got the line %q, want none", got)
					}
					continue
				}
				if hasColour := colour.MatchString(got); hasColour != colours {
					t.Errorf("has colours: %v, want %v", hasColour, colours)
				}
				got = colour.ReplaceAllString(got, "")
				clock, line, _ := strings.Cut(got, " ")
				if _, err := time.Parse(time.TimeOnly, clock); err != nil {
					t.Errorf("the line begins with %q, want a time", clock)
				}
				if line != test.want+"\n" {
					t.Errorf("\ngot  %q\nwant %q", line, test.want+"\n")
				}
			}
		})
	}
}

func TestAttributesOfALoggerAreWrittenOnEachLine(t *testing.T) {
	var out strings.Builder
	log := slog.New(termlog.New(&out, true)).With("case_id", "c-1", "seq", 7).WithGroup("g").With("a", 1)
	log.Info("m", "state", "succeeded", slog.Group("h", "b", 2))
	got, want := colour.ReplaceAllString(out.String(), ""), "case=c-1 g.a=1 g.state=succeeded g.h.b=2\n"
	if !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want the end %q", got, want)
	}
}

func TestColourOfAStateShowsHowTheRunEnded(t *testing.T) {
	colours := map[string]string{}
	for _, state := range []string{"succeeded", "failed", "timed_out", "cancelled"} {
		var out strings.Builder
		slog.New(termlog.New(&out, true)).Info("m", "state", state)
		colours[state] = colour.FindAllString(out.String(), -1)[4]
	}
	if colours["succeeded"] == colours["failed"] || colours["failed"] != colours["timed_out"] ||
		colours["cancelled"] == colours["failed"] {
		t.Errorf("colours are %q, want one for failed and timed_out, and others for succeeded and cancelled", colours)
	}
}
