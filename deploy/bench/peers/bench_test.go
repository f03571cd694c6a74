package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/casewatch/casewatch/deploy/bench/peers/stub"
)

// seed is one with which both cases take 6 to 7 s.
const seed = "534"

// TestSmoke: every system follows two short cases to their ends, by polling and by events, and what it took is measured. No figure is judged but those that
// must be 0.
func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute: leave out -short")
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
				for _, name := range []string{lost, doubled, zombies, again} {
					if r[name] != 0 {
						t.Errorf("%s: %v", name, r[name])
					}
				}
				for _, name := range []string{lag99, accepted, accept50, accept99, commits, peakOf + programPart} {
					if !(r[name] > 0) {
						t.Errorf("%s: %v", name, r[name])
					}
				}
				if mode == stub.Polling && !(r[polls] >= 2) {
					t.Errorf("%v polls a case, and the length of each needs two", r[polls])
				}
			})
		}
	}
}

// needs skips what this machine has not.
func needs(t *testing.T, system string) {
	t.Helper()
	if system == "node" {
		if _, err := exec.LookPath("node"); err != nil {
			t.Skip("there is no node (apt-get install nodejs npm)")
		}
		if _, err := os.Stat("node/node_modules/pg"); err != nil {
			t.Skip("what the Node server needs is not installed (npm ci --prefix deploy/bench/peers/node)")
		}
	}
	if system != "sqlite" {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is good
		if _, err := exec.LookPath("postgres"); err != nil && len(found) == 0 {
			t.Skip("there is no PostgreSQL (apt-get install postgresql)")
		}
	}
}
