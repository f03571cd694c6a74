package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/casewatch/casewatch/deploy/bench/peers/stub"
)

// seed makes both cases take 6 to 7 s.
const seed = "534"

// TestSmoke lets every system follow two short cases to their ends, by polling and by events. It
// shows that the figures that must be 0 are 0, and that the others are measured.
func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("the test takes a minute: run it without -short")
	}
	b, err := parse([]string{"-n=2", "-seed=" + seed})
	if err != nil {
		t.Fatal(err)
	}
	b.dir = t.TempDir()
	if err := b.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range b.systems {
		for _, mode := range []stub.Mode{stub.Polling, stub.Events} {
			t.Run(c.key+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				needs(t, c.key)
				r, err := b.run(t.Context(), c, mode)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{lost, doubled, zombies, repeated} {
					if r[name] != 0 {
						t.Errorf("%s is %v, want 0", name, r[name])
					}
				}
				for _, name := range []string{lag99, accepted, accept50, accept99, commits, peakOf + programPart} {
					if !(r[name] > 0) {
						t.Errorf("%s is %v, want more than 0", name, r[name])
					}
				}
				if mode == stub.Polling && !(r[polls] >= 2) {
					t.Errorf("%v polls per case, want at least 2 in 6 s", r[polls])
				}
			})
		}
	}
}

// needs skips the test if the machine lacks a program of the system.
func needs(t *testing.T, system string) {
	t.Helper()
	if system == "node" {
		if _, err := exec.LookPath("node"); err != nil {
			t.Skip("node is not installed (apt-get install nodejs npm)")
		}
		if _, err := os.Stat("node/node_modules/pg"); err != nil {
			t.Skip("the modules of the Node server are not installed (npm ci --prefix deploy/bench/peers/node)")
		}
	}
	if system != "sqlite" {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // fails only for a bad pattern
		if _, err := exec.LookPath("postgres"); err != nil && len(found) == 0 {
			t.Skip("PostgreSQL is not installed (apt-get install postgresql)")
		}
	}
}
