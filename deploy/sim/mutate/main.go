// Command mutate switches the guards of the rules and the reconciler off, one at a time, and lets the simulation look for the promise that is then
// broken: `make mutate`. A guard that nothing catches is named; the exit status says whether there are any.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	seeds := flag.Int("seeds", 1500, "how many seeds each mutant is given")
	only := flag.String("only", "", "only the guards with this in their name")
	skip := flag.Int("skip", 0, "how many guards at the beginning to leave out")
	flag.Parse()
	missed, err := run(context.Background(), os.Stdout, *seeds, *skip, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if missed > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, seeds, skip int, only string) (missed int, err error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tried := 0
	for _, g := range guards[min(skip, len(guards)):] {
		if !strings.Contains(g.name, only) {
			continue
		}
		began := time.Now()
		why, err := g.try(ctx, root, dir, seeds)
		if err != nil {
			return missed, fmt.Errorf("%s: %w", g.name, err)
		}
		tried++
		if why == "" {
			missed++
			why = "NOT CAUGHT"
		}
		fmt.Fprintf(out, "%5.1fs  %-58s %s\n", time.Since(began).Seconds(), g.name, why)
	}
	fmt.Fprintf(out, "%d guards, %d not caught\n", tried, missed)
	return missed, nil
}

func moduleRoot(ctx context.Context) (string, error) {
	path, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	return strings.TrimSpace(string(path)), err
}

// without returns the source of the guard's file without it.
func (g guard) without(root string) ([]byte, error) {
	source, err := os.ReadFile(filepath.Join(root, g.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(source, []byte(g.is)); n != 1 {
		return nil, fmt.Errorf("%s has it %d times: %q", g.file, n, g.is)
	}
	return bytes.Replace(source, []byte(g.is), []byte(g.not), 1), nil
}

// try builds the simulation without the guard, and returns the first promise that it finds broken; "" if there is none.
func (g guard) try(ctx context.Context, root, dir string, seeds int) (string, error) {
	source, err := g.without(root)
	if err != nil {
		return "", err
	}
	mutant, overlay, program := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, g.file): mutant}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(mutant, source, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-c", "-o", program, "./deploy/sim")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not compile: %s", out)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	play := exec.CommandContext(ctx, program, "-test.run", "TestKeptPlans|TestSimulation|TestExhaustive", "-test.failfast", "-stop", "-shrink=0", "-seeds", fmt.Sprint(seeds))
	play.Dir = filepath.Join(root, "deploy", "sim")
	out, err := play.CombinedOutput()
	if err == nil {
		return "", nil
	}
	for line := range strings.Lines(string(out)) {
		if _, promise, ok := strings.Cut(line, "BROKEN: "); ok {
			return strings.TrimSpace(promise[:min(len(promise), 140)]), nil
		}
		if strings.HasPrefix(line, "panic:") {
			return strings.TrimSpace(line), nil
		}
	}
	return fmt.Sprint("it ends with ", err), nil
}
