package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
)

// sight is a run as JSON shows it: "running 1/3 v4", or "succeeded 3/3 v5" with what is added.
func sight(t *testing.T, text string) view {
	t.Helper()
	var v view
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

const (
	open1  = `{"run":1,"state":"running","progress":{"completed":1,"total":3,"percent":33.3},"version":3}`
	open2  = `{"run":1,"state":"running","progress":{"completed":2,"total":3,"percent":66.7},"version":4}`
	older  = `{"run":1,"state":"running","progress":{"completed":1,"total":3,"percent":33.3},"version":4}`
	ended2 = `{"run":1,"state":"succeeded","progress":{"completed":2,"total":3,"percent":66.7},"version":5,"ended_at":"2026-03-04T05:06:07Z","end":{"reason":"completed"},"checks":{"count":4}`
)

func TestWitnessOfStatus(t *testing.T) {
	failed := strings.Replace(strings.Replace(ended2, "succeeded", "failed", 1), "completed\"}", "pipeline_failed\"}", 1)
	tests := []struct {
		name   string
		sights []string
		want   promise // "" for none
	}{
		{"as it should be", []string{open1, open1, open2, ended2 + `}`, ended2 + `}`}, ""},
		{"a result comes after the end", []string{ended2 + `,"result":null}`, ended2 + `,"result":{"a":1}}`, ended2 + `,"result":{"a":1}}`}, ""},
		{"a late word is kept", []string{ended2 + `}`, ended2 + `,"late":{"state":"failed","count":1}}`, ended2 + `,"late":{"state":"failed","count":2}}`}, ""},
		{"progress goes back", []string{open2, older}, forward},
		{"an older version", []string{open2, open1}, forward},
		{"it runs again", []string{ended2 + `}`, strings.Replace(open2, `"version":4`, `"version":6`, 1)}, final},
		{"another end", []string{ended2 + `}`, failed + `}`}, final},
		{"another time", []string{ended2 + `}`, strings.Replace(ended2, "05:06:07", "05:06:08", 1) + `}`}, final},
		{"more progress after the end", []string{ended2 + `}`, strings.Replace(ended2, `"completed":2,"total":3,"percent":66.7`, `"completed":3,"total":3,"percent":100`, 1) + `}`}, final},
		{"another result", []string{ended2 + `,"result":{"a":1}}`, ended2 + `,"result":{"a":2}}`}, final},
		{"a late word goes", []string{ended2 + `,"late":{"state":"failed","count":1}}`, ended2 + `}`}, final},
		{"another late word", []string{ended2 + `,"late":{"state":"failed","count":1}}`, ended2 + `,"late":{"state":"succeeded","count":2}}`}, final},
		{"checks go on", []string{ended2 + `}`, strings.Replace(ended2, `"count":4`, `"count":6`, 1) + `}`}, oneChain},
		{"the check under way is counted", []string{ended2 + `}`, strings.Replace(ended2, `"count":4`, `"count":5`, 1) + `}`}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWitness("c")
			for _, text := range test.sights {
				w.saw(sight(t, text), time.Now())
			}
			only(t, w, test.want)
		})
	}
}

// only fails unless just that promise was seen broken.
func only(t *testing.T, w *witness, want promise) {
	t.Helper()
	switch {
	case want == "" && len(w.breaches) > 0:
		t.Errorf("%+v", w.breaches)
	case want != "" && (len(w.breaches) != 1 || w.breaches[0].Promise != want):
		t.Errorf("%+v, want %q", w.breaches, want)
	}
}

func TestWitnessOfStream(t *testing.T) {
	progress := func(run int, version int64, done int) streamEvent {
		return streamEvent{name: "progress", id: eventID{run, version}, Current: done, Percent: float64(done)}
	}
	end := func(run int, version int64) streamEvent {
		return streamEvent{name: "complete", id: eventID{run, version}}
	}
	tests := []struct {
		name   string
		events []streamEvent
		want   promise
	}{
		{"as it should be", []streamEvent{progress(1, 1, 0), progress(1, 3, 1), end(1, 4)}, ""},
		{"a new run", []streamEvent{progress(1, 3, 2), progress(2, 1, 0), end(2, 2)}, ""},
		{"an event again", []streamEvent{progress(1, 3, 1), progress(1, 3, 1)}, forward},
		{"an older run", []streamEvent{progress(2, 1, 0), progress(1, 3, 1)}, forward},
		{"progress goes back", []streamEvent{progress(1, 1, 2), progress(1, 2, 1)}, forward},
		{"two ends", []streamEvent{end(1, 4), end(1, 5)}, told},
		{"progress after the end", []streamEvent{end(1, 4), progress(1, 5, 3)}, final},
		{"another end than status", []streamEvent{{name: "error", id: eventID{7, 9}, State: "failed"}}, final},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWitness("c")
			if strings.HasPrefix(test.name, "another end") {
				w.saw(sight(t, strings.Replace(ended2+`}`, `"run":1`, `"run":7`, 1)), time.Now())
			}
			last := eventID{}
			for _, e := range test.events {
				w.streamed(e, last)
				last = e.id
			}
			only(t, w, test.want)
		})
	}
	w := newWitness("c")
	w.closed(1)
	only(t, w, told)
}

// What a deployed system cannot be put through is skipped, and said why.
func TestDeployedSystemIsSpared(t *testing.T) {
	where := &target.Target{EventsTopic: "t", Console: "https://console"}
	for _, f := range faults {
		why := ""
		if f.needs != nil {
			why = f.needs(where, settings{})
		}
		yes := ""
		if f.needs != nil {
			yes = f.needs(where, settings{yesPurge: true})
		}
		switch f.name {
		case "purge", "kill-at-start":
			if !strings.Contains(why, "--yes-purge") || yes != "" {
				t.Errorf("%s: %q, with --yes-purge %q", f.name, why, yes)
			}
		case "lost-event", "freeze", "progress-down":
			if !strings.Contains(yes, "sample pipeline") {
				t.Errorf("%s: %q", f.name, yes)
			}
		default:
			if why != "" {
				t.Errorf("%s: %q", f.name, why)
			}
		}
	}
}

func TestWrongUse(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	dir := t.TempDir()
	if err := (&target.Target{
		Start: "http://127.0.0.1:1/start", Status: "s", Project: "p", Checks: []string{"c"}, Dispatch: "d", CheckURL: "c", DispatchURL: "d",
	}).Write(dir); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, target.File)
	empty := func(name string) (string, bool) { return t.TempDir(), name == "DATA_DIR" }
	tests := []struct {
		name string
		args []string
		env  func(string) (string, bool)
		want string
	}{
		{"no machine", nil, empty, "no `make run` is ready"},
		{"a flag that there is not", []string{"--all"}, none, "flag provided but not defined"},
		{"an argument", []string{"staging"}, none, "too many arguments"},
		{"no such file", []string{"--target", "/nowhere"}, none, "no such file"},
		{"a machine that is gone", []string{"--target", gone}, none, "nothing answers at http://127.0.0.1:1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var errs bytes.Buffer
			if code := command(t.Context(), test.args, test.env, io.Discard, &errs); code != 2 || !strings.Contains(errs.String(), test.want) {
				t.Errorf("%d: %s", code, errs.String())
			}
		})
	}
	if _, err := Run(context.Background(), &target.Target{}, settings{only: []string{"flood"}}, io.Discard); err == nil || !strings.Contains(err.Error(), "stale-tasks") {
		t.Errorf("a fault that there is not: %v", err)
	}
}
