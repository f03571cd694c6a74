// Command mutate breaks the rules one condition and one effect at a time, and reports which of these mutants no test
// notices: `make mutate`.
//
// It finds the mutants by itself, in the syntax tree of the packages that decide what happens to a case ([mutated]):
//
//   - a condition is negated: of an if, a for or a case, an operand of && or ||, a returned comparison;
//   - an effect is dropped: an assignment to a field or variable, a call whose result nobody uses, a method that
//     returns only an error (it then returns nil).
//
// All mutants are compiled once, each behind a switch that an environment variable turns on (package mutant, which
// exists only in the overlay of that build). So a mutant costs one run of a test binary and no compilation.
//
// A mutant is first judged by the tests of its own package, then by the simulation (deploy/test/sim). A mutant that
// both let pass survives. survivors.txt gives a reason for each that is known to change nothing that a reader or a
// pipeline could see. The exit status is 1 if a survivor has no reason, or a reason no survivor.
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
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// mutated are the packages to mutate, in this order. Paths are below the module's root.
var mutated = []string{"shared/cases", "shared/schedule", "shared/reconcile", "shared/queue"}

// simulation judges what the tests of the packages let pass.
const simulation = "deploy/test/sim"

func main() {
	root := flag.String("root", "../..", "the root of the module")
	seeds := flag.Int("seeds", 300, "how many seeds of the simulation judge a mutant")
	only := flag.String("only", "", "only the mutants with this text in their name")
	list := flag.Bool("list", false, "list the mutants and try none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, *root, *seeds, *only, *list)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run reports whether every survivor has a reason, and every reason a survivor.
func run(ctx context.Context, root string, seeds int, only string, list bool) (ok bool, err error) {
	if root, err = filepath.Abs(root); err != nil {
		return false, err
	}
	reasons, err := readReasons(filepath.Join(root, "deploy/tools/mutate/survivors.txt"))
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	began := time.Now()
	b, err := rewrite(ctx, root, dir, mutated)
	if err != nil {
		return false, err
	}
	if list {
		for _, m := range b.mutants {
			fmt.Println(m)
		}
		return true, nil
	}
	fmt.Printf("%d mutants in %s\n", len(b.mutants), strings.Join(mutated, ", "))
	var survivors []*mutant
	chosen := b.choose(only)
	for _, pkg := range mutated {
		left, err := b.judge(ctx, pkg, chosen[pkg], "-test.short", "-test.failfast")
		if err != nil {
			return false, err
		}
		survivors = append(survivors, left...)
	}
	survivors, err = b.judge(ctx, simulation, survivors,
		"-test.run=^(TestSimulation|TestKeptPlans)$", "-test.failfast", "-stop", "-shrink=0",
		fmt.Sprintf("-seeds=%d", seeds))
	if err != nil {
		return false, err
	}
	ok = report(survivors, reasons, only == "")
	fmt.Printf("%d of %d mutants survived, in %v\n",
		len(survivors), b.count(chosen), time.Since(began).Round(time.Second))
	return ok, nil
}

// report prints the survivors, and reports whether they are the ones that reasons names. Unless all mutants were
// tried, a reason without a survivor is no mistake.
func report(survivors []*mutant, reasons map[string]string, all bool) bool {
	ok := true
	for _, m := range survivors {
		reason, known := reasons[m.key()]
		if !known {
			ok = false
			reason = "NO REASON"
		}
		delete(reasons, m.key())
		fmt.Printf("survived: %s\n          %s\n", m, reason)
	}
	if all {
		for key := range reasons {
			ok = false
			fmt.Printf("survivors.txt gives a reason for what does not survive: %s\n", key)
		}
	}
	return ok
}

// A mutant whose tests take slowest times as long as without it, and least more, loops. It counts as noticed.
const (
	slowest = 10 * perProcessor
	least   = 5 * time.Second
)

// perProcessor is how many tests run at the same time on a processor: those of the reconciler wait more than they work.
const perProcessor = 3

// judge runs the tests of a package once for each of the mutants, and returns the mutants that they let pass. Those
// that the tests never reach are not run.
func (b *build) judge(ctx context.Context, pkg string, mutants []*mutant, args ...string) ([]*mutant, error) {
	if len(mutants) == 0 {
		return nil, nil
	}
	binary, err := b.compile(ctx, pkg)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	reached, err := b.reached(ctx, binary, pkg, args)
	if err != nil {
		return nil, err
	}
	limit := least + slowest*time.Since(began)
	var (
		next    atomic.Int64
		workers sync.WaitGroup
		passed  = make([]bool, len(mutants))
	)
	for range perProcessor * runtime.NumCPU() {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(mutants) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				m := mutants[i]
				passed[i] = !reached[m.id] ||
					b.start(ctx, limit, binary, pkg, args, fmt.Sprintf("MUTANT=%d", m.id)) == nil
			}
		})
	}
	workers.Wait()
	var left []*mutant
	for i, m := range mutants {
		if passed[i] {
			left = append(left, m)
		}
	}
	fmt.Printf("%-20s %4d mutants, %4d reached, %4d noticed, in %v\n", pkg, len(mutants),
		countReached(mutants, reached), len(mutants)-len(left), time.Since(began).Round(time.Second))
	return left, ctx.Err()
}

func countReached(mutants []*mutant, reached map[int]bool) (n int) {
	for _, m := range mutants {
		if reached[m.id] {
			n++
		}
	}
	return n
}

// compile builds the test binary of a package, with all mutants in it, and all of them off.
func (b *build) compile(ctx context.Context, pkg string) (string, error) {
	binary := filepath.Join(b.dir, strings.ReplaceAll(pkg, "/", "-")+".test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay="+b.overlay, "-o", binary, "./"+pkg)
	cmd.Dir = b.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling the tests of %s: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// reached runs the tests without a mutant, and returns which mutants they reach. They must pass.
func (b *build) reached(ctx context.Context, binary, pkg string, args []string) (map[int]bool, error) {
	trace := binary + ".trace"
	if err := b.start(ctx, longest, binary, pkg, args, "MUTANT_TRACE="+trace); err != nil {
		return nil, fmt.Errorf("the tests of %s fail without a mutant: %w", pkg, err)
	}
	data, err := os.ReadFile(trace)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ids := map[int]bool{}
	for line := range strings.Lines(string(data)) {
		var id int
		if _, err := fmt.Sscan(line, &id); err != nil {
			return nil, fmt.Errorf("reading the trace of %s: %w", pkg, err)
		}
		ids[id] = true
	}
	return ids, nil
}

// longest is how long the tests of a package may take without a mutant.
const longest = 5 * time.Minute

// start runs a test binary in the folder of its package; an error means that a test failed, or did not end in time.
func (b *build) start(
	ctx context.Context, limit time.Duration, binary, pkg string, args []string, env string,
) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = filepath.Join(b.root, pkg)
	cmd.Env = append(os.Environ(), env, "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out[max(0, len(out)-4000):])
	}
	return nil
}
