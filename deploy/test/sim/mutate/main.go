// Command mutate switches the guards of the rules, the reconciler and the names of tasks off, one at a time, and lets the simulation look for the
// promise that is then broken: `make mutate`. It prints a table of what caught each. The exit status is 1 if nothing catches one of them, and 2 if
// one cannot be tried, since its text is no longer found or what is left does not compile.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"
)

func main() {
	seeds := flag.Int("seeds", 2000, "how many seeds each mutant is given")
	only := flag.String("only", "", "only the guards with this in their name or file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	missed, err := run(ctx, os.Stdout, *seeds, *only)
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	case missed > 0:
		os.Exit(1)
	}
}

// run tries the guards and returns how many nothing caught. The error joins those of the guards that could not be tried.
func run(ctx context.Context, out io.Writer, seeds int, only string) (missed int, err error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	began := time.Now()
	bySim, byTest := 0, 0
	var faults []error
	if err := unchanged(ctx, root, dir, seeds); err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "%-62s %-27s %7s  %s\n", "guard", "file", "s", "caught by")
	for _, g := range guards() {
		if !strings.Contains(g.name+" "+g.pkg, only) {
			continue
		}
		since := time.Now()
		file, by, err := g.try(ctx, root, dir, seeds)
		switch {
		case err != nil:
			by.what = "NOT TRIED: " + err.Error()
			faults = append(faults, fmt.Errorf("%s: %w", g.name, err))
		case by.what == "":
			by.what = "NOT CAUGHT"
			missed++
		case by.test:
			byTest++
		default:
			bySim++
		}
		fmt.Fprintf(out, "%-62s %-27s %7.1f  %s\n", g.name, file, time.Since(since).Seconds(), by.what)
		if ctx.Err() != nil {
			return missed, ctx.Err()
		}
	}
	fmt.Fprintf(out, "%d guards in %v: %d caught by the simulation, %d by a test of their own, %d not caught, %d not tried\n",
		bySim+byTest+missed+len(faults), time.Since(began).Round(time.Second), bySim, byTest, missed, len(faults))
	return missed, errors.Join(faults...)
}

func moduleRoot(ctx context.Context) (string, error) {
	path, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	return strings.TrimSpace(string(path)), err
}
