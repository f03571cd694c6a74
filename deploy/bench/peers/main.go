// Command bench compares Casewatch with other ways to follow cases, on the same cases: `make
// bench`.
//
// A stub pipeline works on N cases that start at the same time. Each system follows them to their
// ends:
//
//   - Casewatch, with all functions in one process, and the local Cloud Tasks and Pub/Sub servers
//     in one process each, on SQLite
//     and on PostgreSQL
//   - River, with a job that snoozes
//   - a Node server with a setInterval for each case
//
// The systems take turns, each time with a new store. deploy/docs/tested.md says what is measured, and
// how.
// The command needs Linux, PostgreSQL and Node.
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

// bench is a comparison.
type bench struct {
	n, repeats int
	seed       uint64
	modes      []stub.Mode
	systems    []candidate
	dir        string // the folder of the built programs
}

// parse reads the arguments.
func parse(args []string) (*bench, error) {
	b := &bench{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&b.n, "n", 500, "the number of cases")
	flags.IntVar(&b.repeats, "repeats", 3, "the number of runs of each system in each mode")
	flags.Uint64Var(&b.seed, "seed", 1, "the seed of the durations of the cases")
	modes := flags.String("modes", "sync,events,polling", "the ways in which a system learns of an end")
	systems := flags.String("systems", "sqlite,postgres,river,node", "the systems to compare")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 || b.n < 1 || b.repeats < 1 {
		return nil, errors.New("-n and -repeats must be at least 1, and other arguments are not allowed")
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

// build builds the programs into b.dir. The functions have the tags of a deployment, for one store
// each.
func (b *bench) build(ctx context.Context) error {
	// As deploy.sh has them built, for the store that is used. No build tag leaves out SQLite in a deployed
	// program, which never links it; nosqlite is for ./functions.
	for _, program := range []struct{ name, pkg, tags string }{
		{"functions-sqlite", "./functions", drivers.Tags(drivers.SQLite)},
		{"functions-postgres", "./functions", drivers.Tags(drivers.Postgres) + ",nosqlite"},
		{"servers", "./servers", ""}, {"river", "./river", ""},
	} {
		cmd := exec.CommandContext(ctx, "go", "build", "-tags="+program.tags, "-ldflags=-s -w",
			"-o", b.binary(program.name), program.pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", program.name, err, out)
		}
	}
	return nil
}

// compare lets the systems take turns, and prints the tables. It writes the charts to a file in the
// current folder.
func (b *bench) compare(ctx context.Context) error {
	var failed []error
	results := map[stub.Mode]map[string][]result{}
	for _, mode := range b.modes {
		results[mode] = map[string][]result{}
	}
	for turn := range b.repeats {
		for _, mode := range b.modes {
			for i := range b.systems {
				c := b.systems[(i+turn)%len(b.systems)] // so that no system is always the first
				began := time.Now()
				r, err := b.run(ctx, c, mode)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil { // go on with the other systems
					failed = append(failed, fmt.Errorf("%s, %s: %w", c.name, mode, err))
					fmt.Fprintln(os.Stderr, failed[len(failed)-1])
					continue
				}
				results[mode][c.key] = append(results[mode][c.key], r)
				fmt.Fprintf(os.Stderr, "%d/%d %-8s %-22s %3.0f s: ",
					turn+1, b.repeats, mode, c.name, time.Since(began).Seconds())
				fmt.Fprintf(os.Stderr, "lost %.0f, lag p99 %.2f s, %.2f CPU-s/1000, load %s\n",
					r[lost], r[lag99], r.all(cpuOf), load())
			}
		}
	}
	for _, mode := range b.modes {
		fmt.Printf("\n### %d cases, %s, %d runs\n\n%s\n%s",
			b.n, mode, b.repeats, b.outcome(results[mode]), b.costs(results[mode]))
	}
	file := fmt.Sprintf("n%d.svg", b.n)
	chart := figures.SVG(allParts, b.charts(results))
	return errors.Join(append(failed, os.WriteFile(file, []byte(chart), 0o600))...)
}

func (b *bench) binary(name string) string { return filepath.Join(b.dir, name) }

// load returns the load of the machine in the last minute.
func load() string {
	data, _ := os.ReadFile("/proc/loadavg") // always there on Linux
	first, _, _ := strings.Cut(string(data), " ")
	return first
}
