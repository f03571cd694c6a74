package main

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
)

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
	dir := t.TempDir()
	if err := (&target.Target{
		Start: "http://127.0.0.1:1/start", Status: "s", Project: "p", Checks: []string{"c"}, Dispatch: "d",
		CheckURL: "c", DispatchURL: "d",
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
		{"a flag that there is not", []string{"--all"}, noEnv, "flag provided but not defined"},
		{"an argument", []string{"staging"}, noEnv, "too many arguments"},
		{"no such file", []string{"--target", "/nowhere"}, noEnv, "no such file"},
		{"a machine that is gone", []string{"--target", gone}, noEnv, "nothing answers at http://127.0.0.1:1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var errs strings.Builder
			code := command(t.Context(), test.args, test.env, io.Discard, &errs)
			if code != 2 || !strings.Contains(errs.String(), test.want) {
				t.Errorf("%d: %s", code, errs.String())
			}
		})
	}
	_, err := Run(context.Background(), &target.Target{}, settings{only: []string{"flood"}}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "stale-tasks") {
		t.Errorf("a fault that there is not: %v", err)
	}
}
