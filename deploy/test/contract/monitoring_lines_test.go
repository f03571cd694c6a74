package contract

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
)

// counted evaluates the metrics over log entries: name, then the labels' values in the order of
// their keys, then the count of a counter, or sum and count of a distribution.
func counted(t *testing.T, metrics map[string]logMetric, entries []entry) map[string]float64 {
	t.Helper()
	found := map[string]float64{}
	for name, m := range metrics {
		for _, e := range entries {
			ok, err := e.matches(m.Filter)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !ok {
				continue
			}
			series := name
			for _, key := range slices.Sorted(maps.Keys(m.LabelExtractors)) {
				label, err := e.extracted(m.LabelExtractors[key])
				if err != nil || label == "" {
					t.Errorf("%s: the label %s is %q, %v", name, key, label, err)
				}
				series += fmt.Sprint(" ", label)
			}
			if !m.distribution() {
				found[series]++
				continue
			}
			v, err := e.extracted(m.ValueExtractor)
			n, isNumber := v.(float64)
			if err != nil || !isNumber {
				t.Errorf("%s: the value is %v, %v", name, v, err)
			}
			found[series+" sum"] += n
			found[series+" count"]++
		}
	}
	return found
}

// TestMetricsCountWhatIsLogged takes cases of every kind through the real reconciler, and its real
// log lines through the metrics. A line or field that is renamed makes it fail.
func TestMetricsCountWhatIsLogged(t *testing.T) {
	f := newFloor(t)

	f.shows(1) // moves once, is seen again, and the pipeline's events bring the rest
	f.start("good")
	f.pass("good", 10*time.Second)
	f.event("1", `{"case_id":"good","run":1,"status":"running","progress":{"completed":3,"total":4}}`)
	f.event("2", `{"case_id":"good","run":1,"status":"succeeded","result":{"success":true}}`)
	f.event("3", `not an event`)

	f.answer = cases.DispatchRefused
	f.start("refused")
	f.pass("refused", time.Second)

	f.answer = cases.DispatchUnreachable
	f.start("unreachable")
	f.pass("unreachable", 11*time.Minute)

	f.answer = cases.DispatchAccepted
	f.found = cases.CheckOutcome{Kind: cases.CheckFailed, Message: "no answer"}
	f.start("silent")
	f.pass("silent", 11*time.Minute)

	f.shows(1)
	f.start("stalled")
	f.pass("stalled", 6*time.Minute)
	if rep := f.sweep(); rep.Open != 1 || rep.Overdue != 0 {
		t.Fatalf("%+v", rep)
	}
	f.as("cancel", func(ctx context.Context) error { _, err := f.w.Cancel(ctx, "stalled", 0); return err })

	f.start("lost") // its check is lost, then looked for after its deadline
	f.pass("lost", time.Second)
	clear(f.tasks)
	f.now = f.now.Add(time.Minute)
	if rep := f.sweep(); rep.Rescheduled != 1 || rep.Overdue != 1 {
		t.Fatalf("%+v", rep)
	}
	f.now = f.now.Add(time.Hour)
	if rep := f.sweep(); rep.TimedOut != 1 {
		t.Fatalf("%+v", rep)
	}
	clear(f.tasks)

	f.start("untold") // its end is told by the sweep, which finds its check alive
	f.pass("untold", time.Second)
	f.queueDown = true
	f.event("4", `{"case_id":"untold","run":1,"status":"succeeded"}`)
	f.queueDown = false
	f.now = f.now.Add(time.Minute)
	if rep := f.sweep(); rep.Republished != 1 || rep.Leaked != 1 {
		t.Fatalf("%+v", rep)
	}

	if len(f.looks) != 2 || f.looks["reading"] == 0 || f.looks["unable"] == 0 || f.handed["unreachable"] < 2 {
		t.Fatalf("the pipeline was not asked as meant: %v, %v", f.looks, f.handed)
	}
	want := map[string]float64{
		"cases-accepted":                          f.started,
		"cases-ended completed succeeded":         2, // reason, state
		"cases-ended pipeline_refused failed":     1,
		"cases-ended pipeline_unreachable failed": 2,
		"cases-ended cancelled cancelled":         1,
		"cases-ended deadline timed_out":          1,
		"progress-moved":                          3, // good, by a check and by an event, and stalled
		"progress-stalled":                        2, // stalled, and silent
		"events-invalid":                          f.forwarded,
		"errors":                                  2, // the end that was not told, and the sweep that found a leak
		"checks reading":                          f.looks["reading"],
		"checks unable":                           f.looks["unable"],
		"case-duration succeeded count":           2,
		"case-duration failed count":              3,
		"case-duration cancelled count":           1,
		"case-duration timed_out count":           1,
		"case-duration succeeded sum":             11,
		"case-duration cancelled sum":             360,
	}
	for outcome, n := range f.handed {
		want["dispatches "+outcome] = n
	}
	for _, rep := range f.swept {
		for name, n := range map[string]int{"open": rep.Open, "overdue": rep.Overdue, "rearmed": rep.Rescheduled,
			"timed-out": rep.TimedOut, "republished": rep.Republished, "leaked": rep.Leaked} {
			want["sweep-"+name+" sum"] += float64(n)
			want["sweep-"+name+" count"]++
		}
	}
	// A failed request of the platform's own log says nothing that the function does not.
	f.entries = append(f.entries, newEntry("run.googleapis.com/requests", "check", "ERROR", map[string]any{}))
	metrics := logMetrics(t)
	got := counted(t, metrics, f.entries)
	for series, n := range want {
		if got[series] != n {
			t.Errorf("%s is %v, want %v", series, got[series], n)
		}
	}
	for series, n := range got {
		if _, ok := want[series]; !ok && !strings.HasPrefix(series, "case-duration") && series != "checks skipped" {
			t.Errorf("%s is %v, which nothing here should have caused", series, n)
		}
	}
	for name := range metrics {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(got)), func(series string) bool {
			return series == name || strings.HasPrefix(series, name+" ")
		}) {
			t.Errorf("no line is counted by %s", name)
		}
	}
}

