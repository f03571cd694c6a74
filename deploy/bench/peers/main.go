// Command bench compares Casewatch with what else one would use, on the same cases in one run: `make bench`.
//
// A stub pipeline works on N cases that are started at once. Each system follows them to their ends: every function of Casewatch in one process, with
// the local Cloud Tasks and Pub/Sub servers in theirs, over SQLite and over PostgreSQL; River with a job that snoozes; a Node server with a setInterval
// for each case. They take turns, each time with a fresh store. What is measured, and how, is in deploy/docs/tested.md. It needs Linux, PostgreSQL and Node.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/casewatch/casewatch/deploy/bench/peers/figures"
	"github.com/casewatch/casewatch/deploy/bench/peers/stub"
	"github.com/casewatch/casewatch/shared/store/drivers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is what is to be measured.
type bench struct {
	n, repeats int
	seed       uint64
	modes      []stub.Mode
	systems    []candidate
	dir        string // of the commands that were built
}

// parse reads the arguments.
func parse(args []string) (*bench, error) {
	b := &bench{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&b.n, "n", 500, "how many cases are started at once")
	flags.IntVar(&b.repeats, "repeats", 3, "how often each system follows them in each mode")
	flags.Uint64Var(&b.seed, "seed", 1, "what the lengths of the cases come from")
	modes := flags.String("modes", "sync,events,polling", "how ends can be learned")
	systems := flags.String("systems", "sqlite,postgres,river,node", "what is compared")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 || b.n < 1 || b.repeats < 1 {
		return nil, errors.New("-n and -repeats are at least 1, and there are no other arguments")
	}
	for name := range strings.SplitSeq(*modes, ",") {
		if !slices.Contains(stub.Modes(), stub.Mode(name)) {
			return nil, fmt.Errorf("-modes: there is no %q, only %v", name, stub.Modes())
		}
		b.modes = append(b.modes, stub.Mode(name))
	}
	for name := range strings.SplitSeq(*systems, ",") {
		i := slices.IndexFunc(candidates, func(c candidate) bool { return c.key == name })
		if i < 0 {
			return nil, fmt.Errorf("-systems: there is no %q", name)
		}
		b.systems = append(b.systems, candidates[i])
	}
	return b, nil
}

func run(ctx context.Context, args []string) (err error) {
	b, err := parse(args)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	return b.compare(ctx)
}

// build builds the commands, into b.dir.
func (b *bench) build(ctx context.Context) error {
	// As deploy.sh has them built, for the store that is used. No build tag leaves out SQLite in a deployed
	// program, which never links it; nosqlite is for ./functions.
	for _, program := range []struct{ name, pkg, tags string }{
		{"functions-sqlite", "./functions", drivers.Tags(drivers.SQLite)}, {"functions-postgres", "./functions", drivers.Tags(drivers.Postgres) + ",nosqlite"},
		{"servers", "./servers", ""}, {"river", "./river", ""},
	} {
		cmd := exec.CommandContext(ctx, "go", "build", "-tags="+program.tags, "-ldflags=-s -w", "-o", b.binary(program.name), program.pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", program.name, err, out)
		}
	}
	return nil
}

// compare has the systems take turns, and prints what came of it.
func (b *bench) compare(ctx context.Context) error {
	var failed []error
	results := map[stub.Mode]map[string][]result{}
	for _, mode := range b.modes {
		results[mode] = map[string][]result{}
	}
	for turn := range b.repeats {
		for _, mode := range b.modes {
			for i := range b.systems {
				c := b.systems[(i+turn)%len(b.systems)] // nobody is always the first
				began := time.Now()
				r, err := b.run(ctx, c, mode)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil { // the others are worth their while
					failed = append(failed, fmt.Errorf("%s, %s: %w", c.name, mode, err))
					fmt.Fprintln(os.Stderr, failed[len(failed)-1])
					continue
				}
				results[mode][c.key] = append(results[mode][c.key], r)
				fmt.Fprintf(os.Stderr, "%d/%d %-8s %-22s %3.0f s: lost %.0f, lag p99 %.2f s, %.2f CPU-s/1000, load %s\n", turn+1, b.repeats, mode, c.name,
					time.Since(began).Seconds(), r[lost], r[lag99], r.all(cpuOf), load())
			}
		}
	}
	for _, mode := range b.modes {
		fmt.Printf("\n### %d cases, %s, %d runs\n\n%s\n%s", b.n, mode, b.repeats, b.outcome(results[mode]), b.costs(results[mode]))
	}
	file := fmt.Sprintf("n%d.svg", b.n)
	chart := figures.SVG(allParts, b.charts(results))
	return errors.Join(append(failed, os.WriteFile(file, []byte(chart), 0o600))...)
}

func (b *bench) binary(name string) string { return filepath.Join(b.dir, name) }

// load is how busy the machine was in the last minute.
func load() string {
	data, _ := os.ReadFile("/proc/loadavg") // Linux has it
	first, _, _ := strings.Cut(string(data), " ")
	return first
}
