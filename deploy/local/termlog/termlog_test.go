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

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// colour is what a terminal does not show.
var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestLines(t *testing.T) {
	at := time.Date(2026, 11, 30, 17, 4, 5, 6789, time.Local)
	for _, test := range []struct {
		name    string
		level   slog.Level
		message string
		args    []any
		want    string // after the time; "" for no line
	}{
		{"a start", slog.LevelInfo, "case accepted", []any{"case_id", "c-1", "run", 1, "deadline_at", at, "adopted", false, "inner", slog.GroupValue()},
			"INF case accepted                    case=c-1 run=1 deadline=17:04:05"},
		{"a check", slog.LevelInfo, "progress checked",
			[]any{"case_id", "c-1", "run", 2, "seq", int64(4), "found", "reading", "verdict", "applied", "completed", 0, "total", 3, "moved", true, "next_seconds", 1.9994},
			"INF progress checked                 case=c-1 run=2 found=reading completed=0 total=3 next=2s"},
		{"a check that changes nothing", slog.LevelInfo, "progress checked", []any{"case_id", "c-1", "run", 2, "verdict", "stale", "next_seconds", 0.25},
			"INF progress checked                 case=c-1 run=2 verdict=stale next=300ms"},
		{"an end", slog.LevelInfo, "progress checks ended",
			[]any{"case_id", "c-1", "run", 1, "state", "failed", "reason", "pipeline_failed", "duration_seconds", 63.052634, gcplog.InsertID("c-1:1:ended")},
			"INF progress checks ended            case=c-1 run=1 state=failed reason=pipeline_failed duration=1m3.1s"},
		{"a delivery", slog.LevelWarn, "a delivery failed",
			[]any{"task", "projects/p/locations/l/queues/casewatch-check/tasks/0f3a", "attempt", 2, "code", "Unavailable", "error", "status 503", "again_at", at, "message_id", "m1"},
			`WRN a delivery failed                task=casewatch-check/0f3a attempt=2 code=Unavailable error="status 503" again=17:04:05`},
		{"a sweep with nothing to do", slog.LevelInfo, "sweep", []any{"open", 3, "overdue", 0, "rearmed", 0, "purged", 0, "leaked", 0}, ""},
		{"a sweep that repaired", slog.LevelInfo, "sweep", []any{"open", 3, "overdue", 1, "rearmed", 1, "purged", 0, "leaked", 0},
			"INF sweep                            open=3 overdue=1 rearmed=1"},
		{"a leak", slog.LevelError, "sweep", []any{"open", 0, "overdue", 0, "leaked", 1}, "ERR sweep                            leaked=1"},
		{"an error", slog.LevelError, "a request could not be served", []any{"method", "GET", "status", 500, "error", errors.New("disk full")},
			`ERR a request could not be served    method=GET status=500 error="disk full"`},
		{"below", slog.LevelDebug, "a run was not learned from", nil, ""},
		{"a long message", slog.LevelInfo, strings.Repeat("m", 40), []any{"case_id", "c"}, "INF " + strings.Repeat("m", 40) + " case=c"},
		{"a message alone", slog.LevelInfo, "ready", nil, "INF ready"},
		{"what a terminal obeys", slog.LevelWarn, "m\x1b[2J\x9b2J", []any{"error", "a\x1b]0;title\x07b\x7f\nforged \u009b31m \u202e", "k\x1b[1m", "\xffv"},
			`WRN m [2J 2J                         error="a ]0;title b forged 31m" "k [1m"=v`},
		{"names that are taken", slog.LevelInfo, "m", []any{"msg", "a\x1b[1m", "level", "b\x1b", "time", "c\x1b"}, "INF m                                msg=\"a [1m\" level=b time=c"},
		{"endless", slog.LevelWarn, "m", []any{"error", strings.Repeat("é", 2000)}, "WRN m                                error=" + strings.Repeat("é", 299) + "…"},
	} {
		for _, colours := range []bool{true, false} {
			var out strings.Builder
			slog.New(termlog.New(&out, colours)).Log(gcplog.WithTrace(t.Context(), parent), test.level, test.message, test.args...)
			got := out.String()
			if test.want == "" {
				if got != "" {
					t.Errorf("%s: %q", test.name, got)
				}
				continue
			}
			if hasColour := colour.MatchString(got); hasColour != colours {
				t.Errorf("%s: colours %v, want %v", test.name, hasColour, colours)
			}
			got = colour.ReplaceAllString(got, "")
			clock, line, _ := strings.Cut(got, " ")
			if _, err := time.Parse(time.TimeOnly, clock); err != nil || line != test.want+"\n" {
				t.Errorf("%s:\ngot  %q\nwant %q", test.name, line, test.want+"\n")
			}
		}
	}
}

// Attributes of With are written as those of a line, and an end's state has a colour that says how it went.
func TestWithAndColours(t *testing.T) {
	var out strings.Builder
	log := slog.New(termlog.New(&out, true)).With("case_id", "c-1", "seq", 7).WithGroup("g").With("a", 1)
	log.Info("m", "state", "succeeded", slog.Group("h", "b", 2))
	if got := colour.ReplaceAllString(out.String(), ""); !strings.HasSuffix(got, "case=c-1 g.a=1 g.state=succeeded g.h.b=2\n") {
		t.Errorf("%q", got)
	}
	ends := map[string]string{}
	for _, state := range []string{"succeeded", "failed", "timed_out", "cancelled"} {
		out.Reset()
		slog.New(termlog.New(&out, true)).Info("m", "state", state)
		ends[state] = colour.FindAllString(out.String(), -1)[4]
	}
	if ends["succeeded"] == ends["failed"] || ends["failed"] != ends["timed_out"] || ends["cancelled"] == ends["failed"] {
		t.Errorf("%q", ends)
	}
}
