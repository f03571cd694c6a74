package target_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
)

func TestWrittenTargetIsRead(t *testing.T) {
	dir := t.TempDir()
	want := &target.Target{
		Name: "here", Start: "http://s", Status: "http://t", Project: "p", Checks: []string{"c"}, Dispatch: "d",
		CheckURL: "http://c", DispatchURL: "http://d",
		APIKey: "k", TasksEmulator: "127.0.0.1:1", PubSubEmulator: "127.0.0.1:2",
		SweepInterval: target.In(90 * time.Second),
	}
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, target.File)
	got, err := target.Read(file)
	if err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("%v %s", err, cmp.Diff(want, got))
	}
	if !got.Local() || got.SweepInterval.Duration() != 90*time.Second {
		t.Errorf("local %v, sweep %v", got.Local(), got.SweepInterval.Duration())
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v %v", info.Mode(), err)
	}
	for range 2 { // the second time there is none
		if err := target.Remove(dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := target.Read(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed, and read: %v", err)
	}
}

func TestReadNamesWhatIsMissing(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", `{}`, "start is missing"},
		{"no queues", `{"start":"s","status":"t","project":"p","dispatch":"d","check_url":"c","dispatch_url":"d"}`,
			"checks is missing"},
		{"no JSON", `{`, "unexpected end"},
		{"no duration", `{"check_timeout":"ten"}`, "invalid duration"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "t.json")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := target.Read(file); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestSecondsAreNumbersOrDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`10`: 10 * time.Second, `0.5`: 500 * time.Millisecond, `"2s"`: 2 * time.Second, `"1m30s"`: 90 * time.Second,
	} {
		var s target.Seconds
		if err := s.UnmarshalJSON([]byte(text)); err != nil || s.Duration() != want {
			t.Errorf("%s is %v, %v", text, s.Duration(), err)
		}
	}
}