// TestMetricsCountNothingElse: another service of the project that logs the same is not counted.
func TestMetricsCountNothingElse(t *testing.T) {
	f := newFloor(t)
	f.shows(1)
	f.start("c")
	f.pass("c", 10*time.Second)
	f.event("1", `not an event`)
	f.sweep()
	for _, e := range f.entries {
		e["resource"] = newEntry("", "other", "", nil)["resource"]
		e["severity"] = "ERROR"
	}
	if got := counted(t, logMetrics(t), f.entries); len(got) > 0 {
		t.Errorf("counted %v", got)
	}
}

var (
	runbookMessage = regexp.MustCompile(`jsonPayload\.message=\\?"([^"\\]+)`)
	runbookField   = regexp.MustCompile(`jsonPayload\.([a-zA-Z_]+)`)
	platformFields = []string{"message", "debugInfo"} // the latter is Cloud Scheduler's
)

// TestRunbooksNameWhatIsLogged: every message and field that a runbook or the dashboard looks for
// is written out in the source of what is deployed.
func TestRunbooksNameWhatIsLogged(t *testing.T) {
	var source strings.Builder
	for _, folder := range []string{"shared", "functions"} {
		err := filepath.WalkDir(filepath.Join(root(t), folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			source.Write(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pages := files(t, "runbooks", ".md")
	pages["dashboard"] = filepath.Join(root(t), "deploy/gcp/monitoring/dashboard.json")
	looked := 0
	for name, path := range pages {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range slices.Concat(runbookMessage.FindAllStringSubmatch(string(data), -1),
			runbookField.FindAllStringSubmatch(string(data), -1)) {
			looked++
			if !slices.Contains(platformFields, m[1]) && !strings.Contains(source.String(), strconv.Quote(m[1])) {
				t.Errorf("%s looks for %q, which nothing logs", name, m[1])
			}
		}
	}
	if looked == 0 {
		t.Error("no page looks for anything: is the pattern of this test right?")
	}
}
